import { mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseSpiffeId } from '../../../mesh/spiffe-id.js'
import { manualClock } from '../../support/manual-clock.js'
import {
  codeOf,
  makeTestHome,
  type TestHome,
  type TestMember,
  until,
} from '../../support/open-test-member.js'
import { startTestAuthority, type TestAuthority } from '../../support/test-authority.js'

const TICKETS = parseSpiffeId('spiffe://acme.internal/agent/tickets')
const ISSUER = 'a'.repeat(64)
const serial = (text: string) => ({ issuer: ISSUER, serial: text, id: TICKETS, expiresAt: 4_000_000_000_000 })

let at: TestHome
let ca: TestAuthority

beforeEach(async () => {
  at = makeTestHome()
  ca = await startTestAuthority()
})
afterEach(async () => {
  await at[Symbol.asyncDispose]()
  await ca[Symbol.asyncDispose]()
})

const open = (options = {}): Promise<TestMember> =>
  at.open({ enrolBy: { token: ca.token('agent', 'planner') }, ...options })
const acked = (epoch: number) => ca.frame((frame) => frame.type === 'ack' && frame.position.epoch === epoch)
const count = (type: string): number => ca.frames.filter(({ frame }) => frame.type === type).length

describe('the feed', () => {
  it('says hello without a position, applies the snapshot, and acknowledges it', async () => {
    const member = await open()
    await acked(1)
    expect(ca.frames[0]?.frame).toEqual({ type: 'hello', position: null, capabilities: [] })
    expect(member.world.current().position).toEqual(ca.position)
    expect(member.feed.connected).toBe(true)
  })

  it('acknowledges a revocation after the new world is in force and the connections are cut', async () => {
    const member = await open()
    await acked(1)
    const seen: boolean[] = []
    member.world.onChange((world, previous) => {
      seen.push(world === member.world.current(), previous.revocations.ids.has(TICKETS))
      expect(ca.frames.some(({ frame }) => frame.type === 'ack' && frame.position.epoch === 2)).toBe(false)
      return 3
    })
    member.world.onChange(() => 4)
    ca.advance([{ kind: 'revoke', ids: [TICKETS], serials: [serial('01')] }], { revokedIds: [TICKETS] })
    expect(await acked(2)).toMatchObject({ cut: 7 })
    expect(seen).toEqual([true, false])
    expect(member.world.current().revocations.ids.has(TICKETS)).toBe(true)
    expect(member.world.current().revocations.serials.has(`${ISSUER}:01`)).toBe(true)
  })

  it('applies restoring, policy and endpoints, each replacing what it names', async () => {
    const member = await open()
    await acked(1)
    const policy = { version: 7, agents: [], services: [] }
    const endpoint = { id: TICKETS, instanceId: 'i', host: '127.0.0.1', port: 9 }
    ca.advance([{ kind: 'revoke', ids: [TICKETS], serials: [serial('01')] }], {})
    ca.advance(
      [
        { kind: 'restore', id: TICKETS },
        { kind: 'policy', policy },
      ],
      {},
    )
    ca.advance([{ kind: 'endpoints', endpoints: [endpoint, { ...endpoint, instanceId: 'j' }] }], {})
    await acked(4)
    const world = member.world.current()
    expect(world.revocations.ids.size).toBe(0)
    expect(world.revocations.serials.size).toBe(1)
    expect(world.policyVersion).toBe(7)
    expect(world.endpoints.get(TICKETS)).toHaveLength(2)
  })

  it('acknowledges what could not be written down only when it is', async () => {
    const member = await open()
    await acked(1)
    // rename() onto a directory fails, as every write does on a full disk
    const file = path.join(member.dir, 'world.json')
    rmSync(file)
    mkdirSync(file)
    member.world.onChange(() => 2)
    ca.advance([{ kind: 'revoke', ids: [TICKETS], serials: [] }], { revokedIds: [TICKETS] })
    await until('the new world', () => member.world.current().revocations.ids.has(TICKETS))
    ca.send({ type: 'heartbeat', position: ca.position, sentAt: 0 })
    const refusals = (): number => member.log.lines.filter(({ event }) => event === 'world.not-saved').length
    await until('a try at the heartbeat', () => refusals() === 3)
    expect(ca.frames.some(({ frame }) => frame.type === 'ack' && frame.position.epoch === 2)).toBe(false)
    rmdirSync(file)
    ca.send({ type: 'heartbeat', position: ca.position, sentAt: 0 })
    expect(await acked(2)).toMatchObject({ cut: 2 })
    expect(readFileSync(file, 'utf8')).toContain(TICKETS)
  })

  it('asks for a snapshot when a delta does not follow, and when a heartbeat is ahead', async () => {
    const member = await open()
    await acked(1)
    const position = { ...ca.position, epoch: 9 }
    ca.send({
      type: 'delta',
      from: 8,
      position,
      sentAt: 0,
      changes: [{ kind: 'revoke', ids: [TICKETS], serials: [] }],
    })
    await until('a resync', () => count('resync') === 1)
    expect(member.world.current().revocations.ids.size).toBe(0)
    ca.send({ type: 'heartbeat', position, sentAt: 0 })
    await until('another resync', () => count('resync') === 2)
  })

  it('acknowledges a delta it knows already and changes nothing', async () => {
    const member = await open()
    await acked(1)
    ca.advance([{ kind: 'revoke', ids: [TICKETS], serials: [] }], { revokedIds: [TICKETS] })
    await acked(2)
    const world = member.world.current()
    ca.send({
      type: 'delta',
      from: 1,
      position: ca.position,
      sentAt: 0,
      changes: [{ kind: 'restore', id: TICKETS }],
    })
    await until('a second ack', () => ca.frames.filter(({ frame }) => frame.type === 'ack').length === 3)
    expect(member.world.current()).toBe(world)
  })

  it('refuses a snapshot that turns back the epoch of its generation', async () => {
    const member = await open()
    await acked(1)
    ca.advance([{ kind: 'revoke', ids: [TICKETS], serials: [] }], { revokedIds: [TICKETS] })
    await acked(2)
    const view = {
      trustDomain: 'acme.internal',
      bundles: [
        { trustDomain: 'acme.internal', rootsPem: ca.hierarchy.rootPem, issuingPem: '', crossPem: '' },
      ],
      revokedIds: [],
      revokedSerials: [],
      revokedIssuers: [],
      policy: { version: 0, agents: [], services: [] },
      callees: [],
      endpoints: [],
    }
    ca.send({ type: 'snapshot', position: { ...ca.position, epoch: 1 }, sentAt: 0, view })
    expect((await member.log.line('feed.lost')).fields['code']).toBe('WIRE_MALFORMED')
    expect(member.world.current().revocations.ids.has(TICKETS)).toBe(true)
  })

  it('takes a snapshot of another generation, whatever its epoch', async () => {
    const member = await open()
    await acked(1)
    const generation = '00000000-0000-4000-8000-000000000000'
    const bundles = [
      { trustDomain: 'acme.internal', rootsPem: ca.hierarchy.rootPem, issuingPem: '', crossPem: '' },
    ]
    const policy = { version: 0, agents: [], services: [] }
    const view = {
      trustDomain: 'acme.internal',
      bundles,
      revokedIds: [],
      revokedSerials: [],
      revokedIssuers: [],
      policy,
      callees: [],
      endpoints: [],
    }
    ca.send({ type: 'snapshot', position: { generation, epoch: 0 }, sentAt: 0, view })
    await acked(0)
    expect(member.world.current().position?.generation).toBe(generation)
  })

  it.each([
    ['a frame that is not JSON', { type: 'delta' }],
    [
      'a snapshot of another trust domain',
      { type: 'snapshot', position: { generation: 'g', epoch: 9 }, sentAt: 0 },
    ],
  ])('is lost at %s, and comes back', async (_what, frame) => {
    const member = await open()
    await acked(1)
    ca.send(frame)
    await member.log.line('feed.lost')
    await until('a second hello', () => count('hello') === 2)
  })

  it('ignores a frame of an unknown type, and is stale after a critical one until the next snapshot', async () => {
    const member = await open()
    await acked(1)
    ca.send({ type: 'novelty' })
    ca.send({ type: 'law', critical: true })
    await member.log.line('feed.not-understood')
    expect(member.world.isStale()).toBe(true)
    expect(member.feed.connected).toBe(true)
    ca.send({ type: 'heartbeat', position: { ...ca.position, epoch: 5 }, sentAt: 0 })
    await until('fresh again', () => !member.world.isStale())
  })

  it('says hello with its position after a reconnect, and announces its endpoint again', async () => {
    const member = await open()
    member.feed.advertise({ host: null, port: 4711 })
    await until('announced', () => count('advertise') >= 1)
    const before = count('advertise')
    ca.dropFeeds()
    await until('announced again', () => count('advertise') > before)
    const hello = ca.frames.filter(({ frame }) => frame.type === 'hello').at(-1)?.frame
    expect(hello).toMatchObject({ position: ca.position })
    await member.feed.withdraw()
    await until('withdrawn', () => count('withdraw') === 1)
  })

  it('gives up on a silent CA and dials again', async () => {
    const clock = manualClock()
    const member = await open({ clock })
    await acked(1)
    clock.advance(25_000)
    await member.log.line('feed.lost')
    await until('a second hello', () => {
      clock.advance(100)
      return count('hello') === 2
    })
  })

  it('is stale when the CA says nothing for longer than the limit, and fresh at its next word', async () => {
    const clock = manualClock()
    const member = await open({ clock, feedMaxStalenessMs: 20_000 })
    await acked(1)
    clock.advance(20_000)
    expect(member.world.isStale()).toBe(false)
    clock.advance(1)
    expect(member.world.isStale()).toBe(true)
    ca.send({ type: 'heartbeat', position: ca.position, sentAt: 0 })
    await until('fresh', () => !member.world.isStale())
  })

  it('has the next connection up before the last one ends, after a rotation', async () => {
    const clock = manualClock()
    const member = await open({ clock })
    member.feed.advertise({ host: null, port: 4711 })
    await acked(1)
    const old = member.credentials.current().svid.serial
    clock.setWall(clock.now() + 13 * 3_600_000)
    clock.advance(30_000)
    let dipped = false
    await until('the new leaf announces', () => {
      dipped ||= member.credentials.current().svid.serial !== old && !member.feed.connected
      return ca.frames.some(({ frame, serial: by }) => frame.type === 'advertise' && by !== old)
    })
    expect(dipped).toBe(false)
  })

  it('learns at the door of the CA that it was revoked', async () => {
    const member = await open()
    await acked(1)
    ca.behaviour.refuseWith = { status: 403, code: 'PEER_REVOKED' }
    ca.dropFeeds()
    await until('self-revoked', () => member.world.selfRevoked)
    expect((await member.log.line('feed.failed')).fields['code']).toBe('PEER_REVOKED')
  })

  it('knows that it is revoked when the feed says so of its name or its certificate', async () => {
    const member = await open()
    await acked(1)
    const { id, issuer, serial: own, notAfter } = member.credentials.current().svid
    ca.advance([{ kind: 'revoke', ids: [], serials: [{ id, issuer, serial: own, expiresAt: notAfter }] }], {})
    await acked(2)
    expect(member.world.selfRevoked).toBe(true)
  })
})

describe('the world on disk', () => {
  it('is in force at the next start, though the CA is away', async () => {
    const member = await open()
    await acked(1)
    ca.advance([{ kind: 'revoke', ids: [TICKETS], serials: [serial('02')] }], { revokedIds: [TICKETS] })
    await acked(2)
    await member.stop()
    await ca[Symbol.asyncDispose]()
    const again = await at.open()
    expect(again.world.current().revocations.ids.has(TICKETS)).toBe(true)
    expect(again.world.current().revocations.serials.has(`${ISSUER}:02`)).toBe(true)
    expect(again.world.current().position?.epoch).toBe(2)
    expect(again.feed.connected).toBe(false)
    ca = await startTestAuthority()
  })

  it('is refused when it is damaged, rather than begun afresh without its revocations', async () => {
    const member = await open()
    await acked(1)
    await member.stop()
    writeFileSync(at.file('world.json'), readFileSync(at.file('world.json'), 'utf8').slice(1))
    expect(await codeOf(at.open())).toBe('STATE_UNREADABLE')
  })
})
