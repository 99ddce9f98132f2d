// A peer of the mesh that is slow on purpose: heads that never become whole, and answers for which it never opens a window. Both have a
// time, whatever trickles in meanwhile.

import { expect, it } from 'vitest'
import { H2 } from '../../sidecar/http/stream-error.js'
import { FRAME } from '../../sidecar/http2/frames.js'
import { DOOR_LIMITS } from '../../sidecar/parts.js'
import { block, codeOf, continuation, END_STREAM, frame, headers, settings } from '../support/http2-raw.js'
import { manualClock } from '../support/manual-clock.js'
import { heldBytes } from '../support/memory.js'
import { request } from '../support/raw-http.js'
import { type Attacker, head, openAttacker, openSiege, SIEGE_POLICY } from '../support/siege.js'
import { startApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

const MEGABYTE = 1024 * 1024
const { headMs } = DOOR_LIMITS
/** What a deadline may be late by. */
const GRAIN_MS = 100

const turned = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))
const FIELD = block([['x-a', 'b']])
const WHOLE = headers(1, head('GET'))
const LONG = frame(FRAME.HEADERS, END_STREAM, 1, block(head('GET')))

it.each([
  [
    'a head that goes on in CONTINUATION',
    LONG,
    (nth: number) => continuation(1, FIELD.subarray(nth, nth + 1), 0),
  ],
  [
    'HEADERS that come by the octet',
    WHOLE.subarray(0, 12),
    (nth: number) => WHOLE.subarray(12 + nth, 13 + nth),
  ],
  [
    'the nine octets before a frame',
    WHOLE.subarray(0, 1),
    (nth: number) => (nth < 7 ? WHOLE.subarray(nth + 1, nth + 2) : Buffer.alloc(0)),
  ],
])('%s has the time of a head, then its connection ends with CALL_TIMEOUT', async (_, first, next) => {
  const clock = manualClock()
  await using app = await startApp()
  await using mesh = await startMesh(SIEGE_POLICY)
  const siege = await openSiege(mesh, app, clock)
  const attacker = await openAttacker(mesh, siege, siege.mallory)
  // a head begins at any time, not only with its connection
  clock.advance(4000)
  await attacker.sendAndKnow(first)
  for (let passed = 1000; passed < headMs; passed += 1000) {
    clock.advance(1000)
    attacker.send(next(passed / 1000 - 1))
    for (let turn = 0; turn < 5; turn++) await turned()
  }
  expect([attacker.isOver, attacker.farewell]).toEqual([false, undefined])
  clock.advance(1000 + GRAIN_MS)
  expect(await siege.tickets.records.refusal()).toMatchObject({
    reason: 'CALL_TIMEOUT',
    direction: 'ingress',
    peer: { id: mesh.id('mallory') },
  })
  await attacker.until((frames) => frames.some(({ type }) => type === FRAME.GOAWAY))
  expect(attacker.farewell).toBe(H2.ENHANCE_YOUR_CALM)
  clock.advance(2000)
  await attacker.over
  expect(siege.tickets.records.refusals).toHaveLength(1)
  expect(app.seen).toEqual([])
})

it('heads that become whole one after the other, each in time, are answered for as long as they come', async () => {
  const clock = manualClock()
  await using app = await startApp()
  await using mesh = await startMesh(SIEGE_POLICY)
  const siege = await openSiege(mesh, app, clock)
  const caller = await openAttacker(mesh, siege, siege.mallory)
  for (let id = 1; id < 12; id += 2) {
    const whole = headers(id, head('GET'))
    await caller.sendAndKnow(whole.subarray(0, 20))
    clock.advance(headMs - GRAIN_MS)
    await turned()
    caller.send(whole.subarray(20))
    await caller.until((frames) =>
      frames.some(({ type, streamId }) => type === FRAME.HEADERS && streamId === id),
    )
  }
  expect([caller.isOver, app.seen.length, siege.tickets.records.refusals]).toEqual([false, 6, []])
  caller.destroy()
})

