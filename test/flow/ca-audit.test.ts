// Who did what at the CA, when, and how it ended: everything that changes something leaves a record, also when it is refused.

import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { AuditRow } from '../../host/audit-row.js'
import { ANY_RECORD, openLedgerReader } from '../../host/audit-table.js'
import { makeKeyAndCsr } from '../../member/identity/csr.js'
import { startCa, type TestCa } from '../support/running-ca.js'

const auditOf = (ca: TestCa): AuditRow[] => {
  const reader = openLedgerReader(path.join(ca.home, 'ca', 'ca.db'))
  try {
    return reader.calls(ANY_RECORD)
  } finally {
    reader.close()
  }
}
const briefly = ({ who, operation, object, reason, detail }: AuditRow): unknown[] => [
  who,
  operation,
  object,
  reason,
  detail,
]
const PLANNER = 'spiffe://acme.internal/agent/planner'

describe('the audit of a running CA', () => {
  it('tells who did what to whom', async () => {
    await using ca = await startCa()
    const { serial } = await ca.enrol('planner')
    await ca.admin('POST', '/v1/agents', { name: 'planner', ttlSeconds: 3600 })
    await ca.admin('POST', '/v1/tokens', { name: 'planner' })
    await ca.admin('PUT', '/v1/policy', { yaml: 'version: 1\nagents: []\nservices: []\n' })
    await ca.admin('PUT', '/v1/address', { host: '127.0.0.2' })
    await ca.admin('POST', '/v1/revocations', { name: 'planner', reason: 'stolen laptop' })
    const local = auditOf(ca).map(briefly)
    expect(local).toEqual([
      ['local-admin', 'agent.add', PLANNER, 'OK', null],
      ['local-admin', 'enrol', PLANNER, 'OK', serial],
      ['local-admin', 'agent.configure', PLANNER, 'OK', 'ttlSeconds=3600'],
      ['local-admin', 'token.mint', PLANNER, 'OK', null],
      ['local-admin', 'policy.push', 'policy', 'OK', 'version 1'],
      ['local-admin', 'ca.address', '127.0.0.2', 'OK', null],
      ['local-admin', 'revoke', PLANNER, 'OK', 'stolen laptop'],
    ])
  })

  it('names the member that renewed, its certificate and where it came from', async () => {
    await using ca = await startCa()
    const planner = await ca.enrol('planner')
    const { csrPem } = await makeKeyAndCsr({ commonName: 'planner', instanceId: planner.instanceId })
    await ca.member(planner, 'POST', '/v1/renew', { csrPem })
    await ca.member(planner, 'POST', '/v1/renew', { csrPem: 'junk' })
    const { caller, callerInstance, callerSerial } = {
      caller: PLANNER,
      callerInstance: planner.instanceId,
      callerSerial: planner.serial,
    }
    expect(auditOf(ca).slice(-2)).toMatchObject([
      { operation: 'renew', reason: 'OK', source: '127.0.0.1', caller, callerInstance, callerSerial },
      {
        operation: 'renew',
        reason: 'CSR_INVALID',
        source: '127.0.0.1',
        caller,
        callerInstance,
        callerSerial,
      },
    ])
  })

  it('records what was refused, once', async () => {
    await using ca = await startCa()
    await ca.enrol('planner')
    const before = auditOf(ca).length
    await ca.admin('POST', '/v1/agents', { name: 'planner' })
    await ca.admin('POST', '/v1/revocations', { name: 'nobody' })
    await ca.admin('PUT', '/v1/policy', { yaml: 'version: 2' })
    await ca.admin('POST', '/v1/agents', { name: 'Not A Name' })
    await ca.admin('POST', '/v1/certs', { name: 'job', csrPem: 'junk' })
    await ca.admin('GET', '/v1/agents/nobody')
    expect(
      auditOf(ca)
        .slice(before)
        .map(briefly)
        .map((row) => row.slice(0, 4)),
    ).toEqual([
      ['local-admin', 'agent.add', PLANNER, 'AGENT_EXISTS'],
      ['local-admin', 'revoke', 'spiffe://acme.internal/agent/nobody', 'AGENT_UNKNOWN'],
      ['local-admin', 'policy.push', 'policy', 'POLICY_MALFORMED'],
      ['local-admin', 'POST /v1/agents', '', 'WIRE_MALFORMED'],
      ['local-admin', 'cert.issue', 'spiffe://acme.internal/agent/job', 'CSR_INVALID'],
    ])
  })

  it('tells the bearer of a spent token from a stranger, who is only counted', async () => {
    await using ca = await startCa()
    const secret = await ca.mint('planner')
    const enrol = async (given: string): Promise<unknown> => {
      const instanceId = randomUUID()
      const { csrPem } = await makeKeyAndCsr({ commonName: 'planner', instanceId })
      return ca.public('POST', '/v1/enrol', {
        secret: given,
        kind: 'agent',
        name: 'planner',
        instanceId,
        csrPem,
      })
    }
    await enrol(secret)
    expect(auditOf(ca).map(({ operation }) => operation)).toEqual(['agent.add', 'token.mint', 'enrol'])
    await enrol(secret)
    for (let guess = 0; guess < 5; guess += 1) await enrol(`guess ${guess}`)
    await ca.running.close()
    expect(auditOf(ca).slice(-4)).toMatchObject([
      { kind: 'action', who: 'join-token', operation: 'enrol', reason: 'OK', source: '127.0.0.1' },
      { kind: 'action', who: 'join-token', operation: 'enrol', reason: 'JOIN_TOKEN_SPENT', object: PLANNER },
      { kind: 'refusal', reason: 'JOIN_TOKEN_INVALID', source: '127.0.0.0/24', count: 1 },
      { kind: 'refusal', reason: 'JOIN_TOKEN_INVALID', source: '127.0.0.0/24', count: 4 },
    ])
  })

  it('survives a restart of the CA, and goes on where it was', async () => {
    await using ca = await startCa()
    await ca.enrol('planner')
    const before = auditOf(ca)
    await ca.restart()
    await ca.enrol('tickets')
    const after = auditOf(ca)
    expect(after.slice(0, before.length)).toEqual(before)
    expect(after.map(({ seq }) => seq)).toEqual(after.map((_row, index) => index))
    expect(new Set(after.map(({ ledgerId }) => ledgerId)).size).toBe(1)
  })
})
