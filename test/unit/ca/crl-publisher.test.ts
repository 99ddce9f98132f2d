import { randomBytes, randomUUID, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CRL_LIFE_MS } from '../../../ca/crl.js'
import { CRL_EVERY_MS, type CrlPublisher, openCrlPublisher } from '../../../ca/crl-publisher.js'
import type { Hierarchy } from '../../../ca/hierarchy.js'
import type { CaStore, MemberKey } from '../../../ca/store/model.js'
import { createCaStore, openCaStore } from '../../../ca/store.js'
import { type CaWorld, openCaWorld, still } from '../../../ca/world.js'
import { namedId, parseAgentName } from '../../../mesh/spiffe-id.js'
import { type ManualClock, manualClock } from '../../support/manual-clock.js'
import { type MemoryLog, memoryLog } from '../../support/memory-log.js'
import { twoCas } from '../../support/two-cas.js'

const { hierarchy } = await twoCas(Date.now())
const { issuer } = hierarchy.current()
const HOUR = 3_600_000

let dir: string
let clock: ManualClock
let log: MemoryLog
let store: CaStore
let world: CaWorld
let crls: CrlPublisher

beforeEach(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'crls-'))
  clock = manualClock()
  log = memoryLog()
  createCaStore(path.join(dir, 'ca.db'), { trustDomain: hierarchy.trustDomain, address: '127.0.0.1' })
  await open()
})
afterEach(async () => {
  await close()
  rmSync(dir, { recursive: true })
})

async function open(by: Hierarchy = hierarchy): Promise<void> {
  store = openCaStore(path.join(dir, 'ca.db'))
  world = await openCaWorld(store, hierarchy)
  crls = await openCrlPublisher({ store, hierarchy: by, world, clock, log })
}

async function close(): Promise<void> {
  await crls.close()
  await store.close()
}

/** Registers a name and gives it a certificate of that life. @returns its serial */
async function issue(name: string, lifeMs = 24 * HOUR): Promise<string> {
  const unset = { ttlSeconds: null, address: null, graceSeconds: null, onClone: null }
  const { member } = await store.register({ ...keyOf(name), ...unset }, clock.now())
  const serial = `4${randomBytes(16).toString('hex').slice(1)}`
  await store.recordEnrolment(
    {
      serial,
      issuer,
      id: namedId(hierarchy.trustDomain, 'agent', parseAgentName(name)),
      instanceId: randomUUID(),
      publicKeyHash: randomBytes(32).toString('hex'),
      origin: 'token',
      notBefore: clock.now(),
      notAfter: clock.now() + lifeMs,
      issuedAt: clock.now(),
      pem: 'pem',
    },
    member.registration,
  )
  return serial
}

const keyOf = (name: string): MemberKey => ({ kind: 'agent', name: parseAgentName(name) })

const revoke = (name: string, reason = 'lost'): Promise<void> =>
  world.advance(async () => {
    const revoked = await store.revokeMember(keyOf(name), reason, clock.now())
    return { value: undefined, move: { ...still(revoked.position), revoked } }
  })

const number = (): number => crls.find(issuer)?.number ?? 0
const names = (serial: string): boolean =>
  crls.find(issuer)?.der.includes(Buffer.from(serial, 'hex')) === true
const published = (): number => log.lines.filter(({ event }) => event === 'crl.published').length

/** Lets what was begun go on until the count of published lists is this. */
async function publishedIs(count: number): Promise<void> {
  for (let turn = 0; turn < 2000 && published() < count; turn += 1)
    await new Promise((resolve) => setImmediate(resolve))
  expect(published()).toBe(count)
}

