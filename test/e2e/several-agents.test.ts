// Three agents of one host in one process (`troth sidecar --config`): their doors, ledgers and lives, seen from outside.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort, jsonLines, type Running, ready, until } from '../support/cli-home.js'
import { type CliMesh, type EchoApp, openCliMesh, openEchoApp, pushPolicy } from '../support/cli-mesh.js'
import { request } from '../support/raw-http.js'

const POLICY = `version: 1
agents:
  - { id: agent/planner, scopes: [tickets:read] }
  - { id: agent/helper, scopes: [tickets:read] }
services:
  - id: agent/tickets
    operations:
      - { match: { method: GET, path: /tickets/** }, scope: tickets:read }
`
const NAMES = ['planner', 'helper', 'tickets'] as const
type Name = (typeof NAMES)[number]

let mesh: CliMesh
let app: EchoApp
let file: string
let running: Running
const ports: Record<string, number> = {}

const at = (...parts: string[]): string => path.join(mesh.home.dir, ...parts)
const credentialOf = (name: Name): string =>
  readFileSync(at('agents', name, 'local-credential'), 'utf8').trim()
const readiness = async (name: Name): Promise<unknown> =>
  (await fetch(`http://127.0.0.1:${ports[`${name}Admin`] ?? 0}/readyz`)).json()

async function call(
  name: Name,
  where: string,
  credential = credentialOf(name),
): Promise<{ status: number; body: unknown }> {
  // not by fetch: it takes 407 for a failed network
  const answer = await request(`http://127.0.0.1:${ports[name] ?? 0}/@tickets/tickets/${where}`, {
    headers: { 'x-troth-local-credential': credential },
  })
  return { status: answer.status, body: JSON.parse(answer.body.toString()) }
}

const start = (...args: string[]): Running => mesh.home.start('sidecar', '--config', file, ...args)

/** What it printed of each agent, once all were told. */
const told = async (sidecars: Running, count: number): Promise<Record<string, unknown>[]> =>
  until('a line for each', () => {
    const lines = jsonLines(sidecars.output()).filter((line) => 'ready' in line)
    return lines.length === count ? lines : undefined
  })

beforeAll(async () => {
  mesh = await openCliMesh()
  app = await openEchoApp()
  for (const name of NAMES) await mesh.home.ok('agent', 'add', name)
  await pushPolicy(mesh.home, POLICY)
  for (const name of NAMES) {
    ports[name] = await freePort()
    ports[`${name}Admin`] = await freePort()
  }
  ports['direct'] = await freePort()
  file = at('agents.yaml')
  // of one, enrolment by a token that lies beside the file
  writeFileSync(at('helper.token'), await mesh.home.ok('token', 'helper'), { mode: 0o600 })
  writeFileSync(
    file,
    `agents:
  - agent: planner
    to: { tickets: ${ports['direct']} }
    egressPort: ${ports['planner']}
    adminPort: ${ports['plannerAdmin']}
  - agent: helper
    token: file:helper.token
    egressPort: ${ports['helper']}
    adminPort: ${ports['helperAdmin']}
  - agent: tickets
    app: 127.0.0.1:${app.port}
    egressPort: ${ports['tickets']}
    adminPort: ${ports['ticketsAdmin']}
`,
  )
  running = start('--json')
  const lines = await told(running, 3)
  expect(lines.map(({ ready: is, agent }) => [is, agent]).sort()).toEqual(
    [...NAMES].sort().map((name) => [true, name]),
  )
  await until('the first call', async () =>
    (await call('planner', 'first')).status === 200 ? true : undefined,
  )
})

afterAll(async () => {
  await mesh[Symbol.asyncDispose]()
  await app[Symbol.asyncDispose]()
})

it('speaks for each agent at its own doors, and for no other', async () => {
  for (const name of ['planner', 'helper'] as const)
    expect((await call(name, name)).body).toMatchObject({ caller: `spiffe://acme.internal/agent/${name}` })
  const direct = await fetch(`http://127.0.0.1:${ports['direct'] ?? 0}/tickets/direct`, {
    headers: { 'x-troth-local-credential': credentialOf('planner') },
  })
  expect(await direct.json()).toMatchObject({ caller: 'spiffe://acme.internal/agent/planner' })
  const stolen = await call('planner', 'stolen', credentialOf('helper'))
  expect(stolen).toMatchObject({ status: 407, body: { code: 'LOCAL_CREDENTIAL_REQUIRED' } })
})

