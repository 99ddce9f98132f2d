import { describe, expect, it } from 'vitest'
import { makeKeyAndCsr } from '../../member/identity/csr.js'
import { codeOf, Refused, startCa, type TestCa, type TestMember } from '../support/running-ca.js'

async function codes(ca: TestCa, member: TestMember): Promise<unknown[]> {
  const { csrPem } = await makeKeyAndCsr({ commonName: member.name, instanceId: member.instanceId })
  const renewal = codeOf(await ca.member(member, 'POST', '/v1/renew', { csrPem }))
  const feed = await ca.feed(member).then(
    () => 'accepted',
    (error: unknown) => (error instanceof Refused ? error.code : error),
  )
  return [renewal, feed]
}

describe('a member that was withdrawn', () => {
  it('by name neither renews nor hears the feed, also after its name is restored', async () => {
    await using ca = await startCa()
    const member = await ca.enrol('planner')
    await ca.admin('POST', '/v1/revocations', { name: 'planner' })
    expect(await codes(ca, member)).toEqual(['PEER_REVOKED', 'PEER_REVOKED'])
    await ca.admin('POST', '/v1/agents/planner/restore')
    expect(await codes(ca, member)).toEqual(['PEER_REVOKED', 'PEER_REVOKED'])
  })

  it('by serial neither renews nor hears the feed', async () => {
    await using ca = await startCa()
    const member = await ca.enrol('planner')
    await ca.admin('DELETE', `/v1/certs/${member.serial}`)
    expect(await codes(ca, member)).toEqual(['PEER_REVOKED', 'PEER_REVOKED'])
  })

  it('by removal is not revived by a new agent of its name', async () => {
    await using ca = await startCa()
    const member = await ca.enrol('planner')
    await ca.admin('DELETE', '/v1/agents/planner')
    expect(await codes(ca, member)).toEqual(['PEER_REVOKED', 'PEER_REVOKED'])
    const successor = await ca.enrol('planner')
    expect(await codes(ca, member)).toEqual(['PEER_REVOKED', 'PEER_REVOKED'])
    expect((await codes(ca, successor))[1]).toBe('accepted')
  })

  it('gets no token and no certificate while it is revoked', async () => {
    await using ca = await startCa()
    await ca.enrol('planner')
    await ca.admin('POST', '/v1/revocations', { name: 'planner' })
    expect(codeOf(await ca.admin('POST', '/v1/tokens', { name: 'planner' }))).toBe('AGENT_REVOKED')
    const { csrPem } = await makeKeyAndCsr({ commonName: 'x', instanceId: 'x' })
    expect(codeOf(await ca.admin('POST', '/v1/certs', { name: 'planner', csrPem }))).toBe('AGENT_REVOKED')
  })
})
