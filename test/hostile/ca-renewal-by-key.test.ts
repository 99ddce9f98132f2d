import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ANY_RECORD, openLedgerReader } from '../../host/audit-table.js'
import { caId, parseTrustDomain } from '../../mesh/spiffe-id.js'
import { READ_ENROLMENT } from '../../mesh/wire/enrolment.js'
import { csrOf, HOUR, nonceOf, proofWithHeader, renewalOf, renewByKey } from '../support/expired-member.js'
import { type ManualClock, manualClock } from '../support/manual-clock.js'
import { answerOf, codeOf, memberOf, startCa, type TestCa, type TestMember } from '../support/running-ca.js'

let clock: ManualClock
let ca: TestCa
let member: TestMember
let start: number

beforeEach(async () => {
  clock = manualClock()
  start = clock.now()
  ca = await startCa({ clock })
  member = await ca.enrol('planner')
  clock.setWall(start + 25 * HOUR)
})
afterEach(() => ca[Symbol.asyncDispose]())

/** Lets time pass at the CA without a jump in which its own server would get a certificate of the future. */
const wait = async (ms: number): Promise<void> => {
  const wall = clock.now()
  clock.setWall(start)
  clock.advance(ms)
  await new Promise((resolve) => setImmediate(resolve))
  clock.setWall(wall)
}

const post = async (body: unknown): Promise<unknown> =>
  codeOf(await ca.public('POST', '/v1/renew-expired', body))

