// What the codec's own tests show frame by frame, through a whole sidecar: a peer whose leaf is right, over mutual TLS, keeps the ingress
// busy. It is let go with the right code under its own name; CPU and memory stay bounded, and others are served meanwhile.

import { expect, it } from 'vitest'
import { H2 } from '../../sidecar/http/stream-error.js'
import { FRAME } from '../../sidecar/http2/frames.js'
import {
  block,
  continuation,
  data,
  END_HEADERS,
  END_STREAM,
  frame,
  headers,
  ping,
  reset,
  settings,
  windowUpdate,
} from '../support/http2-raw.js'
import { heldBytes } from '../support/memory.js'
import { request } from '../support/raw-http.js'
import {
  type Attack,
  type Attacker,
  head,
  openAttacker,
  openSiege,
  SIEGE_POLICY,
  type Siege,
} from '../support/siege.js'
import { startApp, type TestApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

const MEGABYTE = 1024 * 1024
const OPEN = END_HEADERS
/** Attackers at once: each connection has its own purse. */
const ATTACKERS = 4
/** Generous: attackers, a caller's sidecar and the callee's all run in this process. */
const MOST_CPU_MS = 3000

const idOf = (turn: number): number => turn * 2 + 1
/** Small on the wire, 64 MB when it is read: one entry of the table, named over and over. */
const BOMB = Buffer.concat([
  block(head('GET')),
  Buffer.from('4001617fb11e', 'hex'),
  Buffer.alloc(4016, 'v'),
  Buffer.alloc(12_000, 0xbe),
])

const ATTACKS: Readonly<Record<string, Attack>> = {
  'rapid reset': {
    next: (turn) => Buffer.concat([headers(idOf(turn), head('GET')), reset(idOf(turn), H2.CANCEL)]),
  },
  'heads that are malformed': {
    next: (turn) => headers(idOf(turn), [...head('GET'), ['connection', 'close']]),
  },
  PING: { next: () => ping('pingpong') },
  SETTINGS: { next: () => settings() },
  'SETTINGS that move every window': { next: (turn) => settings([4, turn % 2 === 0 ? 1 : 65_535]) },
  'DATA without data': { first: headers(1, head('POST'), OPEN), next: () => data(1, '', 0) },
  'CONTINUATION without an end': {
    first: frame(FRAME.HEADERS, END_STREAM, 1, block(head('GET'))),
    next: () => continuation(1, block([['x-a', 'v'.repeat(16_000)]]), 0),
  },
  'CONTINUATION of nothing': {
    first: frame(FRAME.HEADERS, END_STREAM, 1, block(head('GET'))),
    next: () => continuation(1, Buffer.alloc(0), 0),
  },
  'WINDOW_UPDATE by the octet': {
    first: Buffer.concat([settings([4, 1]), headers(1, head('GET', '/tickets/bulk'))]),
    next: () => Buffer.concat([windowUpdate(1, 1), windowUpdate(0, 1)]),
  },
  'an HPACK bomb': { next: (turn) => frame(FRAME.HEADERS, END_STREAM | END_HEADERS, idOf(turn), BOMB) },
}

const startBulkApp = (): Promise<TestApp> =>
  startApp(({ url }, response) => void response.end(url === '/tickets/bulk' ? Buffer.alloc(MEGABYTE) : 'ok'))

/** Calls, one behind the other, for as long as `until` is not over. @returns what was answered */
async function callMeanwhile({ planner }: Siege, until: Promise<unknown>): Promise<number[]> {
  const statuses: number[] = []
  let isOver = false
  void until.then(() => {
    isOver = true
  })
  while (!isOver) statuses.push((await request(`${planner.urlOf('tickets')}/tickets/1`)).status)
  return statuses
}

it.each(Object.entries(ATTACKS))(
  '%s ends the connection under the name of who sent it',
  async (name, attack) => {
    await using app = await startBulkApp()
    await using mesh = await startMesh(SIEGE_POLICY)
    const siege = await openSiege(mesh, app)
    const { tickets, planner } = siege
    await request(`${planner.urlOf('tickets')}/tickets/1`)
    const held = heldBytes()
    const attackers: Attacker[] = []
    for (let nth = 0; nth < ATTACKERS; nth++) attackers.push(await openAttacker(mesh, siege, siege.mallory))
    const cpu = process.cpuUsage()
    const attacks = Promise.all(attackers.map((attacker) => attacker.attack(attack)))
    const statuses = await callMeanwhile(siege, attacks)
    const { user, system } = process.cpuUsage(cpu)

    expect(attackers.map(({ farewell }) => farewell)).toEqual(Array(ATTACKERS).fill(H2.ENHANCE_YOUR_CALM))
    const floods = tickets.records.refusals.filter(({ reason }) => reason === 'HTTP2_FLOOD')
    expect(floods.map(({ peer, direction }) => [peer.id, direction])).toEqual(
      Array(ATTACKERS).fill([mesh.id('mallory'), 'ingress']),
    )
    expect(statuses.length).toBeGreaterThan(0)
    expect(statuses.filter((status) => status !== 200)).toEqual([])
    expect((user + system) / 1000).toBeLessThan(MOST_CPU_MS)
    // the ledger in memory is the test's, not the sidecar's
    tickets.records.records.length = 0
    tickets.records.refusals.length = 0
    expect(heldBytes() - held).toBeLessThan(16 * MEGABYTE)
    if (!['rapid reset', 'DATA without data'].includes(name))
      expect(app.seen.filter(({ url }) => url === '/tickets/attack')).toEqual([])
  },
)
