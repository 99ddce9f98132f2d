import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AuditRow } from '../../host/audit-row.js'
import { ANY_RECORD, openLedgerReader } from '../../host/audit-table.js'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import type { RunningSidecar, SidecarConfig } from '../../sidecar/config.js'
import { startSidecars } from '../../sidecar/main.js'
import type { RunningSidecars } from '../../sidecar/together.js'
import { begin, problemIn, request } from '../support/raw-http.js'
import { QUIET, until, urlOf } from '../support/real-sidecars.js'
import { startCa, type TestCa } from '../support/running-ca.js'
import { readEvents, startApp, type TestApp } from '../support/sse.js'

const POLICY = `
version: 1
agents:
  - { id: agent/planner, scopes: [tickets:read] }
  - { id: agent/helper, scopes: [tickets:read] }
  - { id: agent/full, scopes: [tickets:read] }
services:
  - id: agent/tickets
    operations:
      - { match: { method: GET, path: /tickets/** }, scope: tickets:read }
`
const NAMES = ['planner', 'helper', 'full', 'tickets'] as const
type Name = (typeof NAMES)[number]

let ca: TestCa
let app: TestApp
let together: RunningSidecars

const configOf = (name: Name): SidecarConfig => ({
  home: ca.home,
  agent: parseAgentName(name),
  instance: null,
  app: name === 'tickets' ? app.place : null,
  enrolBy: { adminSocket: ca.running.adminSocket },
  listen: '127.0.0.1',
  advertise: null,
  egressPort: null,
  ingressPort: null,
  adminPort: null,
  egressAuth: 'credential',
  to: name === 'planner' ? [{ callee: parseAgentName('tickets'), port: 0, open: false }] : [],
  dev: true,
  // the disk of one of them is full at once
  settings: name === 'full' ? { ...QUIET, auditMaxDiskBytes: 1 } : QUIET,
})

const of = (name: Name): RunningSidecar => {
  const found = together.agents.find(({ agent }) => agent === name)?.running
  if (found === undefined || found === null) throw new Error(`${name} does not run`)
  return found
}
const idOf = (name: Name): string => `spiffe://acme.internal/agent/${name}`
const call = (name: Name, where: string) => request(`${urlOf(of(name), 'tickets')}/tickets/${where}`)
const metricsOf = async (name: Name): Promise<string> =>
  (await request(`http://127.0.0.1:${of(name).ports.admin}/metrics`)).body.toString()
const isReady = async (name: Name): Promise<number> =>
  (await request(`http://127.0.0.1:${of(name).ports.admin}/readyz`)).status
const callersSeen = (where: string): unknown[] =>
  app.seen.filter(({ url }) => url === `/tickets/${where}`).map(({ headers }) => headers['x-troth-caller'])

function ledgerOf(name: Name): AuditRow[] {
  const ledger = openLedgerReader(path.join(ca.home, 'agents', name, 'ledger.db'))
  try {
    return ledger.calls(ANY_RECORD).filter(({ kind }) => kind === 'call')
  } finally {
    ledger.close()
  }
}

beforeAll(async () => {
  app = await startApp((incoming, response) => {
    if (incoming.url !== '/tickets/events') return void response.end('ok')
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
  })
  ca = await startCa()
  for (const name of NAMES) await ca.admin('POST', '/v1/agents', { name })
  await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
  const [first, ...rest] = NAMES.map(configOf)
  if (first === undefined) throw new Error('no agents')
  together = await startSidecars([first, ...rest])
  for (const name of ['planner', 'helper'] as const)
    await until('the endpoint', async () => ((await call(name, 'first')).status === 200 ? true : undefined))
})

afterAll(async () => {
  await together.stop()
  await ca[Symbol.asyncDispose]()
  await app[Symbol.asyncDispose]()
})

