import { randomBytes, randomUUID } from 'node:crypto'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CaStore, MemberKey, NewCertificate } from '../../../ca/store/model.js'
import { createCaStore, openCaStore } from '../../../ca/store.js'
import { namedId, parseAgentName, parseTrustDomain } from '../../../mesh/spiffe-id.js'
import { scratchDir } from '../../support/audit-records.js'

const trustDomain = parseTrustDomain('acme.internal')
const NOW = 1_790_000_000_000
const HOUR = 3_600_000
const PLANNER: MemberKey = { kind: 'agent', name: parseAgentName('planner') }
const TICKETS: MemberKey = { kind: 'agent', name: parseAgentName('tickets') }
const UNSET = { ttlSeconds: null, address: null, graceSeconds: null, onClone: null }
const ISSUER = 'a'.repeat(64)
const code = (name: string): unknown => expect.objectContaining({ code: name })

let scratch: ReturnType<typeof scratchDir>
let store: CaStore

beforeEach(() => {
  scratch = scratchDir()
  const file = path.join(scratch.dir, 'ca.db')
  createCaStore(file, { trustDomain, address: '127.0.0.1' })
  store = openCaStore(file)
})
afterEach(async () => {
  await store.close()
  scratch[Symbol.dispose]()
})

const certificate = (key: MemberKey, changes: Partial<NewCertificate> = {}): NewCertificate => ({
  serial: randomBytes(16).toString('hex'),
  issuer: ISSUER,
  id: namedId(trustDomain, key.kind, key.name),
  instanceId: randomUUID(),
  publicKeyHash: randomBytes(32).toString('hex'),
  origin: 'token',
  notBefore: NOW,
  notAfter: NOW + HOUR,
  issuedAt: NOW,
  pem: 'PEM',
  ...changes,
})

const register = async (key: MemberKey): Promise<string> =>
  (await store.register({ ...key, ...UNSET }, NOW)).member.registration

const enrol = async (key: MemberKey, changes: Partial<NewCertificate> = {}): Promise<NewCertificate> => {
  const registration = (await store.findMember(key))?.registration ?? (await register(key))
  const first = certificate(key, changes)
  await store.recordEnrolment(first, registration)
  return first
}

const renewalOf = (parent: NewCertificate, changes: Partial<NewCertificate> = {}): NewCertificate =>
  certificate(PLANNER, { id: parent.id, instanceId: parent.instanceId, origin: 'renewal', ...changes })

describe('join tokens in the store', () => {
  const mint = async (secretHash: string, key = PLANNER): Promise<void> => {
    const registration = (await store.findMember(key))?.registration ?? (await register(key))
    await store.addToken({ ...key, secretHash, registration, createdAt: NOW, expiresAt: NOW + 600_000 })
  }
  const redeem = (secretHash: string, changes: object = {}): Promise<unknown> =>
    store.redeemToken({ ...PLANNER, secretHash, now: NOW + 1, ...changes })

  it('have one winner among many attempts', async () => {
    await mint('h1')
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => redeem('h1')))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toEqual(code('JOIN_TOKEN_SPENT'))
  })

  it('are not burnt by the wrong name, and say so', async () => {
    await mint('h1')
    await expect(redeem('h1', TICKETS)).rejects.toEqual(code('JOIN_TOKEN_OTHER_NAME'))
    await expect(redeem('h1', { kind: 'operator' })).rejects.toEqual(code('JOIN_TOKEN_OTHER_NAME'))
    await expect(redeem('h1')).resolves.toMatchObject({ name: 'planner' })
  })

  it('end after their time, and are unknown when they are', async () => {
    await mint('h1')
    await expect(redeem('h1', { now: NOW + 600_000 })).rejects.toEqual(code('JOIN_TOKEN_EXPIRED'))
    await expect(redeem('h2')).rejects.toEqual(code('JOIN_TOKEN_INVALID'))
  })

  it('end with a revocation, also after the agent is restored', async () => {
    await mint('h1')
    await store.revokeMember(PLANNER, 'x', NOW)
    await expect(redeem('h1')).rejects.toEqual(code('AGENT_REVOKED'))
    await store.restoreMember(PLANNER)
    await expect(redeem('h1')).rejects.toEqual(code('AGENT_REVOKED'))
  })

  it('end with a revocation that came while they were minted or spent', async () => {
    const registration = await register(PLANNER)
    await store.revokeMember(PLANNER, 'x', NOW)
    await store.addToken({
      ...PLANNER,
      secretHash: 'h1',
      registration,
      createdAt: NOW,
      expiresAt: NOW + 600_000,
    })
    await store.restoreMember(PLANNER)
    await expect(redeem('h1')).rejects.toEqual(code('AGENT_UNKNOWN'))
    await expect(store.recordEnrolment(certificate(PLANNER), registration)).rejects.toEqual(
      code('AGENT_UNKNOWN'),
    )
  })

  it('die with the registration they were minted for', async () => {
    await mint('h1')
    await store.removeMember(PLANNER, NOW)
    await register(PLANNER)
    await expect(redeem('h1')).rejects.toEqual(code('AGENT_REVOKED'))
  })
})

