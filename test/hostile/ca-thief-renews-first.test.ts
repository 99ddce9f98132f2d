import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeKeyAndCsr } from '../../member/identity/csr.js'
import { READ_ENROLMENT } from '../../mesh/wire/enrolment.js'
import { csrOf } from '../support/expired-member.js'
import {
  answerOf,
  codeOf,
  memberOf,
  type Reply,
  startCa,
  type TestCa,
  type TestMember,
} from '../support/running-ca.js'

let ca: TestCa
let victim: TestMember

beforeEach(async () => {
  ca = await startCa()
  victim = await ca.enrol('planner')
})
afterEach(() => ca[Symbol.asyncDispose]())

const renew = async (as: TestMember): Promise<Reply> =>
  ca.member(as, 'POST', '/v1/renew', { csrPem: await csrOf(as) })

/** A member in the place of `as`, one renewal later. */
const renewed = async (as: TestMember): Promise<TestMember> => {
  const { keyPem, csrPem } = await makeKeyAndCsr({ commonName: as.name, instanceId: as.instanceId })
  const enrolment = answerOf(await ca.member(as, 'POST', '/v1/renew', { csrPem }), READ_ENROLMENT)
  return memberOf(as.name, { instanceId: as.instanceId, keyPem, enrolment })
}

describe('a thief with a copied key who renews first', () => {
  it('is found out when the holder renews: refused, logged and counted, and by default no more', async () => {
    const thief = await renewed(victim)
    expect(codeOf(await renew(victim))).toBe('CLONE_SUSPECTED')
    expect(ca.log.lines).toContainEqual(
      expect.objectContaining({
        event: 'clone.suspected',
        fields: expect.objectContaining({ serial: victim.serial, policy: 'alert' }),
      }),
    )
    expect((await ca.admin('GET', '/v1/agents/planner')).json).toMatchObject({ state: 'enrolled' })
    const feed = await ca.feed(thief)
    feed.close()
  })

  it('is cut with the holder when the agent is to be suspended', async () => {
    await ca.admin('POST', '/v1/agents', { name: 'planner', onClone: 'suspend' })
    const thief = await renewed(victim)
    const feed = await ca.feed(thief)
    feed.send({ type: 'hello', position: null, capabilities: [] })
    await feed.next('snapshot')
    expect(codeOf(await renew(victim))).toBe('CLONE_SUSPECTED')
    const { changes } = await feed.next('delta')
    expect(changes).toMatchObject([
      {
        kind: 'revoke',
        ids: ['spiffe://acme.internal/agent/planner'],
        serials: expect.arrayContaining([expect.objectContaining({ serial: thief.serial })]),
      },
    ])
    expect(await feed.closed).toBe(4403)
    expect(codeOf(await renew(thief))).toBe('AGENT_SUSPENDED')
    expect(codeOf(await renew(victim))).toBe('AGENT_SUSPENDED')
    expect((await ca.admin('GET', '/v1/agents/planner')).json).toMatchObject({ state: 'suspended' })
  })

  it('is found out generations later, too', async () => {
    await renewed(await renewed(await renewed(victim)))
    expect(codeOf(await renew(victim))).toBe('CLONE_SUSPECTED')
  })

  it('loses all that came of it when the certificate it stole is revoked', async () => {
    const thief = await renewed(await renewed(victim))
    await ca.admin('DELETE', `/v1/certs/${victim.serial}`)
    expect(codeOf(await renew(thief))).toBe('PEER_REVOKED')
  })
})

describe('the revocation of one certificate', () => {
  it('leaves no descendant, whichever of renewal and revocation comes first', async () => {
    const members = await Promise.all(Array.from({ length: 8 }, async (_, at) => ca.enrol(`m-${at}`)))
    await Promise.all(
      members.flatMap((member) => [renew(member), ca.admin('DELETE', `/v1/certs/${member.serial}`)]),
    )
    const { certs } = (await ca.admin('GET', '/v1/certs')).json as {
      certs: { id: string; revokedAt: number | null }[]
    }
    const left = certs.filter(({ id, revokedAt }) => id.includes('/m-') && revokedAt === null)
    expect(left).toEqual([])
  })

  it('spares the descendants when it is told to, and they go on renewing', async () => {
    const next = await renewed(victim)
    const feed = await ca.feed(next)
    feed.close()
    await ca.admin('POST', '/v1/revocations', { serial: victim.serial, only: true })
    expect(codeOf(await renew(victim))).toBe('PEER_REVOKED')
    const third = await renewed(next)
    await ca.admin('DELETE', `/v1/certs/${next.serial}?only=true`)
    expect(codeOf(await renew(third))).toBeUndefined()
  })
})
