// The app's connections are few, and slow requests hold them for as long as they like: one caller, or two, must leave some to the others.

import { expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { FRAME } from '../../sidecar/http2/frames.js'
import { END_HEADERS, headers } from '../support/http2-raw.js'
import { type ManualClock, manualClock } from '../support/manual-clock.js'
import { request } from '../support/raw-http.js'
import { type Attacker, head, openAttacker, openSiege, SIEGE_POLICY, type Siege } from '../support/siege.js'
import { startApp, type TestApp } from '../support/sse.js'
import { identityOf, startMesh, type TestMesh } from '../support/start-mesh.js'

/** Of the app's 512. */
const HALF = 256
const QUARTER = 128
const MORE = 40
const CONNECT_TIMEOUT_MS = 5000

/** Answers at once, but to those who never end their request. */
const startPatientApp = (): Promise<TestApp> =>
  startApp((incoming, response) => {
    if (incoming.method === 'GET') response.end('ok')
  })

const attacksOf = (app: TestApp): number => app.seen.filter(({ method }) => method === 'POST').length

/** Begins so many uploads, of which nothing more comes. */
async function holdUploads(attacker: Attacker, count: number): Promise<void> {
  for (let nth = 0; nth < count; nth++) attacker.send(headers(1 + 2 * nth, head('POST'), END_HEADERS))
  await attacker.sendAndKnow()
}

async function untilHeld(app: TestApp, count: number): Promise<void> {
  while (attacksOf(app) < count) await new Promise((resolve) => void setImmediate(resolve))
}

const callOf = async ({ planner }: Siege): Promise<number> =>
  (await request(`${planner.urlOf('tickets')}/tickets/1`)).status

async function openOne(mesh: TestMesh, app: TestApp, clock: ManualClock) {
  const siege = await openSiege(mesh, app, clock)
  return { siege, attacker: await openAttacker(mesh, siege, siege.mallory) }
}

it('slow uploads of one caller hold half of the connections; its next ones are told so, and another caller is served', async () => {
  const clock = manualClock()
  await using app = await startPatientApp()
  await using mesh = await startMesh(SIEGE_POLICY)
  const { siege, attacker } = await openOne(mesh, app, clock)
  await holdUploads(attacker, HALF + MORE)
  await untilHeld(app, HALF)
  for (let nth = 0; nth < 5; nth++) expect(await callOf(siege)).toBe(200)
  expect(attacksOf(app)).toBe(HALF)
  clock.advance(CONNECT_TIMEOUT_MS + 100)
  await siege.tickets.records.end(5 + MORE - 1)
  const refused = siege.tickets.records.ends.filter(({ reason }) => reason !== 'OK')
  expect(refused.map(({ reason, status, outcome }) => [reason, status, outcome])).toEqual(
    Array(MORE).fill(['APP_SHARE_EXCEEDED', 429, 'failed']),
  )
  await attacker.until((frames) => frames.filter(({ type }) => type === FRAME.HEADERS).length === MORE)
  expect(attacksOf(app)).toBe(HALF)
  attacker.destroy()
})

it('a second one holds half of what the first has left, and there is still room', async () => {
  const clock = manualClock()
  await using app = await startPatientApp()
  await using mesh = await startMesh(SIEGE_POLICY)
  const { siege, attacker } = await openOne(mesh, app, clock)
  const trudy = identityOf(await issueLeaf(mesh.hierarchy, mesh.id('trudy')))
  const second = await openAttacker(mesh, siege, trudy)
  await holdUploads(attacker, HALF + MORE)
  await untilHeld(app, HALF)
  await holdUploads(second, QUARTER + MORE)
  await untilHeld(app, HALF + QUARTER)
  for (let nth = 0; nth < 5; nth++) expect(await callOf(siege)).toBe(200)
  expect(attacksOf(app)).toBe(HALF + QUARTER)
  attacker.destroy()
  second.destroy()
})

it('what waits for its share gets it when earlier calls of the same caller end', async () => {
  const clock = manualClock()
  await using app = await startPatientApp()
  await using mesh = await startMesh(SIEGE_POLICY)
  const { siege, attacker } = await openOne(mesh, app, clock)
  const second = await openAttacker(mesh, siege, siege.mallory)
  await holdUploads(attacker, HALF)
  await untilHeld(app, HALF)
  await holdUploads(second, MORE)
  expect(await callOf(siege)).toBe(200)
  expect(attacksOf(app)).toBe(HALF)
  attacker.destroy()
  await untilHeld(app, HALF + MORE)
  expect(siege.tickets.records.ends.filter(({ status }) => status === 429)).toEqual([])
  second.destroy()
})
