import { describe, expect, it } from 'vitest'
import { makeKeyAndCsr } from '../../member/identity/csr.js'
import { READ_CERT } from '../../mesh/wire/admin.js'
import { READ_ENROLMENT } from '../../mesh/wire/enrolment.js'
import {
  answerOf,
  codeOf,
  memberOf,
  type Reply,
  startCa,
  type TestCa,
  type TestMember,
} from '../support/running-ca.js'

async function renew(ca: TestCa, as: TestMember): Promise<TestMember> {
  const { keyPem, csrPem } = await makeKeyAndCsr({ commonName: as.name, instanceId: as.instanceId })
  const reply = await ca.member(as, 'POST', '/v1/renew', { csrPem })
  return memberOf(as.name, { ...as, keyPem, enrolment: answerOf(reply, READ_ENROLMENT) })
}

const ask = (ca: TestCa, as: TestMember, csrPem: string): Promise<Reply> =>
  ca.member(as, 'POST', '/v1/renew', { csrPem })

describe('renewal at the CA', () => {
  it('gives the same instance a new certificate for a new key', async () => {
    await using ca = await startCa()
    const first = await ca.enrol('planner')
    const second = await renew(ca, first)
    expect(second.leaf.subjectAltName).toBe(first.leaf.subjectAltName)
    expect(second.leaf.subject).toBe(first.leaf.subject)
    expect(second.serial).not.toBe(first.serial)
    const record = answerOf(await ca.admin('GET', `/v1/certs/${second.serial}`), READ_CERT)
    expect([record.by, record.parentSerial]).toEqual(['renewal', first.serial])
  })

  it('answers the same again when the answer was lost', async () => {
    await using ca = await startCa()
    const first = await ca.enrol('planner')
    const { csrPem } = await makeKeyAndCsr({ commonName: 'planner', instanceId: first.instanceId })
    const [one, two] = await Promise.all([ask(ca, first, csrPem), ask(ca, first, csrPem)])
    const three = await ask(ca, first, csrPem)
    const chains = [one, two, three].map((reply) => answerOf(reply, READ_ENROLMENT).chainPem)
    expect(new Set(chains).size).toBe(1)
  })

  it('supersedes the old certificate when the new one is first used', async () => {
    await using ca = await startCa()
    const first = await ca.enrol('planner')
    const second = await renew(ca, first)
    await renew(ca, second)
    const record = answerOf(await ca.admin('GET', `/v1/certs/${first.serial}`), READ_CERT)
    expect(record.supersededAt).not.toBeNull()
    const { csrPem } = await makeKeyAndCsr({ commonName: 'planner', instanceId: first.instanceId })
    expect(codeOf(await ask(ca, first, csrPem))).toBe('CLONE_SUSPECTED')
  })

  it('is bounded for one instance, so that it cannot fill the store', async () => {
    await using ca = await startCa()
    const first = await ca.enrol('planner')
    const other = await ca.enrol('tickets')
    const { csrPem } = await makeKeyAndCsr({ commonName: 'planner', instanceId: first.instanceId })
    for (let count = 0; count < 60; count += 1) expect((await ask(ca, first, csrPem)).status).toBe(200)
    expect(codeOf(await ask(ca, first, csrPem))).toBe('RENEW_TOO_OFTEN')
    await renew(ca, other)
  })

  it('refuses the same key again', async () => {
    await using ca = await startCa()
    const { keyPem, csrPem, instanceId } = await keyed()
    await ca.admin('POST', '/v1/agents', { name: 'planner' })
    const enrolled = await ca.admin('POST', '/v1/enrol-local', {
      kind: 'agent',
      name: 'planner',
      instanceId,
      csrPem,
    })
    const first = memberOf('planner', { instanceId, keyPem, enrolment: answerOf(enrolled, READ_ENROLMENT) })
    expect(codeOf(await ask(ca, first, csrPem))).toBe('CSR_NOT_ALLOWED')
  })

  it('suspects a clone when one certificate asks with two keys, and says so loudly', async () => {
    await using ca = await startCa()
    const first = await ca.enrol('planner')
    await renew(ca, first)
    const { csrPem } = await makeKeyAndCsr({ commonName: 'planner', instanceId: first.instanceId })
    expect(codeOf(await ask(ca, first, csrPem))).toBe('CLONE_SUSPECTED')
    expect((await ca.log.line('clone.suspected')).level).toBe('error')
  })
})

async function keyed(): Promise<{ keyPem: string; csrPem: string; instanceId: string }> {
  const instanceId = '0a0a0a0a-0000-4000-8000-000000000001'
  return { ...(await makeKeyAndCsr({ commonName: 'planner', instanceId })), instanceId }
}
