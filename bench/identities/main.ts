// npm run bench -- identities: what agents of one host cost, served by one process and by a process each: resident memory (and the
// proportional share, which counts what processes have in common once), CPU while idle, and the time until all are ready.
// usage: node dist/bench/identities/main.js [--quick] [--out FILE]

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { generateCalls } from '../calls/generator/calls.js'
import type { CallsJob } from '../calls/generator/job.js'
import { cpuMsOf } from '../proc.js'
import { exitOf, freePorts, isOk, LOOPBACK, launch, type Started, stop, until } from '../processes.js'
import { median } from '../statistics.js'

interface Plan {
  readonly agents: readonly number[]
  readonly rounds: number
  readonly settleMs: number
  readonly idleMs: number
  /** Of each agent, to one callee. */
  readonly callsMs: number
}

const FULL: Plan = { agents: [1, 5, 20], rounds: 3, settleMs: 5000, idleMs: 10_000, callsMs: 500 }
const QUICK: Plan = { agents: [1, 5], rounds: 1, settleMs: 2000, idleMs: 5000, callsMs: 500 }

const CALLEE = 'app'
const SHAPES = ['one process', 'a process each'] as const
type Shape = (typeof SHAPES)[number]

interface Figures {
  readonly readyMs: number
  readonly rssMb: number
  readonly pssMb: number
  /** Per mille of one core. */
  readonly idleCpu: number
  readonly rssAfterCallsMb: number
}
interface Row extends Figures {
  readonly agents: number
  readonly shape: Shape
}

const nameOf = (index: number): string => `agent-${index}`

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' }, out: { type: 'string' } } })
  if (!existsSync('/proc/self/smaps_rollup')) throw new Error('this bench reads /proc of Linux')
  const plan = values.quick === true ? QUICK : FULL
  const root = path.join(import.meta.dirname, '../../..')
  const rows: Row[] = []
  {
    await using host = await openHost(path.join(root, 'dist'), Math.max(...plan.agents))
    for (const agents of plan.agents) rows.push(...(await compare(host, agents, plan)))
  }
  console.log(`${formatRows(rows)}\n`)
  const machine = `${os.cpus().length} x ${os.cpus()[0]?.model ?? 'unknown CPU'}`
  console.log(`medians of ${plan.rounds} interleaved rounds; Node ${process.version}, ${machine};`)
  console.log(
    'rss: resident memory of all their processes together, pss: the same with shared pages counted once',
  )
  const out = path.resolve(values.out ?? path.join(root, 'bench/results/identities.local.json'))
  mkdirSync(path.dirname(out), { recursive: true })
  const result = { at: new Date().toISOString(), node: process.version, machine, plan, rows }
  writeFileSync(out, `${JSON.stringify(result, null, 2)}\n`)
  console.log(`written to ${path.relative(process.cwd(), out)}`)
}

/** A home with a CA, a served callee, and agents that are enrolled already. */
interface Host extends AsyncDisposable {
  readonly home: string
  troth(...args: string[]): Started
}

async function openHost(dist: string, agents: number): Promise<Host> {
  const home = mkdtempSync(path.join(os.tmpdir(), 'ti-'))
  const processes: Started[] = []
  const launched = (script: string, ...args: string[]): Started => {
    const started = launch(path.join(dist, script), args)
    processes.push(started)
    return started
  }
  const troth = (...args: string[]): Started => launched('cli/main.js', '--home', home, '--dev', ...args)
  const finish = async (...args: string[]): Promise<boolean> => (await exitOf(troth(...args))) === 0
  const [ca = 0, collector = 0, app = 0, admin = 0] = await freePorts(4)
  launched('bench/calls/app/main.js', String(app))
  if (!(await finish('init', '--trust-domain', 'bench.internal'))) throw new Error('troth init failed')
  const up = troth('up', '--ca-port', String(ca), '--collector-port', String(collector))
  writeFileSync(path.join(home, 'policy.yaml'), policyOf(agents))
  await until(up, () => finish('policy', 'push', path.join(home, 'policy.yaml')))
  for (const name of [CALLEE, ...Array.from({ length: agents }, (_, index) => nameOf(index))])
    if (!(await finish('agent', 'add', name))) throw new Error(`troth agent add ${name} failed`)
  const callee = troth(
    'sidecar',
    '--agent',
    CALLEE,
    '--app',
    `${LOOPBACK}:${app}`,
    '--admin-port',
    String(admin),
  )
  await until(callee, () => isOk(readyOf(admin)))
  return {
    home,
    troth,
    async [Symbol.asyncDispose]() {
      for (const started of processes.reverse()) await stop(started)
      rmSync(home, { recursive: true, force: true })
    },
  }
}

const policyOf = (agents: number): string => `version: 1
agents:
${Array.from({ length: agents }, (_, index) => `  - { id: agent/${nameOf(index)}, scopes: [app:read] }`).join('\n')}
services:
  - id: agent/${CALLEE}
    operations:
      - { match: { method: GET, path: /** }, scope: app:read }
`