describe('certificates in the store', () => {
  it('are not recorded for a registration that ended while they were signed', async () => {
    const registration = await register(PLANNER)
    await store.revokeMember(PLANNER, 'x', NOW)
    await expect(store.recordEnrolment(certificate(PLANNER), registration)).rejects.toEqual(
      code('AGENT_REVOKED'),
    )
    await store.removeMember(PLANNER, NOW)
    await register(PLANNER)
    await expect(store.recordEnrolment(certificate(PLANNER), registration)).rejects.toEqual(
      code('AGENT_UNKNOWN'),
    )
  })

  it('never share an instance or a key between two identities', async () => {
    const first = await enrol(PLANNER)
    const { instanceId, publicKeyHash } = first
    await expect(enrol(TICKETS, { instanceId })).rejects.toEqual(code('AGENT_INSTANCE_TAKEN'))
    await expect(enrol(TICKETS, { publicKeyHash })).rejects.toEqual(code('CSR_NOT_ALLOWED'))
  })

  it('never come back for a key whose certificate was revoked, also when the agent is let in again', async () => {
    const { publicKeyHash } = await enrol(PLANNER)
    await expect(enrol(PLANNER, { publicKeyHash })).resolves.toBeDefined()
    await store.revokeMember(PLANNER, 'stolen', NOW)
    await store.restoreMember(PLANNER)
    await expect(enrol(PLANNER, { publicKeyHash })).rejects.toEqual(code('CSR_NOT_ALLOWED'))
    await expect(enrol(PLANNER)).resolves.toBeDefined()
  })

  it('renew to the same answer for the same key, however often and at once', async () => {
    const first = await enrol(PLANNER)
    const publicKeyHash = 'k'.repeat(64)
    const answers = await Promise.all(
      Array.from({ length: 5 }, () =>
        store.recordRenewal(renewalOf(first, { publicKeyHash }), first.serial, NOW),
      ),
    )
    expect(new Set(answers.map(({ serial }) => serial)).size).toBe(1)
  })

  it('do not renew once they, or what was renewed from them, were revoked', async () => {
    const first = await enrol(PLANNER)
    const second = renewalOf(first)
    await store.recordRenewal(second, first.serial, NOW)
    await store.revokeCertificate(second.serial, { reason: 'lost', scope: 'lineage' }, NOW)
    await expect(store.recordRenewal(second, first.serial, NOW)).rejects.toEqual(code('PEER_REVOKED'))
    const other = await enrol(PLANNER)
    await store.revokeCertificate(other.serial, { reason: 'lost', scope: 'lineage' }, NOW)
    await expect(store.recordRenewal(renewalOf(other), other.serial, NOW)).rejects.toEqual(
      code('PEER_REVOKED'),
    )
  })

  it('of the CA’s own server open no member door', async () => {
    const server = certificate(PLANNER, { origin: 'server' })
    await register(PLANNER)
    await store.recordServerCertificate(server)
    await expect(store.admit(server, NOW)).rejects.toEqual(code('PEER_REVOKED'))
  })

  it('suspect a clone when one serial renews with two keys, before and after the first was used', async () => {
    const first = await enrol(PLANNER)
    const second = await store.recordRenewal(renewalOf(first), first.serial, NOW)
    await expect(store.recordRenewal(renewalOf(first), first.serial, NOW)).rejects.toEqual(
      code('CLONE_SUSPECTED'),
    )
    await store.admit(second, NOW)
    await expect(store.recordRenewal(renewalOf(first), first.serial, NOW)).rejects.toEqual(
      code('CLONE_SUSPECTED'),
    )
  })

  it('renew no more once the next one was used, or the instance enrolled anew', async () => {
    const first = await enrol(PLANNER)
    const next = renewalOf(first)
    await store.recordRenewal(next, first.serial, NOW)
    await store.admit(next, NOW)
    await expect(store.recordRenewal(next, first.serial, NOW)).rejects.toEqual(code('RENEW_SUPERSEDED'))
    await enrol(PLANNER, { instanceId: first.instanceId })
    await expect(store.recordRenewal(renewalOf(first), next.serial, NOW)).rejects.toEqual(
      code('RENEW_SUPERSEDED'),
    )
  })

  it('want a new key for each renewal', async () => {
    const first = await enrol(PLANNER)
    const { publicKeyHash } = first
    await expect(store.recordRenewal(renewalOf(first, { publicKeyHash }), first.serial, NOW)).rejects.toEqual(
      code('CSR_NOT_ALLOWED'),
    )
  })

  it('are admitted only when they were issued here and nothing is withdrawn', async () => {
    const first = await enrol(PLANNER)
    await expect(store.admit(first, NOW)).resolves.toMatchObject({ serial: first.serial })
    await expect(store.admit({ ...first, serial: 'ab' }, NOW)).rejects.toEqual(code('PEER_REVOKED'))
    await expect(store.admit({ ...first, issuer: 'b'.repeat(64) }, NOW)).rejects.toEqual(code('PEER_REVOKED'))
    await store.revokeMember(PLANNER, 'x', NOW)
    await expect(store.admit(first, NOW)).rejects.toEqual(code('PEER_REVOKED'))
  })
})

