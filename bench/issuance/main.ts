// npm run bench -- issuance: what one leaf costs, from the request in PEM to the row on disk, beside the same leaf made with
// @peculiar/x509 in the same process; how many enrolments a second a CA serves over real TLS; and what memory the CA's engine holds
// after many. Rounds of both paths are interleaved, so that a busy moment of the machine falls on both, and medians are shown.
// usage: node --expose-gc dist/bench/issuance/main.js [--quick] [--out FILE]

import { mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { quantile } from '../statistics.js'
import { type Engine, openEngine } from './engine.js'
import { type Enrolments, measureEnrolments } from './enrolments.js'

interface Plan {
  readonly rounds: number
  /** Leaves before anything counts: V8 compiles what is hot, on the clock of the process, until some thousands were issued. */
  readonly warm: number
  /** Leaves of one round: by our path, by the library. */
  readonly ours: number
  readonly library: number
  /** Issued in all before memory is looked at. */
  readonly total: number
  readonly enrolments: number
}

const FULL: Plan = { rounds: 9, warm: 5000, ours: 2000, library: 200, total: 100_000, enrolments: 2000 }
const QUICK: Plan = { rounds: 3, warm: 5000, ours: 1000, library: 100, total: 10_000, enrolments: 400 }
/** Requests that are under way at once, as in a CA that many members ask: what group commit lives from. */
const AT_ONCE = 64

interface Cost {
  readonly cpuUsPerLeaf: number
  readonly leavesPerSecond: number
}

interface Memory {
  readonly issued: number
  readonly rssMb: number
  readonly heapMb: number
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' }, out: { type: 'string' } } })
  const plan = values.quick === true ? QUICK : FULL
  const root = path.join(import.meta.dirname, '../../..')
  const machine = `${os.cpus().length} x ${os.cpus()[0]?.model ?? 'unknown CPU'}`
  const { ours, library, crypto, memory } = await issue(plan)
  console.log(formatCosts(ours, library, crypto))
  for (const { issued, rssMb, heapMb } of memory)
    console.log(
      `memory after ${issued} leaves: ${rssMb.toFixed(0)} MB resident, ${heapMb.toFixed(1)} MB heap`,
    )
  const enrolments = await measureEnrolments(path.join(root, 'dist'), plan.enrolments)
  console.log(formatEnrolments(enrolments))
  console.log(
    `\nmedians of ${plan.rounds} interleaved rounds, ${AT_ONCE} at once; Node ${process.version}, ${machine};`,
  )
  console.log(
    'a leaf is: request parsed and verified, profile, signature, check of what was signed, row on disk (fsync)',
  )
  const out = path.resolve(values.out ?? path.join(root, 'bench/results/issuance.local.json'))
  mkdirSync(path.dirname(out), { recursive: true })
  const report = {
    at: new Date().toISOString(),
    node: process.version,
    machine,
    plan,
    ours,
    library,
    crypto,
    memory,
    enrolments,
  }
  writeFileSync(out, `${JSON.stringify(report, null, 2)}\n`)
  console.log(`written to ${path.relative(process.cwd(), out)}`)
}

async function issue(plan: Plan): Promise<{ ours: Cost; library: Cost; crypto: Cost; memory: Memory[] }> {
  using engine = await openEngine()
  await measure(engine, 'issue', plan.warm)
  await measure(engine, 'issueByLibrary', plan.library)
  const memory = [memoryOf(engine)]
  const ours: Cost[] = []
  const library: Cost[] = []
  const crypto: Cost[] = []
  for (let round = 0; round < plan.rounds; round += 1) {
    ours.push(await measure(engine, 'issue', plan.ours))
    library.push(await measure(engine, 'issueByLibrary', plan.library))
    crypto.push(await measure(engine, 'cryptoAlone', plan.ours))
  }
  // memory: the rest, unmeasured
  while (engine.issued() < plan.total)
    await measure(engine, 'issue', Math.min(1000, plan.total - engine.issued()))
  memory.push(memoryOf(engine))
  return { ours: medianOf(ours), library: medianOf(library), crypto: medianOf(crypto), memory }
}

async function measure(
  engine: Engine,
  way: 'issue' | 'issueByLibrary' | 'cryptoAlone',
  count: number,
): Promise<Cost> {
  if (way !== 'cryptoAlone') engine.prepare(count)
  const startedAt = performance.now()
  const cpu = process.cpuUsage()
  let left = count
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      await engine[way]()
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  const { user, system } = process.cpuUsage(cpu)
  return {
    cpuUsPerLeaf: (user + system) / count,
    leavesPerSecond: count / ((performance.now() - startedAt) / 1000),
  }
}

function medianOf(costs: readonly Cost[]): Cost {
  const median = (pick: (cost: Cost) => number): number => quantile(costs.map(pick), 0.5)
  return {
    cpuUsPerLeaf: median((cost) => cost.cpuUsPerLeaf),
    leavesPerSecond: median((cost) => cost.leavesPerSecond),
  }
}

function memoryOf(engine: Engine): Memory {
  globalThis.gc?.()
  const { rss, heapUsed } = process.memoryUsage()
  return { issued: engine.issued(), rssMb: rss / 2 ** 20, heapMb: heapUsed / 2 ** 20 }
}

function formatCosts(ours: Cost, library: Cost, crypto: Cost): string {
  const line = (name: string, { cpuUsPerLeaf, leavesPerSecond }: Cost): string =>
    [
      name.padEnd(16),
      `${cpuUsPerLeaf.toFixed(0)} us`.padStart(14),
      (1e6 / cpuUsPerLeaf).toFixed(0).padStart(16),
      leavesPerSecond.toFixed(0).padStart(16),
    ].join('')
  return [
    [
      'path'.padEnd(16),
      'CPU a leaf'.padStart(14),
      'leaves/s a core'.padStart(16),
      'leaves/s seen'.padStart(16),
    ].join(''),
    line('ours', ours),
    line('@peculiar/x509', library),
    line('crypto alone', crypto),
  ].join('\n')
}

function formatEnrolments({ perSecond, p50Ms, p99Ms, caCpuUs, count }: Enrolments): string {
  const cpu = caCpuUs === null ? '' : `, ${caCpuUs.toFixed(0)} us CPU of the CA each`
  return `enrolments over TLS 1.3, a new connection each: ${perSecond.toFixed(0)}/s (p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms, ${count} of them${cpu})`
}

await main()
