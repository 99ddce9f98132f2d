// Renewal as it happens in a running mesh: every process lives by one stepped clock, seven minutes pass in seconds, and calls go on.

import { X509Certificate } from 'node:crypto'
import { appendFileSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { jsonLines, until } from '../support/cli-home.js'
import {
  type CliMesh,
  type EchoApp,
  openCliMesh,
  openEchoApp,
  POLICY,
  pushPolicy,
  type StartedSidecar,
} from '../support/cli-mesh.js'
import { begin, request } from '../support/raw-http.js'
import { readEvents } from '../support/sse.js'
import { openSteppedClock, type SteppedClock, wake } from '../support/stepped-clock.js'

const MINUTE = 60_000

let clock: SteppedClock
let mesh: CliMesh
let app: EchoApp
let planner: StartedSidecar

beforeAll(async () => {
  clock = openSteppedClock()
  mesh = await openCliMesh(() => ({ init: ['--dev'], up: [] }), clock.env)
  app = await openEchoApp()
  // a handshake must outlive the steps of the clock
  appendFileSync(path.join(mesh.home.dir, 'config.yaml'), 'connect.timeout: 60s\n')
  for (const name of ['planner', 'tickets']) await mesh.home.ok('agent', 'add', name, '--ttl', '15m')
  await pushPolicy(mesh.home, POLICY)
  await mesh.sidecar('tickets', ['--app', `127.0.0.1:${app.port}`])
  planner = await mesh.sidecar('planner')
  await until('the first call', async () => ((await call()) === 200 ? true : undefined))
})

afterAll(async () => {
  await mesh[Symbol.asyncDispose]()
  await app[Symbol.asyncDispose]()
  clock[Symbol.dispose]()
})

const url = (target: string): string =>
  `http://127.0.0.1:${planner.ports.egress}/~${planner.credential()}/@tickets${target}`

/** The status, or what broke. A connection each: the sidecar rightly closes one that was idle for the length of a few steps. */
const call = (): Promise<number | string> =>
  request(url('/tickets/1')).then(
    ({ status }) => status,
    (error: unknown) => inspect(error, { depth: 3 }),
  )

/** Every process is awake at every step. */
const pass = (ms: number): Promise<void> => {
  const socketPath = path.join(mesh.home.dir, 'ca/admin.sock')
  return clock.pass(ms, () => Promise.all([call(), wake({ socketPath })]))
}

/** Calls, two at a time, until stopped. */
const traffic = (): AsyncDisposable & { stop(): Promise<(number | string)[]> } => {
  const answers: (number | string)[] = []
  let going = true
  const loop = async (): Promise<void> => {
    while (going) answers.push(await call())
  }
  const loops = Promise.all([loop(), loop()])
  const stop = async (): Promise<(number | string)[]> => {
    going = false
    await loops
    return answers
  }
  return { stop, [Symbol.asyncDispose]: () => stop().then(() => undefined) }
}

const fileOf = (agent: string, name: string): string =>
  readFileSync(path.join(mesh.home.dir, 'agents', agent, name), 'utf8')

const leafOf = (agent: string): X509Certificate => new X509Certificate(fileOf(agent, 'svid.pem'))

const serialOf = (agent: string): string => leafOf(agent).serialNumber.toLowerCase()

const renewAtOf = (agent: string): number =>
  (JSON.parse(fileOf(agent, 'instance.json')) as { renewAt: number }).renewAt

const ledgerOf = async (agent: string): Promise<Record<string, unknown>[]> =>
  jsonLines(
    await mesh.home.ok(
      'audit',
      'query',
      '--json',
      '--ledger',
      path.join(mesh.home.dir, 'agents', agent, 'ledger.db'),
    ),
  )

it('renews both sidecars at half-life while calls and a stream go on, and records the new serials', async () => {
  const before = { planner: serialOf('planner'), tickets: serialOf('tickets') }
  const firstEnd = Math.max(...['planner', 'tickets'].map((agent) => Date.parse(leafOf(agent).validTo)))
  const keyBefore = fileOf('planner', 'key.pem')
  for (const agent of ['planner', 'tickets']) {
    const halfLife = renewAtOf(agent) - clock.now()
    expect(halfLife).toBeGreaterThan(6.5 * MINUTE)
    expect(halfLife).toBeLessThan(8.5 * MINUTE)
  }
  const stream = await begin(url('/events'))
  const events = readEvents(stream)
  await events.next()
  await using load = traffic()

  await pass(Math.max(renewAtOf('planner'), renewAtOf('tickets')) - clock.now())
  const after = await until('both renewals', () => {
    const now = { planner: serialOf('planner'), tickets: serialOf('tickets') }
    return now.planner !== before.planner && now.tickets !== before.tickets ? now : undefined
  })
  expect(await call()).toBe(200)
  // beyond the end of the first leaves: whatever still rested on them would end here
  await pass(firstEnd - clock.now() + MINUTE)

  const answers = await load.stop()
  expect(new Set(answers)).toEqual(new Set([200]))
  expect(answers.length).toBeGreaterThan(50)
  await events.next()
  stream.destroy()
  expect(fileOf('planner', 'key.pem')).not.toBe(keyBefore)

  for (const agent of ['planner', 'tickets']) {
    const calls = (await ledgerOf(agent)).filter((row) => row['operation'] === 'GET /tickets/1')
    const serials = calls.map((row) => `${String(row['callerSerial'])} ${String(row['calleeSerial'])}`)
    expect(serials[0]).toBe(`${before.planner} ${before.tickets}`)
    expect(serials).toContain(`${after.planner} ${after.tickets}`)
    expect(serials.at(-1)).not.toContain(before.planner)
    expect(new Set(calls.map((row) => row['outcome']))).toEqual(new Set(['completed']))
  }
})

it('finds its way back after a sleep past the end of its certificates, by its key, with no hand on it', async () => {
  const before = { planner: serialOf('planner'), tickets: serialOf('tickets') }
  const keyBefore = fileOf('planner', 'key.pem')
  clock.jump(40 * MINUTE)
  expect(Date.parse(leafOf('planner').validTo)).toBeLessThan(clock.now())

  await until('a call', async () => {
    await wake({ socketPath: path.join(mesh.home.dir, 'ca/admin.sock') })
    return (await call()) === 200 ? true : undefined
  })
  for (const agent of ['planner', 'tickets'] as const) {
    expect(serialOf(agent)).not.toBe(before[agent])
    expect(Date.parse(leafOf(agent).validTo)).toBeGreaterThan(clock.now())
  }
  expect(fileOf('planner', 'key.pem')).not.toBe(keyBefore)
})