describe('withdrawal in the store', () => {
  it('of a serial covers all that was renewed from it, and nothing else', async () => {
    const first = await enrol(PLANNER)
    const second = await store.recordRenewal(renewalOf(first), first.serial, NOW)
    const third = await store.recordRenewal(renewalOf(first), second.serial, NOW)
    const other = await enrol(PLANNER)
    const { ids, serials } = await store.revokeCertificate(
      second.serial,
      { reason: 'lost', scope: 'lineage' },
      NOW,
    )
    expect(ids).toEqual([])
    expect(serials.map(({ serial }) => serial)).toEqual([second.serial, third.serial])
    await expect(store.admit(first, NOW)).resolves.toBeDefined()
    await expect(store.admit(other, NOW)).resolves.toBeDefined()
    await expect(store.admit(third, NOW)).rejects.toEqual(code('PEER_REVOKED'))
    await expect(store.revokeCertificate('ab', { reason: 'lost', scope: 'lineage' }, NOW)).rejects.toEqual(
      code('CERT_UNKNOWN'),
    )
  })

  it('moves the epoch by one each, and stands in what members are told until it can matter no more', async () => {
    const { position } = await store.mesh()
    const first = await enrol(PLANNER)
    const revoked = await store.revokeMember(PLANNER, 'x', NOW)
    expect(revoked.position).toEqual({ ...position, epoch: position.epoch + 1 })
    const told = await store.withdrawn(NOW)
    expect(told.ids).toEqual([first.id])
    expect(told.serials).toEqual([
      { issuer: ISSUER, serial: first.serial, id: first.id, expiresAt: first.notAfter },
    ])
    // five minutes of a slow clock later than its end
    expect((await store.withdrawn(NOW + HOUR + 299_999)).serials).toHaveLength(1)
    expect((await store.withdrawn(NOW + HOUR + 300_001)).serials).toHaveLength(0)
  })

  it('is for good when it comes while the agent is suspended: resumed, that key renews no more', async () => {
    const [first, other] = [await enrol(PLANNER), await enrol(PLANNER)]
    await store.suspendMember(PLANNER, 'x', NOW)
    await expect(store.admit(first, NOW)).rejects.toEqual(code('AGENT_SUSPENDED'))
    await store.revokeCertificate(first.serial, { reason: 'stolen', scope: 'lineage' }, NOW)
    await store.resumeMember(PLANNER)
    await expect(store.recordRenewal(renewalOf(first), first.serial, NOW)).rejects.toEqual(
      code('PEER_REVOKED'),
    )
    await expect(store.recordRenewal(renewalOf(other), other.serial, NOW)).resolves.toBeDefined()
    await expect(store.admit(other, NOW)).rejects.toEqual(code('PEER_REVOKED'))
  })

  it('is lifted from the name by restore, and never from a certificate', async () => {
    const first = await enrol(PLANNER)
    await store.revokeMember(PLANNER, 'x', NOW)
    await expect(store.revokeMember(PLANNER, 'x', NOW)).rejects.toEqual(code('AGENT_REVOKED'))
    const { member } = await store.restoreMember(PLANNER)
    expect(member.state).toBe('registered')
    const told = await store.withdrawn(NOW)
    expect([told.ids, told.serials.map(({ serial }) => serial)]).toEqual([[], [first.serial]])
    await expect(store.admit(first, NOW)).rejects.toEqual(code('PEER_REVOKED'))
  })

  it('stays with a removed name until the name is given out again, and with its certificates for ever', async () => {
    const first = await enrol(PLANNER)
    await store.removeMember(PLANNER, NOW)
    expect((await store.withdrawn(NOW)).ids).toEqual([first.id])
    expect(await store.findMember(PLANNER)).toBeUndefined()
    const again = await store.register({ ...PLANNER, ...UNSET }, NOW)
    expect(again.position).not.toBeNull()
    expect((await store.withdrawn(NOW)).ids).toEqual([])
    await expect(store.admit(first, NOW)).rejects.toEqual(code('PEER_REVOKED'))
  })

  it('takes the endpoints with it, and lets no late announcement back in', async () => {
    const first = await enrol(PLANNER)
    const endpoint = { id: first.id, instanceId: first.instanceId, host: '127.0.0.1', port: 1 }
    expect(await store.announce(endpoint, first.serial, NOW)).toBeDefined()
    expect(await store.announce(endpoint, first.serial, NOW)).toBeUndefined()
    expect((await store.revokeMember(PLANNER, 'x', NOW)).endpointsChanged).toBe(true)
    expect(await store.endpoints()).toEqual([])
    await expect(store.announce(endpoint, first.serial, NOW)).rejects.toEqual(code('PEER_REVOKED'))
  })

  it('awaits every instance with a living leaf, once, and no foreign client', async () => {
    const first = await enrol(PLANNER)
    await store.recordRenewal(renewalOf(first, { notAfter: NOW + 2 * HOUR }), first.serial, NOW)
    await enrol(TICKETS)
    await enrol(TICKETS, { origin: 'issue' })
    await enrol(TICKETS, { notAfter: NOW - 1 })
    const live = await store.liveInstances(NOW)
    expect(live.map(({ id, notAfter }) => [id, notAfter])).toEqual([
      ['spiffe://acme.internal/agent/planner', NOW + 2 * HOUR],
      ['spiffe://acme.internal/agent/tickets', NOW + HOUR],
    ])
    await store.revokeMember(TICKETS, 'x', NOW)
    expect(await store.liveInstances(NOW)).toHaveLength(1)
  })
})

