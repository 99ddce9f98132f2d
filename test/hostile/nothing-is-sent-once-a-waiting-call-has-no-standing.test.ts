// A call may wait: for a dial, the ledger, a connection to the app, the answer. Who is revoked or expires meanwhile, on either side, is not
// called and does not call: the wait ends with the reason, and nothing more is sent.

import { EventEmitter, once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { revocationsOf } from '../../mesh/revocation.js'
import { END_HEADERS, headers } from '../support/http2-raw.js'
import { type ManualClock, manualClock } from '../support/manual-clock.js'
import { type Answer, problemIn, request } from '../support/raw-http.js'
import { head, openAttacker } from '../support/siege.js'
import { startApp, type TestApp } from '../support/sse.js'
import { identityOf, startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

const LIFE_MS = 20_000
/** Longer than a leaf lives here. */
const PATIENT = { connectTimeoutMs: 60_000, headTimeoutMs: 60_000, idleTimeoutMs: 60_000 }
const turned = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await turned()
}

interface Stand extends AsyncDisposable {
  readonly mesh: TestMesh
  readonly app: TestApp
  readonly clock: ManualClock
  readonly tickets: TestSidecar
  readonly planner: TestSidecar
}

/** What befalls whom, as the side that is tested hears of it. */
type Blow = 'is revoked itself' | 'has expired itself' | 'has its peer revoked' | 'has its peer expired'

/** @param side whose time and world the test changes */
async function openStand(side: 'planner' | 'tickets', blow: Blow): Promise<Stand> {
  const app = await startApp(({ url }, response) => {
    if (url === '/tickets/1') response.end('ok')
  })
  const mesh = await startMesh()
  const clock = manualClock()
  const isOwn = blow === 'has expired itself'
  const ends = (name: string) =>
    blow.includes('expired') && (name === side) === isOwn ? { leaf: { notAfter: clock.now() + LIFE_MS } } : {}
  const time = (name: string) => (name === side ? { clock } : {})
  const of = (name: string) => ({ settings: PATIENT, ...ends(name), ...time(name) })
  const tickets = await mesh.start('tickets', { app: app.place, ...of('tickets') })
  const planner = await mesh.start('planner', of('planner'))
  return {
    mesh,
    app,
    clock,
    tickets,
    planner,
    async [Symbol.asyncDispose]() {
      await mesh[Symbol.asyncDispose]()
      await app[Symbol.asyncDispose]()
    },
  }
}

function strike({ mesh, clock, ...stand }: Stand, side: 'planner' | 'tickets', blow: Blow): void {
  const peer = side === 'planner' ? 'tickets' : 'planner'
  if (blow.includes('expired')) clock.advance(LIFE_MS + 2)
  else {
    const name = blow === 'is revoked itself' ? side : peer
    stand[side].world.replace({ revocations: revocationsOf([mesh.id(name)], []) })
  }
}

/** Holds the decisions of a ledger back. @returns what waits for the first, and what lets all of them through */
function holdDecisions({ records }: TestSidecar): { asked: () => boolean; release: () => void } {
  const held: (() => void)[] = []
  const decided = records.decided.bind(records)
  records.decided = (record, settle) => void held.push(() => decided(record, settle))
  return {
    asked: () => held.length > 0,
    release: () => {
      records.decided = decided
      for (const act of held) act()
    },
  }
}

/** The app's only request was given up. */
const untilAborted = ({ seen }: TestApp): Promise<void> => until(() => seen[0]?.socket.destroyed === true)

const outcomeOf = async (answer: Promise<Answer>): Promise<string> => {
  const { status, ...rest } = await answer
  return `${status} ${problemIn(rest).code}`
}

/** Between the caller and its callee: bytes wait until the test lets them through. */
async function openGate(
  stand: Stand,
): Promise<{ knocked: () => boolean; open: () => void; close: () => void }> {
  const gate = new EventEmitter()
  const opened = once(gate, 'open')
  const sockets: net.Socket[] = []
  const server = net.createServer((client) => {
    sockets.push(client.on('error', () => undefined))
    void opened.then(() => {
      const upstream = net.connect(stand.tickets.ports.ingress, '127.0.0.1').on('error', () => undefined)
      sockets.push(upstream)
      client.pipe(upstream).pipe(client)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  stand.mesh.change(({ endpoints }) => ({
    endpoints: new Map(
      [...endpoints].map(([id, places]) => [id, places.map((place) => ({ ...place, port }))]),
    ),
  }))
  return {
    knocked: () => sockets.length > 0,
    open: () => void gate.emit('open'),
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

const WAITS = '/tickets/waits'
const call = ({ planner }: Stand): Promise<string> =>
  outcomeOf(request(`${planner.urlOf('tickets')}${WAITS}`))

it.each<[Blow, string]>([
  ['is revoked itself', 'SELF_REVOKED'],
  ['has expired itself', 'SELF_EXPIRED'],
  ['has its peer revoked', 'PEER_REVOKED'],
  ['has its peer expired', 'PEER_CERT_EXPIRED'],
])('a caller that %s while it dials is told %s, and the callee hears no call', async (blow, code) => {
  await using stand = await openStand('planner', blow)
  const gate = await openGate(stand)
  const answer = call(stand)
  await until(gate.knocked)
  strike(stand, 'planner', blow)
  gate.open()
  expect(await answer).toContain(code)
  expect(await stand.planner.records.decision()).toMatchObject({ decision: 'deny', reason: code })
  expect(stand.tickets.records.decisions).toEqual([])
  gate.close()
})

it.each<[Blow, string]>([
  ['is revoked itself', 'SELF_REVOKED'],
  ['has its peer revoked', 'PEER_REVOKED'],
  ['has its peer expired', 'PEER_CERT_EXPIRED'],
])(
  'a caller that %s while its ledger commits is told %s, and the callee hears no call',
  async (blow, code) => {
    await using stand = await openStand('planner', blow)
    const held = holdDecisions(stand.planner)
    const answer = call(stand)
    await until(held.asked)
    strike(stand, 'planner', blow)
    held.release()
    expect(await answer).toContain(code)
    expect(await stand.planner.records.end()).toMatchObject({ outcome: 'failed', reason: code })
    expect(stand.tickets.records.decisions).toEqual([])
  },
)

it.each<[Blow, string]>([
  ['is revoked itself', 'SELF_REVOKED'],
  ['has its peer revoked', 'PEER_REVOKED'],
  ['has its peer expired', 'PEER_EXPIRED'],
])('a caller that %s while it waits for the answer is told %s', async (blow, code) => {
  await using stand = await openStand('planner', blow)
  const answer = call(stand)
  await until(() => stand.app.seen.length === 1)
  strike(stand, 'planner', blow)
  expect(await answer).toContain(code)
  expect(await stand.planner.records.end()).toMatchObject({ outcome: 'cut', reason: code })
  await untilAborted(stand.app)
})

/** What ends a wait of the callee's, and why. */
const AT_CALLEE: readonly [Blow, string][] = [
  ['is revoked itself', 'SELF_REVOKED'],
  ['has its peer revoked', 'PEER_REVOKED'],
  ['has its peer expired', 'PEER_EXPIRED'],
]

it.each(AT_CALLEE)(
  'a callee that %s while its ledger commits ends the call with %s, and the app hears nothing',
  async (blow, reason) => {
    await using stand = await openStand('tickets', blow)
    const held = holdDecisions(stand.tickets)
    const answer = call(stand)
    await until(held.asked)
    strike(stand, 'tickets', blow)
    await answer
    held.release()
    expect(await stand.tickets.records.end()).toMatchObject({ outcome: 'cut', reason })
    expect(stand.app.seen).toEqual([])
  },
)

it.each(AT_CALLEE)(
  'a callee that %s while no connection to its app is left ends the call with %s, and the app hears nothing',
  async (blow, reason) => {
    await using stand = await openStand('tickets', blow)
    const { mesh, tickets, app } = stand
    const busy = await openAttacker(
      mesh,
      stand,
      identityOf(await issueLeaf(mesh.hierarchy, mesh.id('planner'))),
    )
    // all that one caller may have
    for (let nth = 0; nth < 256; nth++) busy.send(headers(1 + 2 * nth, head('POST'), END_HEADERS))
    await until(() => app.seen.length === 256)
    const answer = call(stand)
    await until(() => tickets.records.decisions.length === 257)
    for (let turn = 0; turn < 5; turn++) await turned()
    strike(stand, 'tickets', blow)
    busy.destroy()
    await answer
    const { callId } = await tickets.records.decision(256)
    await until(() => tickets.records.ends.length === 257)
    expect(tickets.records.ends.find((end) => end.callId === callId)).toMatchObject({
      outcome: 'cut',
      reason,
    })
    expect(app.seen.filter(({ url }) => url === WAITS)).toEqual([])
  },
)

it.each(AT_CALLEE)(
  'a callee that %s while its app thinks ends the call with %s, and the app is told',
  async (blow, reason) => {
    await using stand = await openStand('tickets', blow)
    const answer = call(stand)
    await until(() => stand.app.seen.length === 1)
    strike(stand, 'tickets', blow)
    await answer
    expect(await stand.tickets.records.end()).toMatchObject({ outcome: 'cut', reason })
    await untilAborted(stand.app)
  },
)
