import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { healthOf } from '../../member/identity/health.js'
import { type ManualClock, manualClock } from '../support/manual-clock.js'
import { codeOf, makeTestHome, type TestHome, until } from '../support/open-test-member.js'
import { startCa, type TestCa } from '../support/running-ca.js'

const HOUR = 3_600_000

let ca: TestCa
let at: TestHome

beforeEach(() => {
  at = makeTestHome()
})
afterEach(async () => {
  await at[Symbol.asyncDispose]()
  await ca[Symbol.asyncDispose]()
})

/** Registered and enrolled over the admin socket. */
const enrolBy = () => ({ enrolBy: { adminSocket: ca.running.adminSocket } })

describe('a member whose certificate ended while it slept', () => {
  let caClock: ManualClock
  let clock: ManualClock

  beforeEach(async () => {
    caClock = manualClock()
    clock = manualClock()
    ca = await startCa({ clock: caClock, leafTtlMs: HOUR })
    await ca.admin('POST', '/v1/agents', { name: 'planner' })
  })
  const sleep = (ms: number): void => {
    caClock.setWall(caClock.now() + ms)
    clock.setWall(clock.now() + ms)
  }

  it('renews by its key as soon as it looks at the wall clock, and stays the same instance', async () => {
    const member = await at.open({ ...enrolBy(), clock })
    const before = member.credentials.current().svid
    await member.log.line('feed.connected')
    sleep(2 * HOUR)
    expect(healthOf(before, clock.now())).toBe('red')
    clock.advance(30_000)
    await until('renewed', () => member.credentials.current().svid.serial !== before.serial)
    const { svid } = member.credentials.current()
    expect(svid.instanceId).toBe(before.instanceId)
    expect(healthOf(svid, clock.now())).toBe('green')
  })

  it('renews by its key at its next start, before anything else', async () => {
    const member = await at.open({ ...enrolBy(), clock })
    await member.stop()
    sleep(2 * HOUR)
    const again = await at.open({ ...enrolBy(), clock })
    expect(again.instanceId).toBe(member.instanceId)
    expect(healthOf(again.credentials.current().svid, clock.now())).toBe('green')
  })

  it('says after the grace time which command gives it a new identity', async () => {
    await ca.admin('POST', '/v1/agents', { name: 'planner', graceSeconds: 0 })
    const member = await at.open({ ...enrolBy(), clock })
    await member.stop()
    sleep(2 * HOUR)
    await expect(at.open({ clock })).rejects.toMatchObject({
      code: 'RENEW_GRACE_OVER',
      hint: expect.stringContaining('troth token planner'),
    })
    const anew = await at.open({ ...enrolBy(), clock })
    expect(anew.instanceId).not.toBe(member.instanceId)
  })

  it('is degraded from two thirds of its life on, red after its end, whatever way the clock jumps', async () => {
    const member = await at.open({ ...enrolBy(), clock })
    const { svid } = member.credentials.current()
    const start = clock.now()
    const health = (ms: number): string => healthOf(svid, start + ms)
    expect([0, 0.66, 0.67, 0.99, 1.01].map((part) => health(part * HOUR))).toEqual([
      'green',
      'green',
      'degraded',
      'degraded',
      'red',
    ])
    // back to before it was issued
    expect(health(-301_000)).toBe('red')
  })

  it('waits no longer for its renewal when the clock jumps back', async () => {
    const member = await at.open({ ...enrolBy(), clock })
    const { serial } = member.credentials.current().svid
    await member.log.line('feed.connected')
    clock.setWall(clock.now() - 200_000)
    await until('renewed within half a life of the clock that only goes on', () => {
      if (member.credentials.current().svid.serial !== serial) return true
      clock.advance(60_000)
      return false
    })
    expect(clock.monotonic()).toBeLessThan(HOUR)
  })
})

describe('a member whose certificate really ends', () => {
  const ended = (notAfter: number) => until('the end of its certificate', () => Date.now() > notAfter + 50)

  it('stays up, red, while its CA is away, also over a restart; and heals when the CA is back', async () => {
    ca = await startCa({ leafTtlMs: 1000 })
    await ca.admin('POST', '/v1/agents', { name: 'planner' })
    const member = await at.open(enrolBy())
    await ca.running.close()
    await member.log.line('identity.renewal-failed')
    const { svid } = member.credentials.current()
    await ended(svid.notAfter)
    await member.stop()
    const again = await at.open({ enrolBy: null })
    expect(healthOf(again.credentials.current().svid, Date.now())).toBe('red')
    await again.log.line('identity.expired')
    await ca.restart()
    await until('renewed', () => again.credentials.current().svid.serial !== svid.serial)
    expect(again.instanceId).toBe(member.instanceId)
  })

  it('believes the CA that it has ended, when its own clock is behind', async () => {
    ca = await startCa({ leafTtlMs: 2000 })
    await ca.admin('POST', '/v1/agents', { name: 'planner' })
    const clock = manualClock()
    const member = await at.open({ ...enrolBy(), clock })
    const { svid } = member.credentials.current()
    await ended(svid.notAfter)
    // by its own clock it is valid still
    await until('renewed', () => {
      if (member.credentials.current().svid.serial !== svid.serial) return true
      if (clock.now() < svid.notAfter - 100) clock.advance(50)
      return false
    })
    expect(clock.now()).toBeLessThan(svid.notAfter)
  })
})

describe('a suspended member', () => {
  it('is withdrawn at once and cannot start; resumed, it gets a new certificate by its key, the old one stays dead', async () => {
    ca = await startCa()
    await ca.admin('POST', '/v1/agents', { name: 'planner' })
    const member = await at.open(enrolBy())
    await member.log.line('feed.connected')
    const old = member.credentials.current()
    await ca.admin('POST', '/v1/agents/planner/suspend', { waitMs: 5000 })
    await until('withdrawn', () => member.world.selfRevoked)
    await member.stop()
    expect(await codeOf(at.open())).toBe('AGENT_SUSPENDED')
    expect(await codeOf(at.open(enrolBy()))).toBe('AGENT_SUSPENDED')

    await ca.admin('POST', '/v1/agents/planner/resume')
    const again = await at.open()
    expect(again.instanceId).toBe(member.instanceId)
    expect(again.credentials.current().svid.serial).not.toBe(old.svid.serial)
    await again.log.line('feed.connected')
    expect(again.world.selfRevoked).toBe(false)
    await expect(ca.feed(old)).rejects.toMatchObject({ code: 'PEER_REVOKED' })
    expect([...again.world.current().revocations.serials.values()]).toMatchObject([
      { serial: old.svid.serial },
    ])
  })
})