it('connections that each hold the largest head back cost their heads, for the time of a head', async () => {
  const clock = manualClock()
  await using app = await startApp()
  await using mesh = await startMesh(SIEGE_POLICY)
  const siege = await openSiege(mesh, app, clock)
  const attackers: Attacker[] = []
  for (let nth = 0; nth < 100; nth++) attackers.push(await openAttacker(mesh, siege, siege.mallory))
  const before = heldBytes()
  const piece = block([['x-a', 'v'.repeat(15_000)]])
  for (const attacker of attackers)
    await attacker.sendAndKnow(
      frame(FRAME.HEADERS, END_STREAM, 1, block(head('GET'))),
      ...Array.from({ length: 4 }, () => continuation(1, piece, 0)),
    )
  expect(heldBytes() - before).toBeLessThan((attackers.length * MEGABYTE) / 2)
  expect((await request(`${siege.planner.urlOf('tickets')}/tickets/1`)).status).toBe(200)
  clock.advance(headMs + GRAIN_MS)
  await siege.tickets.records.refusal(attackers.length - 1)
  clock.advance(2000)
  await Promise.all(attackers.map(({ over }) => over))
  expect(siege.tickets.records.refusals.map(({ reason }) => reason)).toEqual(
    Array(attackers.length).fill('CALL_TIMEOUT'),
  )
  attackers.length = 0
  for (let turn = 0; turn < 20; turn++) await turned()
  expect(heldBytes() - before).toBeLessThan(3 * MEGABYTE)
  expect(app.seen.filter(({ url }) => url === '/tickets/attack')).toEqual([])
})

it('refusals that a peer opens no window for are taken back after half a minute', async () => {
  const clock = manualClock()
  await using app = await startApp()
  await using mesh = await startMesh(SIEGE_POLICY)
  const siege = await openSiege(mesh, app, clock)
  const attacker = await openAttacker(mesh, siege, siege.mallory)
  const streams = 1000
  attacker.send(settings([4, 0]))
  for (let nth = 0; nth < streams; nth++) attacker.send(headers(1 + 2 * nth, head('GET', '/elsewhere')))
  await siege.tickets.records.end(streams - 1)
  expect(siege.tickets.records.ends[0]).toMatchObject({ outcome: 'failed', reason: 'POLICY_NO_OPERATION' })
  await attacker.sendAndKnow()
  const before = heldBytes()
  clock.advance(29_000)
  await attacker.sendAndKnow()
  const resets = (): number[] => attacker.frames.filter(({ type }) => type === FRAME.RST_STREAM).map(codeOf)
  expect(resets()).toEqual([])
  clock.advance(headMs + 1000)
  await attacker.sendAndKnow()
  expect(resets()).toEqual(Array(streams).fill(H2.CANCEL))
  // each held its stream and its problem
  expect(before - heldBytes()).toBeGreaterThan(streams * 500)
  attacker.destroy()
})

it('an answer that a peer opens no window for ends after the idle time, and it is not the callee who was late', async () => {
  const clock = manualClock()
  await using app = await startApp((_, response) => void response.end(Buffer.alloc(MEGABYTE)))
  await using mesh = await startMesh(SIEGE_POLICY)
  const siege = await openSiege(mesh, app, clock)
  const attacker = await openAttacker(mesh, siege, siege.mallory)
  attacker.send(settings([4, 0]), headers(1, head('GET')))
  await attacker.until((frames) =>
    frames.some(({ type, streamId }) => type === FRAME.HEADERS && streamId === 1),
  )
  for (let turn = 0; turn < 20; turn++) await turned()
  clock.advance(10 * 60_000)
  expect(await siege.tickets.records.end()).toMatchObject({
    outcome: 'failed',
    reason: 'CALL_UNREAD',
    status: 200,
  })
  attacker.destroy()
})