describe('an identity of a process that has others', () => {
  it('is spoken for by nobody who has the credential of a neighbour, in whatever form', async () => {
    const { egress, to } = of('planner').ports
    const other = of('helper').localCredential
    const basic = Buffer.from(`troth:${other}`).toString('base64')
    const doors = [`http://127.0.0.1:${egress}/@tickets`, `http://127.0.0.1:${to['tickets'] ?? 0}`]
    for (const door of doors)
      for (const headers of [
        {},
        { 'x-troth-local-credential': other },
        { 'proxy-authorization': `Bearer ${other}` },
        { 'proxy-authorization': `Basic ${basic}` },
      ]) {
        const answer = await request(`${door}/tickets/stolen`, { headers })
        expect([answer.status, problemIn(answer).code]).toEqual([407, 'LOCAL_CREDENTIAL_REQUIRED'])
      }
    const inPath = await request(`http://127.0.0.1:${egress}/~${other}/@tickets/tickets/stolen`)
    expect(problemIn(inPath).code).toBe('LOCAL_CREDENTIAL_REQUIRED')
    expect(callersSeen('stolen')).toEqual([])
  })

  it('is not reached under the Host of a neighbour', async () => {
    const headers = { host: `127.0.0.1:${of('helper').ports.egress}` }
    const answer = await request(`${urlOf(of('planner'), 'tickets')}/tickets/host`, { headers })
    expect(problemIn(answer).code).toBe('LOCAL_HOST_INVALID')
    expect(callersSeen('host')).toEqual([])
  })

  it('makes its calls as itself, over connections and under a certificate of its own', async () => {
    const both = ['planner', 'helper'] as const
    const calls = Array.from({ length: 40 }, (_, index) => both[index % 2] ?? 'planner')
    const answers = await Promise.all(calls.map((name) => call(name, `as-${name}`)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    const rows = ledgerOf('tickets')
    const shown = both.map((name) => {
      expect(callersSeen(`as-${name}`)).toEqual(Array.from({ length: 20 }, () => idOf(name)))
      const own = rows.filter(({ operation }) => operation === `GET /tickets/as-${name}`)
      expect(new Set(own.map(({ caller }) => caller))).toEqual(new Set([idOf(name)]))
      return new Set(own.map(({ callerSerial }) => callerSerial))
    })
    expect(shown.map(({ size }) => size)).toEqual([1, 1])
    expect(shown[0]).not.toEqual(shown[1])
    for (const name of both)
      expect(await metricsOf(name)).toMatch(/troth_connections\{direction="egress"\} [1-9]/)
    expect(await metricsOf('full')).toContain('troth_connections{direction="egress"} 0')
  })

  it('has a ledger with its own calls alone, and counts them alone', async () => {
    await call('planner', 'only-planner')
    await call('helper', 'only-helper')
    for (const [name, other] of [
      ['planner', 'helper'],
      ['helper', 'planner'],
    ] as const) {
      const rows = ledgerOf(name)
      expect(rows.some(({ operation }) => operation === `GET /tickets/only-${name}`)).toBe(true)
      expect(new Set(rows.map(({ caller, direction }) => `${caller} ${direction}`))).toEqual(
        new Set([`${idOf(name)} egress`]),
      )
      expect(new Set(rows.map(({ author }) => author))).toEqual(new Set([idOf(name)]))
      expect(rows.some(({ operation }) => operation?.includes(other) === true)).toBe(false)
    }
    const ids = NAMES.map((name) => ledgerOf(name)[0]?.ledgerId).filter((id) => id !== undefined)
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('whose ledger is full is refused alone', async () => {
    const refused = await until('a full ledger', async () => {
      const answer = await call('full', 'full')
      return answer.status === 503 ? answer : undefined
    })
    expect(problemIn(refused).code).toBe('AUDIT_UNAVAILABLE')
    expect(await isReady('full')).toBe(503)
    expect((await call('helper', 'beside-full')).status).toBe(200)
    expect(await isReady('helper')).toBe(200)
  })

  it('is cut alone when it is revoked, and its neighbours go on', async () => {
    const streams = await Promise.all(
      (['planner', 'helper'] as const).map(async (name) => {
        const events = readEvents(await begin(`${urlOf(of(name), 'tickets')}/tickets/events`))
        expect(await events.next()).toBe('first')
        return events
      }),
    )
    const reply = await ca.admin('POST', '/v1/revocations', { kind: 'agent', name: 'planner', waitMs: 5000 })
    expect(reply.json).toMatchObject({ missing: [] })
    expect(await streams[0]?.over).toBe('broken')
    expect(await Promise.race([streams[1]?.over, Promise.resolve('open')])).toBe('open')
    expect(problemIn(await call('planner', 'after')).code).toBe('SELF_REVOKED')
    expect((await call('helper', 'after')).status).toBe(200)
    expect(await Promise.all([isReady('planner'), isReady('helper'), isReady('tickets')])).toEqual([
      503, 200, 200,
    ])
    expect(callersSeen('after')).toEqual([idOf('helper')])
  })

  it('holds its own lock: no second process has it, and none of the process twice', async () => {
    await expect(startSidecars([configOf('helper')])).rejects.toMatchObject({ code: 'STATE_IN_USE' })
    expect((await call('helper', 'still')).status).toBe(200)
  })
})
