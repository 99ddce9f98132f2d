// The admin wire at the member door: operators only, judged at every request, and nothing that a request says decides who asks.

import { randomUUID } from 'node:crypto'
import { request as httpsRequest } from 'node:https'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { AuditRow } from '../../host/audit-row.js'
import { ANY_RECORD, openLedgerReader } from '../../host/audit-table.js'
import { TLS_FLOOR } from '../../host/tls.js'
import { MEMBER_ALPN } from '../../mesh/wire/enrolment.js'
import { codeOf, exchange, type Reply, startCa, type TestCa, type TestMember } from '../support/running-ca.js'

const auditOf = (ca: TestCa): AuditRow[] => {
  const reader = openLedgerReader(path.join(ca.home, 'ca', 'ca.db'))
  try {
    return reader.calls(ANY_RECORD)
  } finally {
    reader.close()
  }
}
const ANN = 'spiffe://acme.internal/operator/ann'

/** Like ca.member, with headers. */
const asked = (
  ca: TestCa,
  as: TestMember,
  {
    method,
    where,
    headers,
    body,
  }: { method: string; where: string; headers: Record<string, string>; body?: unknown },
): Promise<Reply> => {
  const tls = { ...TLS_FLOOR, host: '127.0.0.1', port: ca.running.port, ca: ca.rootPem, agent: false }
  const member = { ...tls, ALPNProtocols: [MEMBER_ALPN], key: as.keyPem, cert: as.chainPem }
  return exchange(httpsRequest({ ...member, method, path: where, headers }), body)
}

describe('an operator over mutual TLS', () => {
  it('administers the mesh, and every action carries its name, certificate and address', async () => {
    await using ca = await startCa()
    const ann = await ca.enrol('ann', 'operator')
    expect((await ca.member(ann, 'GET', '/v1/status')).status).toBe(200)
    expect((await ca.member(ann, 'POST', '/v1/agents', { name: 'planner' })).status).toBe(201)
    expect(codeOf(await ca.member(ann, 'POST', '/v1/agents', { name: 'planner' }))).toBe('AGENT_EXISTS')
    const by = {
      who: ANN,
      caller: ANN,
      callerSerial: ann.serial,
      callerInstance: ann.instanceId,
      source: '127.0.0.1',
    }
    expect(auditOf(ca).slice(-2)).toMatchObject([
      { ...by, operation: 'agent.add', object: 'spiffe://acme.internal/agent/planner', reason: 'OK' },
      { ...by, operation: 'agent.add', reason: 'AGENT_EXISTS' },
    ])
  })

  it('cannot say that it is somebody else', async () => {
    await using ca = await startCa()
    const ann = await ca.enrol('ann', 'operator')
    const body = { name: 'planner', who: 'local-admin', actor: { who: 'local-admin' }, caller: { id: null } }
    const headers = { 'x-forwarded-for': '10.9.9.9', 'x-troth-who': 'local-admin', forwarded: 'for=10.9.9.9' }
    await asked(ca, ann, { method: 'POST', where: '/v1/agents?who=local-admin', headers, body })
    expect(auditOf(ca).at(-1)).toMatchObject({ who: ANN, source: '127.0.0.1', reason: 'OK' })
  })

  it('is refused at once when it was revoked, also when it revoked itself', async () => {
    await using ca = await startCa()
    const ann = await ca.enrol('ann', 'operator')
    const bob = await ca.enrol('bob', 'operator')
    expect((await ca.member(ann, 'POST', '/v1/revocations', { kind: 'operator', name: 'bob' })).status).toBe(
      200,
    )
    expect(codeOf(await ca.member(bob, 'GET', '/v1/status'))).toBe('PEER_REVOKED')
    expect((await ca.member(ann, 'POST', '/v1/revocations', { kind: 'operator', name: 'ann' })).status).toBe(
      200,
    )
    expect(codeOf(await ca.member(ann, 'POST', '/v1/tokens', { kind: 'operator', name: 'eve' }))).toBe(
      'PEER_REVOKED',
    )
    expect((await ca.admin('GET', '/v1/status')).status).toBe(200)
    expect(auditOf(ca).at(-1)).toMatchObject({ kind: 'refusal', reason: 'PEER_REVOKED' })
  })

  it('is refused when it was revoked while its request was on the way', async () => {
    await using ca = await startCa()
    const ann = await ca.enrol('ann', 'operator')
    const tls = { ...TLS_FLOOR, host: '127.0.0.1', port: ca.running.port, ca: ca.rootPem, agent: false }
    const member = { ...tls, ALPNProtocols: [MEMBER_ALPN], key: ann.keyPem, cert: ann.chainPem }
    const outgoing = httpsRequest({
      ...member,
      method: 'POST',
      path: '/v1/agents',
      headers: { expect: '100-continue', 'content-type': 'application/json' },
    })
    const begun = new Promise<void>((resolve) => outgoing.once('continue', resolve))
    outgoing.flushHeaders()
    await begun
    await ca.admin('POST', '/v1/revocations', { kind: 'operator', name: 'ann' })
    expect(codeOf(await exchange(outgoing, { name: 'late' }))).toBe('PEER_REVOKED')
    expect(codeOf(await ca.admin('GET', '/v1/agents/late'))).toBe('AGENT_UNKNOWN')
  })

  it('is not served what needs the CA on the same host', async () => {
    await using ca = await startCa()
    const ann = await ca.enrol('ann', 'operator')
    const query = { kind: 'operator', name: 'ann', instanceId: randomUUID(), csrPem: 'x' }
    expect(codeOf(await ca.member(ann, 'POST', '/v1/enrol-local', query))).toBe('ADMIN_LOCAL_ONLY')
    expect(codeOf(await ca.member(ann, 'PUT', '/v1/address', { host: 'evil.example' }))).toBe(
      'ADMIN_LOCAL_ONLY',
    )
    expect(codeOf(await ca.member(ann, 'GET', '/v1/no-such-path'))).toBe('NOT_FOUND')
    expect(codeOf(await ca.member(ann, 'DELETE', '/v1/status'))).toBe('METHOD_NOT_ALLOWED')
    expect(auditOf(ca).slice(-2)).toMatchObject([
      { who: ANN, operation: 'POST /v1/enrol-local', reason: 'ADMIN_LOCAL_ONLY' },
      { who: ANN, operation: 'PUT /v1/address', reason: 'ADMIN_LOCAL_ONLY' },
    ])
  })

  it('is not served a body that is too large or malformed, and a browser nothing at all', async () => {
    await using ca = await startCa()
    const ann = await ca.enrol('ann', 'operator')
    const large = { name: 'planner', pad: 'x'.repeat(70_000) }
    expect(codeOf(await ca.member(ann, 'POST', '/v1/agents', large))).toBe('WIRE_TOO_LARGE')
    expect(codeOf(await ca.member(ann, 'POST', '/v1/agents', '{"name":'))).toBe('WIRE_MALFORMED')
    for (const headers of [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }])
      expect(codeOf(await asked(ca, ann, { method: 'GET', where: '/v1/agents', headers }))).toBe(
        'BROWSER_REFUSED',
      )
  })
})