async function compare(host: Host, agents: number, plan: Plan): Promise<Row[]> {
  // enrolled and with a ledger: the first start is another thing
  await measure(host, 'one process', agents, { ...plan, settleMs: 0, idleMs: 100, callsMs: 100 })
  const rounds = new Map<Shape, Figures[]>(SHAPES.map((shape) => [shape, []]))
  for (let round = 0; round < plan.rounds; round += 1)
    for (const shape of SHAPES) rounds.get(shape)?.push(await measure(host, shape, agents, plan))
  return SHAPES.map((shape) => ({ agents, shape, ...medianOf(rounds.get(shape) ?? []) }))
}

async function measure(host: Host, shape: Shape, agents: number, plan: Plan): Promise<Figures> {
  const ports = await freePorts(agents * 2)
  const [egress, admin] = [ports.slice(0, agents), ports.slice(agents)]
  const startedAt = performance.now()
  const running = shape === 'one process' ? [startOne(host, egress, admin)] : startEach(host, egress, admin)
  try {
    for (const [index, port] of admin.entries())
      await until(running[index] ?? running[0] ?? failed(), () => isOk(readyOf(port)))
    const readyMs = performance.now() - startedAt
    await pause(plan.settleMs)
    const [rssMb, pssMb] = [sumOf(running, 'Rss'), sumOf(running, 'Pss')]
    const cpuBefore = cpuMsOf(pidsOf(running)) ?? 0
    await pause(plan.idleMs)
    const idleCpu = (((cpuMsOf(pidsOf(running)) ?? 0) - cpuBefore) / plan.idleMs) * 1000
    for (const port of egress) await generateCalls(callsOf(port, plan.callsMs))
    await pause(plan.settleMs)
    return { readyMs, rssMb, pssMb, idleCpu, rssAfterCallsMb: sumOf(running, 'Rss') }
  } finally {
    await Promise.all(running.map(stop))
  }
}

const pidsOf = (running: readonly Started[]): number[] => running.map(({ pid }) => pid)

const callsOf = (port: number, windowMs: number): CallsJob => ({
  kind: 'calls',
  host: LOOPBACK,
  port,
  callers: 4,
  head: `GET /@${CALLEE}/hello HTTP/1.1\r\nhost: ${LOOPBACK}:${port}\r\n\r\n`,
  bodyBytes: 0,
  connection: 'kept',
  unit: 'call',
  pids: [],
  warmMs: 0,
  windowMs,
})

function startOne(host: Host, egress: readonly number[], admin: readonly number[]): Started {
  const file = path.join(host.home, 'agents.yaml')
  const lines = egress.map(
    (port, index) =>
      `  - { agent: ${nameOf(index)}, egressPort: ${port}, adminPort: ${admin[index] ?? 0}, egressAuth: none }`,
  )
  writeFileSync(file, `agents:\n${lines.join('\n')}\n`)
  return host.troth('sidecar', '--config', file)
}

function startEach(host: Host, egress: readonly number[], admin: readonly number[]): Started[] {
  return egress.map((port, index) => {
    const ports = ['--egress-port', String(port), '--admin-port', String(admin[index] ?? 0)]
    return host.troth('sidecar', '--agent', nameOf(index), '--egress-auth', 'none', ...ports)
  })
}

function failed(): never {
  throw new Error('nothing was started')
}

const readyOf = (port: number): string => `http://${LOOPBACK}:${port}/readyz`

/** MB of all of them together. */
function sumOf(running: readonly Started[], what: 'Rss' | 'Pss'): number {
  return running.reduce((sum, { pid }) => {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
    return sum + Number(new RegExp(`^${what}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0) / 1024
  }, 0)
}

function medianOf(rounds: readonly Figures[]): Figures {
  const medianFor = (key: keyof Figures): number => median(rounds.map((round) => round[key]))
  return {
    readyMs: medianFor('readyMs'),
    rssMb: medianFor('rssMb'),
    pssMb: medianFor('pssMb'),
    idleCpu: medianFor('idleCpu'),
    rssAfterCallsMb: medianFor('rssAfterCallsMb'),
  }
}

const HEADINGS = ['agents', 'served by', 'rss MB', 'pss MB', 'rss after calls', 'idle CPU %', 'ready s']

function formatRows(rows: readonly Row[]): string {
  const table = [
    HEADINGS,
    ...rows.map((row) => [
      String(row.agents),
      row.shape,
      row.rssMb.toFixed(0),
      row.pssMb.toFixed(0),
      row.rssAfterCallsMb.toFixed(0),
      (row.idleCpu / 10).toFixed(2),
      (row.readyMs / 1000).toFixed(1),
    ]),
  ]
  const widths = HEADINGS.map((_, column) => Math.max(...table.map((cells) => cells[column]?.length ?? 0)))
  return table
    .map((cells) => cells.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  '))
    .join('\n')
}

await main()