it('keeps a ledger for each, and ships them all', async () => {
  await call('planner', 'by-planner')
  await call('helper', 'by-helper')
  const callersIn = async (name: Name): Promise<unknown[]> => {
    const rows = jsonLines(
      await mesh.home.ok('audit', 'query', '--json', '--ledger', at('agents', name, 'ledger.db')),
    )
    return [...new Set(rows.filter(({ kind }) => kind === 'call').map(({ caller }) => caller))].sort()
  }
  const [planner, helper] = ['spiffe://acme.internal/agent/planner', 'spiffe://acme.internal/agent/helper']
  expect(await callersIn('planner')).toEqual([planner])
  expect(await callersIn('helper')).toEqual([helper])
  expect(await callersIn('tickets')).toEqual([helper, planner])
  await until('both halves at the collector', async () => {
    const rows = jsonLines(await mesh.home.ok('audit', 'query', '--json'))
    const halves = rows.filter(({ operation }) => /by-(planner|helper)/.test(String(operation)))
    return halves.length >= 2 ? true : undefined
  })
})

it('is one process with a log, a metrics door and a lock for each', async () => {
  const events = jsonLines(running.output()).filter(({ event }) => event === 'sidecar.started')
  expect(events.map(({ agent }) => agent).sort()).toEqual([...NAMES].sort())
  for (const name of NAMES) {
    const holder = readFileSync(at('agents', name, 'lock'), 'utf8').split(' ')[0]
    expect(Number(holder)).toBe(running.child.pid)
    const metrics = await (await fetch(`http://127.0.0.1:${ports[`${name}Admin`] ?? 0}/metrics`)).text()
    expect(metrics).toContain('troth_audit_healthy 1')
  }
  const again = await mesh.home.troth('sidecar', '--agent', 'helper')
  expect(again.code).toBe(3)
  expect(again.stderr).toContain('STATE_IN_USE')
})

it('goes on with the others when one is revoked, and starts without it', async () => {
  await mesh.home.ok('revoke', 'planner', '--wait', '--yes')
  expect(await readiness('planner')).toMatchObject({ ready: false, reasons: ['SELF_REVOKED'] })
  expect((await call('planner', 'after')).body).toMatchObject({ code: 'SELF_REVOKED' })
  expect((await call('helper', 'after')).status).toBe(200)

  running.kill('SIGTERM')
  expect((await running.ended).code).toBe(0)
  // the CA gives a revoked agent no new identity
  running = start('--json')
  const lines = await told(running, 3)
  expect(lines).toContainEqual(
    expect.objectContaining({ ready: false, agent: 'planner', code: 'AGENT_REVOKED' }),
  )
  expect(jsonLines(running.output())).toContainEqual(
    expect.objectContaining({ event: 'sidecar.not-started', agent: 'planner', hint: expect.any(String) }),
  )
  expect((await call('helper', 'without')).status).toBe(200)
  running.kill('SIGTERM')
  const { code } = await running.ended
  expect(code).toBe(4)
})

it('that is asked for a busy port, or for an agent without a token, starts nobody', async () => {
  const busy = createServer().listen(ports['ticketsAdmin'], '127.0.0.1')
  const { code, stderr } = await mesh.home.troth('sidecar', '--config', file)
  busy.close()
  expect(code).toBe(3)
  expect(stderr).toContain('PORT_BUSY')
  expect(stderr).toContain('adminPort of agent tickets')
  expect(stderr).not.toContain('sidecar.started')

  const other = at('other.yaml')
  writeFileSync(other, 'agents:\n  - { agent: helper, token: file:nowhere.token, instance: two }\n')
  const missing = await mesh.home.troth('sidecar', '--config', other)
  expect(missing.code).toBe(3)
  expect(missing.stderr).toContain('CONFIG_MISSING')
  rmSync(other)
})

it('is started again when the first start was cut short, with the same ports', async () => {
  running = start()
  await ready(`http://127.0.0.1:${ports['ticketsAdmin'] ?? 0}/readyz`)
  running.kill('SIGKILL')
  await running.ended
  running = start()
  await running.says(/2 of 3 ready/)
  expect((await call('helper', 'again')).status).toBe(200)
})