describe('the admin wire', () => {
  it.each(['agent', 'collector'] as const)(
    'is not served to a member of kind %s, who is named in the audit',
    async (kind) => {
      await using ca = await startCa()
      const member = await ca.enrol('main', kind)
      for (const [method, where, body] of [
        ['GET', '/v1/agents', undefined],
        ['POST', '/v1/tokens', { kind: 'operator', name: 'eve' }],
        ['POST', '/v1/revocations', { name: 'planner' }],
        ['PUT', '/v1/policy', { yaml: 'version: 1\nagents: []\nservices: []\n' }],
      ] as const)
        expect(codeOf(await ca.member(member, method, where, body))).toBe('PEER_KIND_WRONG')
      expect(auditOf(ca).at(-1)).toMatchObject({
        kind: 'refusal',
        reason: 'PEER_KIND_WRONG',
        caller: `spiffe://acme.internal/${kind}/main`,
        callerSerial: member.serial,
        source: '127.0.0.0/24',
      })
      expect(codeOf(await ca.admin('GET', '/v1/agents/eve?kind=operator'))).toBe('AGENT_UNKNOWN')
    },
  )

  it('is not served to the operator of another mesh of the same name', async () => {
    await using ca = await startCa()
    await using other = await startCa()
    const stranger = await other.enrol('ann', 'operator')
    await ca.enrol('ann', 'operator')
    await expect(ca.member(stranger, 'GET', '/v1/status')).rejects.toThrow()
    await ca.running.close()
    expect(auditOf(ca).at(-1)).toMatchObject({
      kind: 'refusal',
      reason: 'PEER_HANDSHAKE_FAILED',
      source: '127.0.0.0/24',
    })
  })

  it.each(['/v1/status', '/v1/agents', '/v1/policy', '/v1/certs'])(
    'does not exist at the public door: %s',
    async (where) => {
      await using ca = await startCa()
      expect(codeOf(await ca.public('GET', where))).toBe('NOT_FOUND')
    },
  )
})
