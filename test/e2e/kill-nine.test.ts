// kill -9 of each process in turn while calls go on: peers get clean errors, everything recovers by itself, and the ledger has
// every call that was forwarded.

import { readFileSync } from 'node:fs'
import path from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { jsonLines, ready, until } from '../support/cli-home.js'
import {
  type CliMesh,
  type EchoApp,
  openCliMesh,
  openEchoApp,
  POLICY,
  pushPolicy,
  type StartedSidecar,
} from '../support/cli-mesh.js'

let mesh: CliMesh
let app: EchoApp
let planner: StartedSidecar
let tickets: StartedSidecar

beforeAll(async () => {
  mesh = await openCliMesh()
  app = await openEchoApp()
  await mesh.home.ok('agent', 'add', 'planner')
  await mesh.home.ok('agent', 'add', 'tickets')
  await pushPolicy(mesh.home, POLICY)
  tickets = await mesh.sidecar('tickets', ['--app', `127.0.0.1:${app.port}`])
  planner = await mesh.sidecar('planner')
  await until('the first call', async () => ((await call('/tickets/first')) === 200 ? true : undefined))
})

afterAll(async () => {
  await mesh[Symbol.asyncDispose]()
  await app[Symbol.asyncDispose]()
})

/** Ended after its head had come: the callee went away in the middle of the body, and a half is not shown as a whole. */
const CUT_IN_THE_BODY = 'cut in the body'

/** One call: its status, or how it broke. An error before the head is told with its cause; nothing of ours may answer so. */
const call = async (target: string): Promise<number | string> => {
  let answer: Response
  try {
    answer = await fetch(`http://127.0.0.1:${planner.ports.egress}/@tickets${target}`, {
      headers: { 'x-troth-local-credential': planner.credential() },
      signal: AbortSignal.timeout(10_000),
    })
  } catch (error) {
    return `no head: ${inspect(error, { depth: 3 })}`
  }
  try {
    await answer.text()
    return answer.status
  } catch {
    return CUT_IN_THE_BODY
  }
}

/** Calls in a loop until stopped. */
const traffic = (): AsyncDisposable & { stop(): Promise<(number | string)[]> } => {
  const answers: (number | string)[] = []
  let going = true
  const loop = (async () => {
    for (let number = 0; going; number += 1) answers.push(await call(`/tickets/${number}`))
  })()
  const stop = async (): Promise<(number | string)[]> => {
    going = false
    await loop
    return answers
  }
  return { stop, [Symbol.asyncDispose]: () => stop().then(() => undefined) }
}

const ledgerOf = async (agent: string): Promise<Record<string, unknown>[]> =>
  jsonLines(
    await mesh.home.ok(
      'audit',
      'query',
      '--json',
      '--limit',
      '100000',
      '--ledger',
      path.join(mesh.home.dir, 'agents', agent, 'ledger.db'),
    ),
  )

/** Every request that the app saw is a permitted call of the callee's ledger. */
const everyForwardedCallIsRecorded = async (): Promise<void> => {
  const recorded = new Set(
    (await ledgerOf('tickets')).filter((row) => row['decision'] === 'permit').map((row) => row['callId']),
  )
  const missing = app.seen.filter(({ headers }) => !recorded.has(headers['x-troth-call-id']))
  expect(missing).toEqual([])
}

/** No longer there, or dead and not yet looked at by its parent. */
const isGone = (pid: string): boolean => {
  try {
    return / [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return true
  }
}

it('the callee’s sidecar: clean errors while it is away, then calls again', async () => {
  await using load = traffic()
  await until('some calls', () => (app.seen.length > 20 ? true : undefined))
  tickets.running.kill('SIGKILL')
  await tickets.running.ended
  expect(
    await until('an error', async () => {
      const answer = await call('/tickets/gone')
      return answer === 200 ? undefined : answer
    }),
  ).toBeTypeOf('number')
  tickets = await mesh.sidecar('tickets', ['--app', `127.0.0.1:${app.port}`], tickets.ports)
  await until('a call', async () => ((await call('/tickets/back')) === 200 ? true : undefined))
  const answers = await load.stop()
  const broken = answers.filter((answer) => typeof answer === 'string')
  expect(broken.filter((how) => how !== CUT_IN_THE_BODY)).toEqual([])
  // calls go one after the other: one was on its way
  expect(broken.length).toBeLessThanOrEqual(1)
  await everyForwardedCallIsRecorded()
})

it('the caller’s sidecar: the ledger closes what nobody saw end', async () => {
  await using load = traffic()
  await until('some calls', () => (app.seen.length > 60 ? true : undefined))
  planner.running.kill('SIGKILL')
  await planner.running.ended
  planner = await mesh.sidecar('planner', [], planner.ports)
  await until('a call', async () => ((await call('/tickets/again')) === 200 ? true : undefined))
  await load.stop()
  await everyForwardedCallIsRecorded()
  const open = (await ledgerOf('planner')).filter(
    (row) => row['kind'] === 'call' && row['decision'] === 'permit' && row['outcome'] === null,
  )
  expect(open).toEqual([])
})

it('CA and collector: calls go on without them, and shipping resumes', async () => {
  await using load = traffic()
  const children = (await mesh.home.run('pgrep', ['-P', String(mesh.up.child.pid)])).stdout
    .split('\n')
    .filter(Boolean)
  expect(children.length).toBeGreaterThanOrEqual(2)
  mesh.up.kill('SIGKILL')
  for (const pid of children) process.kill(Number(pid), 'SIGKILL')
  await mesh.up.ended
  for (const pid of children) await until(`the end of ${pid}`, () => (isGone(pid) ? true : undefined))
  const before = app.seen.length
  await until('calls without a CA', () => (app.seen.length > before + 20 ? true : undefined))
  mesh.up = await mesh.startUp()
  expect(new Set(await load.stop())).toEqual(new Set([200]))
  await ready(`http://127.0.0.1:${planner.ports.admin}/readyz`)
  const last = app.seen.at(-1)?.headers['x-troth-call-id']
  await until('the last call at the collector', async () => {
    const rows = jsonLines(
      await mesh.home.ok(
        'audit',
        'query',
        '--json',
        '--limit',
        '100000',
        '--ledger',
        path.join(mesh.home.dir, 'collector/ledger.db'),
      ),
    )
    return rows.filter((row) => row['callId'] === last).length >= 2 ? true : undefined
  })
})
