// The steps of the demo, in order. Each does one thing with real processes, checks that it happened, and tells it in one line.

import { copyFileSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { openLedgerReader } from '../../host/audit-table.js'
import { requestJson } from '../../host/http-client.js'
import { isMeshError } from '../../mesh/errors.js'
import { integer, readJson, record } from '../../mesh/parse.js'
import { type AgentName, parseAgentName } from '../../mesh/spiffe-id.js'
import type { InstanceInfo } from '../../mesh/wire/admin.js'
import { hostAndPort } from '../arguments.js'
import { cellsOf, HEADINGS, type ShownRow, showRows } from '../ledgers.js'
import { formatInstant, formatTable } from '../output.js'
import type { DemoProcess } from './processes.js'
import { eventually, example, expect, freePorts, packageDir, type Stage } from './stage.js'

const TRUST_DOMAIN = 'demo.internal'
const PLANNER = parseAgentName('planner')

/** init, up, policy push. */
export async function raiseMesh(stage: Stage): Promise<void> {
  const { home, admin, tell } = stage
  const init = stage.troth('init', 'init', '--trust-domain', TRUST_DOMAIN)
  expect((await init.ended) === 0, 'troth init failed')
  const [ca = 0, collector = 0] = await freePorts(2)
  const up = stage.troth('up', 'up', '--ca-port', String(ca), '--collector-port', String(collector))
  await up.line(/^ca +ready/)
  await up.line(/^collector +ready/)
  tell('mesh', `${TRUST_DOMAIN}: CA at 127.0.0.1:${ca}, collector at 127.0.0.1:${collector}, home ${home}`)
  const { version } = await admin.pushPolicy(
    readFileSync(path.join(packageDir(), 'examples/policy.yaml'), 'utf8'),
  )
  tell('policy', `version ${version}: planner holds tickets:read, tickets:update, search:query`)
}

/** The two apps, each with its sidecar by `troth run`. */
export async function enrolApps(stage: Stage): Promise<void> {
  const [tickets = 0, search = 0] = await freePorts(2)
  const file = path.join(stage.home, 'tickets.json')
  copyFileSync(path.join(packageDir(), 'examples/tickets.json'), file)
  await Promise.all([
    enrolApp(stage, parseAgentName('tickets'), { port: tickets, args: [file, String(tickets)] }),
    enrolApp(stage, parseAgentName('search'), { port: search, args: [String(search)] }),
  ])
}

async function enrolApp(
  stage: Stage,
  name: AgentName,
  { port, args }: { port: number; args: readonly string[] },
): Promise<void> {
  const command = [process.execPath, example(name), ...args]
  const running = stage.troth(name, 'run', name, '--app', `127.0.0.1:${port}`, '--', ...command)
  await running.line(/listening on/)
  tellEnrolled(stage, name, await online(stage, name))
}

/** The local doors of the planner's sidecar. */
export interface Doors {
  readonly TROTH_URL: string
  readonly TROTH_LOCAL_CREDENTIAL: string
}

const READ_READY = record({ ports: record({ egress: integer(1, 65_535) }) })

/** The caller's sidecar stands alone: its agent is started several times. */
export async function enrolPlanner(stage: Stage): Promise<Doors> {
  const { admin, home } = stage
  await admin.addAgent({
    kind: 'agent',
    name: PLANNER,
    ttlSeconds: null,
    address: null,
    graceSeconds: null,
    onClone: null,
  })
  const sidecar = stage.troth(PLANNER, '--json', 'sidecar', '--agent', PLANNER)
  const { ports } = readJson(await sidecar.line(/"ready":true/), READ_READY, 'ready line')
  tellEnrolled(stage, PLANNER, await online(stage, PLANNER))
  return {
    TROTH_URL: `http://127.0.0.1:${ports.egress}`,
    TROTH_LOCAL_CREDENTIAL: readFileSync(
      path.join(home, 'agents', PLANNER, 'local-credential'),
      'utf8',
    ).trim(),
  }
}

async function online(stage: Stage, name: AgentName): Promise<InstanceInfo> {
  return eventually(stage, `${name} in the feed`, async () => {
    const { instances } = await stage.admin.agent({ kind: 'agent', name })
    return instances.find(({ connected }) => connected)
  })
}

function tellEnrolled({ tell }: Stage, name: AgentName, { serial, notAfter }: InstanceInfo): void {
  const identity = `spiffe://${TRUST_DOMAIN}/agent/${name}`
  tell('enrolled', `${name} as ${identity}, certificate ${serial} until ${formatInstant(notAfter)}`)
}

const plan = ({ processes }: Stage, doors: Doors, ...args: string[]): DemoProcess =>
  processes.start(`planner ${args.join(' ')}`, [example('planner'), ...args], { ...doors })

/** Allowed: the planner works through the open tickets. */
export async function showAllowed(stage: Stage, doors: Doors): Promise<void> {
  const work = plan(stage, doors, 'work')
  expect((await work.ended) === 0, 'planner could not do its work')
  const answered = work.output().filter((line) => line.includes(' -> '))
  expect(answered.length > 0, 'planner found no ticket to answer')
  const sample = (answered[0] ?? '').replace(/^planner: /, '')
  stage.tell('allowed', `planner searched the docs and answered ${answered.length} tickets, e.g. ${sample}`)
}

/** Denied: nobody holds tickets:delete. */
export async function showDenied(stage: Stage, doors: Doors): Promise<void> {
  const attempt = plan(stage, doors, 'delete', '1')
  const code = await attempt.ended
  const denial = /(DELETE \S+): 403 (POLICY_SCOPE_MISSING)/.exec(attempt.output().join('\n'))
  expect(code === 4 && denial !== null, 'the call that no scope allows was not denied')
  stage.tell('denied', `planner DELETE /tickets/1: ${denial[2] ?? ''}, it does not hold tickets:delete`)
}

/** Revoked while a stream is open: the stream is cut. */
export async function showRevoked(stage: Stage, doors: Doors): Promise<void> {
  const { admin, session } = stage
  const watch = plan(stage, doors, 'watch')
  await watch.line(/^watch: open/)
  await watch.line(/^watch: heartbeat/)
  await eventually(stage, 'the open stream in the collector', () =>
    collected(stage).find(({ operation, sides }) => operation === 'GET /tickets/events' && sides === 'both'),
  )
  const startedAt = session.clock.monotonic()
  const cutMs = watch.line(/^watch: cut after/).then(() => session.clock.monotonic() - startedAt)
  const { applied, expected, elapsedMs } = await admin.revoke({
    kind: 'agent',
    name: PLANNER,
    serial: null,
    only: false,
    reason: 'shown by troth demo',
    waitMs: 5000,
  })
  const ms = Math.round(await cutMs)
  expect((await watch.ended) === 1, 'the stream of the revoked planner was not cut')
  expect(applied === expected, `the revocation reached ${applied} of ${expected} instances`)
  stage.tell(
    'revoked',
    `planner, in mid-stream: its stream was cut after ${ms} ms; applied by ${applied}/${expected} in ${Math.round(elapsedMs)} ms`,
  )
}

/** A client that trusts the mesh, but that nobody gave a certificate. */
export async function showStranger(stage: Stage): Promise<void> {
  const { endpoint } = await online(stage, parseAgentName('tickets'))
  const { host, port } = hostAndPort(endpoint ?? '')
  const refusal = await requestJson(
    {
      host,
      port: port ?? 0,
      servername: 'tickets.mesh',
      ca: readFileSync(path.join(stage.home, 'agents/tickets/bundle.pem')),
      agent: false,
    },
    {
      method: 'GET',
      path: '/tickets',
      what: 'the stranger',
      read: (value) => value,
      timeoutMs: 5000,
      unreachable: 'CALLEE_UNREACHABLE',
    },
  ).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(isMeshError(refusal, 'PEER_NO_CERTIFICATE'), 'a stranger without a certificate was not refused')
  stage.tell('refused', `a stranger without a certificate at the door of tickets: ${refusal.code}`)
}

/** The collector's ledger as a table, once all of the above is in it. */
export async function showLedger(stage: Stage): Promise<void> {
  const rows = await eventually(stage, 'every step in the ledger of the collector', () => {
    const all = collected(stage)
    return isComplete(all) ? all : undefined
  })
  const { out, json } = stage.session
  if (json) {
    for (const row of rows) out.json({ step: 'ledger', ...row })
    return
  }
  out.line('')
  for (const line of formatTable(
    HEADINGS,
    rows.map((row) => cellsOf(row, timeOfDay)),
  ))
    out.line(line)
}

const timeOfDay = (at: number): string => formatInstant(at).slice(11, 19)

function isComplete(rows: readonly ShownRow[]): boolean {
  const settled = rows.every(({ outcome }) => outcome !== 'running')
  const has = (fits: (row: ShownRow) => boolean): boolean => rows.some(fits)
  return (
    settled &&
    has(({ decision, sides }) => decision === 'permit' && sides === 'both') &&
    has(({ decision, sides }) => decision === 'deny POLICY_SCOPE_MISSING' && sides === 'both') &&
    has(({ outcome }) => outcome === 'cut PEER_REVOKED') &&
    has(({ decision }) => decision === 'deny PEER_NO_CERTIFICATE')
  )
}

/** What the collector holds now, without notes. */
function collected({ home, session }: Stage): ShownRow[] {
  const reader = openLedgerReader(path.join(home, 'collector/ledger.db'))
  try {
    const rows = reader.calls({
      agent: null,
      suspicious: false,
      sinceAt: null,
      decision: null,
      callId: null,
      limit: 200,
      now: session.clock.now(),
    })
    return showRows(
      rows.filter(({ kind }) => kind !== 'note'),
      [reader],
    )
  } finally {
    reader.close()
  }
}