describe('a proof by the key of an expired certificate', () => {
  it('renews it, within the grace time', async () => {
    const renewed = answerOf(await renewByKey(ca, member), READ_ENROLMENT)
    const next = memberOf('planner', { ...member, enrolment: renewed })
    expect(next.serial).not.toBe(member.serial)
    expect(next.leaf.subject).toContain(member.instanceId)
  })

  it('is good once: a replay of the same request is refused, and one with the nonce of another too', async () => {
    const request = await renewalOf(ca, member)
    const replies = await Promise.all([post(request), post(request)])
    expect(replies.sort()).toEqual(['RENEW_NONCE_INVALID', undefined])
    const csrPem = await csrOf(member)
    const nonce = await nonceOf(ca)
    expect(codeOf(await renewByKey(ca, member, { claims: { nonce }, request: { csrPem } }))).toBe(
      'CLONE_SUSPECTED',
    )
    expect(codeOf(await renewByKey(ca, member, { claims: { nonce }, request: { csrPem } }))).toBe(
      'RENEW_NONCE_INVALID',
    )
  })

  it('needs a nonce of this CA that is not a minute old', async () => {
    const old = await nonceOf(ca)
    await wait(60_000)
    for (const nonce of [old, 'x', '', Buffer.alloc(38).toString('base64url'), `${await nonceOf(ca)}A`])
      expect([nonce, codeOf(await renewByKey(ca, member, { claims: { nonce } }))]).toEqual([
        nonce,
        'RENEW_NONCE_INVALID',
      ])
  })

  it('is nothing by the key of another member, or for the serial of another', async () => {
    const other = await ca.enrol('tickets')
    expect(codeOf(await renewByKey(ca, member, { keyPem: other.keyPem }))).toBe('RENEW_PROOF_INVALID')
    expect(codeOf(await renewByKey(ca, member, { request: { serial: other.serial } }))).toBe(
      'RENEW_PROOF_INVALID',
    )
    expect(codeOf(await renewByKey(ca, member, { claims: { serial: other.serial } }))).toBe(
      'RENEW_PROOF_INVALID',
    )
    expect(codeOf(await renewByKey(ca, member, { request: { serial: 'ab' } }))).toBe('RENEW_PROOF_INVALID')
  })

  it('is for one certificate request: another in its place is refused', async () => {
    const request = await renewalOf(ca, member)
    expect(await post({ ...request, csrPem: await csrOf(member) })).toBe('RENEW_PROOF_INVALID')
  })

  it('is for one CA', async () => {
    const elsewhere = caId(parseTrustDomain('other.internal'))
    expect(codeOf(await renewByKey(ca, member, { claims: { ca: elsewhere } }))).toBe('RENEW_PROOF_INVALID')
  })

  it('is an ECDSA signature by the certificate: none, a MAC and another algorithm are refused', async () => {
    const request = await renewalOf(ca, member)
    const [, payload = '', signature = ''] = request.proof.split('.')
    const header = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const none = `${header({ alg: 'none', typ: 'troth-renewal+jws' })}.${payload}.`
    const signed = `${header({ alg: 'HS256', typ: 'troth-renewal+jws' })}.${payload}`
    // the public key as a MAC key: the classic confusion
    const mac = createHmac('sha256', member.leaf.publicKey.export({ type: 'spki', format: 'pem' }))
    const hs256 = `${signed}.${mac.update(signed).digest('base64url')}`
    const es384 = `${header({ alg: 'ES384', typ: 'troth-renewal+jws' })}.${payload}.${signature}`
    for (const proof of [none, hs256, es384, 'x', 'a.b.c', `${request.proof}.x`, '{"payload":""}'])
      expect([proof, await post({ ...request, proof })]).toEqual([proof, 'RENEW_PROOF_INVALID'])
  })

  it('brings no key of its own, no other type and no extension', async () => {
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const jwk = createPublicKey(stranger.privateKey).export({ format: 'jwk' })
    const own = createPublicKey(member.keyPem).export({ format: 'jwk' })
    const strangerPem = stranger.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    const headers = [
      { jwk },
      { jwk: own },
      { kid: 'x' },
      { x5c: [member.leaf.raw.toString('base64')] },
      { typ: 'JWT' },
    ]
    for (const more of headers)
      expect([more, await post(await proofWithHeader(ca, member, { alg: 'ES256', ...more }))]).toEqual([
        more,
        'RENEW_PROOF_INVALID',
      ])
    const forged = await proofWithHeader(ca, { ...member, keyPem: strangerPem }, { alg: 'ES256', jwk })
    expect(await post(forged)).toBe('RENEW_PROOF_INVALID')
  })

  it('is only for the newest certificate of the instance', async () => {
    expect(codeOf(await renewByKey(ca, member))).toBeUndefined()
    expect(codeOf(await renewByKey(ca, member))).toBe('CLONE_SUSPECTED')
    const again = await ca.enrol('tickets')
    const csrPem = await csrOf(again)
    await ca.admin('POST', '/v1/enrol-local', {
      kind: 'agent',
      name: 'tickets',
      instanceId: again.instanceId,
      csrPem,
    })
    expect(codeOf(await renewByKey(ca, again))).toBe('RENEW_SUPERSEDED')
  })

  it('comes too late after the grace time, which may be none at all', async () => {
    clock.setWall(start + 48 * HOUR)
    expect(codeOf(await renewByKey(ca, member))).toBeUndefined()
    const other = await ca.enrol('tickets')
    clock.setWall(clock.now() + 48 * HOUR + 1001)
    expect(codeOf(await renewByKey(ca, other))).toBe('RENEW_GRACE_OVER')
    await ca.admin('POST', '/v1/agents', { name: 'tickets', graceSeconds: 604_800 })
    expect(codeOf(await renewByKey(ca, other))).toBeUndefined()
    const strict = await ca.enrol('strict')
    await ca.admin('POST', '/v1/agents', { name: 'strict', graceSeconds: 0 })
    clock.setWall(clock.now() + 24 * HOUR + 1001)
    expect(codeOf(await renewByKey(ca, strict))).toBe('RENEW_GRACE_OVER')
  })

  it('never renews what was revoked, whose agent was removed and added again, or which was suspended', async () => {
    await ca.admin('POST', '/v1/agents/planner/suspend', {})
    expect(codeOf(await renewByKey(ca, member))).toBe('AGENT_SUSPENDED')
    await ca.admin('POST', '/v1/revocations', { name: 'planner' })
    await ca.admin('POST', '/v1/agents/planner/restore', {})
    expect(codeOf(await renewByKey(ca, member))).toBe('PEER_REVOKED')
    const other = await ca.enrol('tickets')
    clock.setWall(clock.now() + 25 * HOUR)
    await ca.admin('DELETE', '/v1/agents/tickets')
    await ca.admin('POST', '/v1/agents', { name: 'tickets' })
    expect(codeOf(await renewByKey(ca, other))).toBe('PEER_REVOKED')
    const third = await ca.enrol('search')
    await ca.admin('DELETE', `/v1/certs/${third.serial}`)
    expect(codeOf(await renewByKey(ca, third))).toBe('PEER_REVOKED')
  })

  it('may be wrong thirty times a minute from one address, and then not even the right one is heard', async () => {
    const { keyPem } = await ca.enrol('tickets')
    for (let tries = 0; tries < 30; tries += 1) await renewByKey(ca, member, { keyPem })
    expect(codeOf(await ca.public('GET', '/v1/renew-expired'))).toBe('JOIN_TOKEN_TRIES')
    await wait(60_000)
    expect(codeOf(await renewByKey(ca, member))).toBeUndefined()
  })

  it('costs nothing while its agent is suspended: no nonce, no row of the audit, no try of its address', async () => {
    await ca.admin('POST', '/v1/agents/planner/suspend', {})
    const nonce = await nonceOf(ca)
    for (let tries = 0; tries < 31; tries += 1)
      expect(codeOf(await renewByKey(ca, member, { claims: { nonce } }))).toBe('AGENT_SUSPENDED')
    const reader = openLedgerReader(path.join(ca.home, 'ca', 'ca.db'))
    const refused = reader.calls(ANY_RECORD).filter(({ reason }) => reason === 'AGENT_SUSPENDED')
    reader.close()
    expect(refused.map(({ kind }) => kind)).toEqual(['refusal'])
    await ca.admin('POST', '/v1/agents/planner/resume', {})
    expect(codeOf(await renewByKey(ca, member, { claims: { nonce } }))).toBeUndefined()
  })

  it('spends no nonce of an instance that asks too often: one that is revoked cannot use up the memory for all', async () => {
    const other = await ca.enrol('tickets')
    clock.setWall(clock.now() + 25 * HOUR)
    await ca.admin('POST', '/v1/revocations', { name: 'planner' })
    for (let tries = 0; tries < 60; tries += 1) await renewByKey(ca, member)
    const nonce = await nonceOf(ca)
    expect(codeOf(await renewByKey(ca, member, { claims: { nonce } }))).toBe('RENEW_TOO_OFTEN')
    expect(codeOf(await renewByKey(ca, other, { claims: { nonce } }))).toBeUndefined()
  })
})
