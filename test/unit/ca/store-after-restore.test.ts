// What a restored CA does with certificates of the lost time, which are not in its store: nothing that was withdrawn comes back by them.

import { randomBytes, randomUUID } from 'node:crypto'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CaStore, MemberKey, NewCertificate, Presented } from '../../../ca/store/model.js'
import { createCaStore, openCaStore } from '../../../ca/store.js'
import { namedId, parseAgentName, parseTrustDomain } from '../../../mesh/spiffe-id.js'
import { scratchDir } from '../../support/audit-records.js'

const trustDomain = parseTrustDomain('acme.internal')
const NOW = 1_790_000_000_000
const HOUR = 3_600_000
const ISSUER = 'a'.repeat(64)
const PLANNER: MemberKey = { kind: 'agent', name: parseAgentName('planner') }
const ID = namedId(trustDomain, 'agent', PLANNER.name)
const UNSET = { ttlSeconds: null, address: null, graceSeconds: null, onClone: null }
const REVOKED = expect.objectContaining({ code: 'PEER_REVOKED' }) as unknown

let scratch: ReturnType<typeof scratchDir>
let store: CaStore
let known: NewCertificate
let lost: Presented

beforeEach(async () => {
  scratch = scratchDir()
  const file = path.join(scratch.dir, 'ca.db')
  createCaStore(file, { trustDomain, address: '127.0.0.1' })
  store = openCaStore(file)
  known = {
    serial: randomBytes(16).toString('hex'),
    issuer: ISSUER,
    id: ID,
    instanceId: randomUUID(),
    publicKeyHash: randomBytes(32).toString('hex'),
    origin: 'token',
    notBefore: NOW - 2 * HOUR,
    notAfter: NOW + 24 * HOUR,
    issuedAt: NOW - 2 * HOUR,
    pem: 'known',
  }
  const { member } = await store.register({ ...PLANNER, ...UNSET }, NOW - 2 * HOUR)
  await store.recordEnrolment(known, member.registration)
  // renewed after the backup was taken, and lost with what came after it
  lost = { ...known, serial: randomBytes(16).toString('hex'), notBefore: NOW - HOUR / 2, pem: 'lost' }
  await store.beginRecovery(NOW - HOUR, [], NOW)
})
afterEach(async () => {
  await store.close()
  scratch[Symbol.dispose]()
})

describe('a certificate of the lost time', () => {
  it('is adopted, and falls with what it was renewed from', async () => {
    await store.admit(lost, NOW)
    const { serials } = await store.revokeCertificate(known.serial, { reason: 'lost', scope: 'lineage' }, NOW)
    expect(serials.map(({ serial }) => serial)).toEqual([known.serial, lost.serial])
    await expect(store.admit(lost, NOW)).rejects.toEqual(REVOKED)
  })

  it('is not adopted when its issuing key was stolen, nor when it outlives every leaf of that time', async () => {
    const longer = { ...lost, notAfter: NOW + 8 * 24 * HOUR }
    await expect(store.admit(longer, NOW)).rejects.toEqual(REVOKED)
    const ca = { usage: 'issuing', signedBy: 'root', label: 'issuing', pem: '', crossPem: null } as const
    await store.adoptAuthorities([{ ...ca, fingerprint: 'old', issuer: ISSUER }])
    await store.beginRotation({ id: randomUUID(), kind: 'issuing', compromised: true, at: NOW })
    await store.stageAuthorities([{ ...ca, fingerprint: 'new', issuer: 'b'.repeat(64) }], NOW)
    await store.promoteAuthorities(NOW)
    await expect(store.admit(lost, NOW)).rejects.toEqual(REVOKED)
  })

  it('is not adopted when what it was renewed from was revoked', async () => {
    await store.revokeCertificate(known.serial, { reason: 'lost', scope: 'lineage' }, NOW)
    await expect(store.admit(lost, NOW)).rejects.toEqual(REVOKED)
  })

  it.each<[what: string, away: () => Promise<unknown>, back: () => Promise<unknown>]>([
    [
      'revoked, and let in again',
      () => store.revokeMember(PLANNER, 'x', NOW),
      () => store.restoreMember(PLANNER),
    ],
    [
      'removed, and added again',
      () => store.removeMember(PLANNER, NOW),
      () => store.register({ ...PLANNER, ...UNSET }, NOW),
    ],
    [
      'suspended, and resumed',
      () => store.suspendMember(PLANNER, 'x', NOW),
      () => store.resumeMember(PLANNER),
    ],
  ])('is not adopted when its agent was %s', async (_what, away, back) => {
    // of another instance, too, that the store never saw
    const stranger = { ...lost, instanceId: randomUUID(), serial: 'beef' }
    await away()
    await back()
    for (const each of [lost, stranger]) await expect(store.admit(each, NOW)).rejects.toEqual(REVOKED)
  })
})

describe('what members return after a restore', () => {
  const teller = namedId(trustDomain, 'agent', parseAgentName('tickets'))
  const reporter = { id: teller, instanceId: randomUUID() }
  const told = { ids: [], serials: [], last: true }
  const entry = { issuer: ISSUER, serial: 'beef', id: ID, expiresAt: NOW + HOUR }

  beforeEach(() => store.beginRecovery(NOW - HOUR, [reporter], NOW))

  it('stands on the revocation list too when the store never saw it', async () => {
    await store.returnRevocations(reporter, { ...told, serials: [entry] }, NOW)
    const { entries } = await store.beginCrl(ISSUER, NOW)
    expect(entries.map(({ serial }) => serial)).toEqual(['beef'])
    expect((await store.beginCrl('b'.repeat(64), NOW)).entries).toEqual([])
  })

  it('is enforced although the agent was suspended and resumed here meanwhile, which is no claim', async () => {
    await store.suspendMember(PLANNER, 'x', NOW)
    await store.resumeMember(PLANNER)
    expect((await store.recovery())?.claims).toEqual([])
    const { revoked } = await store.returnRevocations(reporter, { ...told, ids: [ID] }, NOW)
    expect(revoked?.ids).toEqual([ID])
    expect((await store.findMember(PLANNER))?.state).toBe('revoked')
  })
})