/** Moves time on, with turns in between for what time sets off. */
async function pass(ms: number, step = 30_000): Promise<void> {
  for (let passed = 0; passed < ms; passed += step) {
    clock.advance(Math.min(step, ms - passed))
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('the publisher of revocation lists', () => {
  it('has a list from the start, and a new one at once when something was withdrawn', async () => {
    expect(published()).toBe(1)
    const serial = await issue('planner')
    await pass(60_000)
    await revoke('planner')
    await publishedIs(2)
    expect(names(serial)).toBe(true)
  })

  it('signs a burst of revocations once at its beginning and once at its end', async () => {
    const serials = await Promise.all(Array.from({ length: 200 }, (_, index) => issue(`agent-${index}`)))
    await pass(60_000)
    for (let index = 0; index < 200; index += 1) await revoke(`agent-${index}`)
    await publishedIs(2)
    await pass(2000, 500)
    expect(published()).toBe(3)
    expect(serials.every(names)).toBe(true)
  })

  it('publishes four times in the life of a list, and never a lower number, even when the clock goes back', async () => {
    const first = number()
    await pass(CRL_EVERY_MS - 60_000, 600_000)
    expect(published()).toBe(1)
    await pass(120_000)
    expect(published()).toBe(2)
    expect(number()).toBeGreaterThan(first)
    const { nextUpdate = 0 } = crls.find(issuer) ?? {}
    expect(nextUpdate - clock.now()).toBeGreaterThan(CRL_LIFE_MS - 120_000)
    const before = number()
    clock.setWall(clock.now() - 24 * HOUR)
    await pass(60_000)
    expect(published()).toBe(3)
    expect(number()).toBe(before + 1)
  })

  it('goes on counting after a restart, and lists what was withdrawn while it was down', async () => {
    const serial = await issue('planner')
    const before = number()
    await close()
    store = openCaStore(path.join(dir, 'ca.db'))
    await store.revokeMember(keyOf('planner'), 'lost', clock.now())
    await store.close()
    clock.setWall(clock.now() - HOUR)
    await open()
    expect(number()).toBe(before + 1)
    expect(names(serial)).toBe(true)
  })

  it('names a certificate on one list after its end, and then no more', async () => {
    const serial = await issue('planner', HOUR)
    await revoke('planner')
    await pass(5 * HOUR, 600_000)
    expect(names(serial)).toBe(true)
    // the certificate ended four hours ago: this list is the one published after that
    await pass(2 * HOUR, 600_000)
    expect([published(), names(serial)]).toEqual([3, true])
    await pass(CRL_EVERY_MS, 600_000)
    expect([published(), names(serial)]).toEqual([4, false])
  })

  it('keeps the last list when a new one cannot be made, and tries again', async () => {
    await close()
    const only = hierarchy.current()
    let isBroken = false
    const key = {
      ...only.signer.key,
      sign: (data: Uint8Array) =>
        isBroken ? Promise.reject(new Error('token removed')) : only.signer.key.sign(data),
    }
    const flaky = { ...only, signer: { ...only.signer, key } }
    await open({ ...hierarchy, issuers: [flaky], current: () => flaky })
    const good = number()
    isBroken = true
    await issue('planner')
    await pass(2000, 500)
    await revoke('planner')
    await log.line('crl.failed')
    expect(number()).toBe(good)
    isBroken = false
    await pass(60_000, 10_000)
    expect(number()).toBeGreaterThan(good)
  })

  it('publishes nothing that reads otherwise than meant', async () => {
    await close()
    const other = new X509Certificate(hierarchy.current().root.raw)
    const wrong = { ...hierarchy.current(), signer: { ...hierarchy.current().signer, certificate: other } }
    await open({ ...hierarchy, issuers: [{ ...wrong, issuer: 'c'.repeat(64) }], current: () => wrong })
    expect(log.lines.find(({ event }) => event === 'crl.failed')?.fields['code']).toBe('ISSUE_CHECK_FAILED')
    expect(crls.find('c'.repeat(64))).toBeUndefined()
  })

  it('takes over a list signed elsewhere, unless it has a newer one', async () => {
    const crl = { issuer: 'b'.repeat(64), publishedAt: clock.now(), nextUpdate: clock.now() + 1e9 }
    await crls.take({ ...crl, number: 7, der: Buffer.from('new') })
    await crls.take({ ...crl, number: 6, der: Buffer.from('old') })
    expect(crls.find(crl.issuer)?.der.toString()).toBe('new')
    await close()
    await open()
    expect(crls.find(crl.issuer)?.der.toString()).toBe('new')
  })
})
