// npm run bench -- calls: what a call costs through both sidecars, beside the same call made directly. Rounds of both are interleaved, so
// that a busy moment of the machine falls on both, and medians of the rounds are shown.
// usage: node dist/bench/calls/main.js [--quick] [--out FILE]

import { mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { generate } from './load.js'
import { type BenchMesh, startBenchMesh } from './mesh.js'
import { formatReport, medianRound, quantile, type Round, type Row } from './report.js'

interface Plan {
  readonly callers: readonly number[]
  readonly rounds: number
  readonly roundMs: number
  readonly warmUpMs: number
}

const FULL: Plan = { callers: [1, 16, 64], rounds: 7, roundMs: 4000, warmUpMs: 3000 }
const QUICK: Plan = { callers: [1, 16, 64], rounds: 3, roundMs: 1500, warmUpMs: 1500 }

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' }, out: { type: 'string' } } })
  const plan = values.quick === true ? QUICK : FULL
  const root = path.join(import.meta.dirname, '../../..')
  const rows: Row[] = []
  {
    await using mesh = await startBenchMesh(path.join(root, 'dist'))
    for (const callers of plan.callers) rows.push(await compare(mesh, callers, plan))
  }
  const machine = `${os.cpus().length} x ${os.cpus()[0]?.model ?? 'unknown CPU'}`
  console.log(`${formatReport(rows)}\n`)
  console.log(
    `medians of ${plan.rounds} interleaved rounds of ${plan.roundMs} ms; Node ${process.version}, ${machine};`,
  )
  console.log('load generator, app, both sidecars, CA and collector share this machine')
  const out = path.resolve(values.out ?? path.join(root, 'bench/results/calls.local.json'))
  mkdirSync(path.dirname(out), { recursive: true })
  writeFileSync(
    out,
    `${JSON.stringify({ at: new Date().toISOString(), node: process.version, machine, plan, rows }, null, 2)}\n`,
  )
  console.log(`written to ${path.relative(process.cwd(), out)}`)
}

async function compare(mesh: BenchMesh, callers: number, plan: Plan): Promise<Row> {
  const { direct, through } = mesh
  const cpu = (): number | null => mesh.sidecarsCpuMs()
  const noCpu = (): null => null
  for (const path of [direct, through]) await generate({ ...path, callers, durationMs: plan.warmUpMs })
  const rounds: { direct: Round[]; through: Round[] } = { direct: [], through: [] }
  for (let round = 0; round < plan.rounds; round += 1) {
    rounds.direct.push(await measure({ ...direct, callers, durationMs: plan.roundMs }, noCpu))
    rounds.through.push(await measure({ ...through, callers, durationMs: plan.roundMs }, cpu))
  }
  return { callers, direct: medianRound(rounds.direct), through: medianRound(rounds.through) }
}

async function measure(load: Parameters<typeof generate>[0], cpuMs: () => number | null): Promise<Round> {
  const before = cpuMs()
  const { calls, elapsedMs, latenciesMs } = await generate(load)
  const after = cpuMs()
  return {
    callsPerSecond: calls / (elapsedMs / 1000),
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
    cpuUsPerCall: before === null || after === null ? null : ((after - before) * 1000) / calls,
  }
}

await main()