describe('the store', () => {
  it('does not wait for operators, who have no feed', async () => {
    await enrol({ kind: 'operator', name: parseAgentName('ann') })
    await enrol(PLANNER)
    expect((await store.liveInstances(NOW)).map(({ id }) => id)).toEqual([
      'spiffe://acme.internal/agent/planner',
    ])
  })

  it('lists the newest certificate of each instance, none that was withdrawn', async () => {
    const first = await enrol(PLANNER)
    const second = await store.recordRenewal(renewalOf(first), first.serial, NOW)
    const list = await store.listInstances(first.id, NOW)
    expect(list.map(({ serial }) => serial)).toEqual([second.serial])
    expect(await store.listInstances(null, second.notAfter + 24 * HOUR - 1)).toHaveLength(1)
    expect(await store.listInstances(null, second.notAfter + 24 * HOUR)).toEqual([])
    await store.revokeMember(PLANNER, 'x', NOW)
    expect(await store.listInstances(first.id, NOW)).toEqual([])
  })

  it('counts policies up', async () => {
    expect(await store.policy()).toBeUndefined()
    expect((await store.pushPolicy('a', NOW)).version).toBe(1)
    expect((await store.pushPolicy('b', NOW)).version).toBe(2)
    expect(await store.policy()).toEqual({ version: 2, pushedAt: NOW, yaml: 'b' })
  })
})
