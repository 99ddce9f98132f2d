// npm run bench -- ledger: CPU that the ledger takes of a call on one side (its decision and its end), by how many calls share a turn of the
// event loop. Rounds with the ledger and rounds with one that keeps nothing are interleaved; shown is the median of their differences.
// usage: node --expose-gc dist/bench/ledger/main.js [--quick] [--out FILE]

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '../../host/clock.js'
import { openLog } from '../../host/log.js'
import { openMetrics } from '../../host/metrics.js'
import { openTurn } from '../../host/turn.js'
import { openRecorder, type Recorder } from '../../sidecar/audit/recorder.js'
import { openNullRecorder } from './null-recorder.js'
import { type Cost, runCalls, SELF } from './turns.js'

interface Row {
  readonly group: number
  /** CPU of a call above the one without a ledger, both records; microseconds. */
  readonly cpuUs: number
  /** Wall time of a turn of that many calls, median and worst; microseconds. */
  readonly turnUs: number
  readonly worstTurnUs: number
  readonly bytesPerCall: number
}

const GROUPS = [1, 4, 27, 64]
const turn = openTurn((error) => {
  throw error
})

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' }, out: { type: 'string' } } })
  const [rounds, calls] = values.quick === true ? [3, 10_000] : [7, 30_000]
  const rows: Row[] = []
  for (const group of GROUPS) {
    await both({ group, calls: 5000 })
    const measured = []
    for (let round = 0; round < rounds; round += 1) measured.push(await both({ group, calls }))
    rows.push({
      group,
      cpuUs: median(measured.map(({ ledger, nothing }) => ledger.cpuUs - nothing.cpuUs)),
      turnUs: median(measured.map(({ ledger }) => ledger.turnUs)),
      worstTurnUs: median(measured.map(({ ledger }) => ledger.worstTurnUs)),
      bytesPerCall: median(measured.map(({ bytes }) => bytes / calls)),
    })
  }
  report(
    rows,
    path.resolve(values.out ?? path.join(import.meta.dirname, '../../../bench/results/ledger.local.json')),
  )
}

/** One round without, one with a ledger of its own. */
async function both(load: {
  group: number
  calls: number
}): Promise<{ ledger: Cost; nothing: Cost; bytes: number }> {
  const nothing = await measure(openNullRecorder(turn), load)
  const dir = mkdtempSync(path.join(os.tmpdir(), 'troth-bench-'))
  try {
    const metrics = openMetrics()
    const recorder = openRecorder({
      dir,
      self: () => SELF,
      clock: systemClock,
      log: openLog({
        clock: systemClock,
        level: 'error',
        write: (line) => void process.stderr.write(`${line}\n`),
      }),
      metrics,
      turn,
      durability: 'process',
      onFailure: 'deny',
      maxDiskBytes: 2 ** 32,
    })
    const ledger = await measure(recorder, load)
    const bytes = Number(/^troth_audit_ledger_bytes (\d+)$/m.exec(metrics.text())?.[1])
    await recorder.close()
    return { ledger, nothing, bytes }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

async function measure(recorder: Recorder, load: { group: number; calls: number }): Promise<Cost> {
  globalThis.gc?.()
  return await runCalls(recorder, load)
}

function report(rows: readonly Row[], out: string): void {
  const machine = `${os.cpus().length} x ${os.cpus()[0]?.model ?? 'unknown CPU'}`
  console.log('calls a turn   CPU a call   turn (median)   turn (worst)   disk a call')
  for (const { group, cpuUs, turnUs, worstTurnUs, bytesPerCall } of rows)
    console.log(
      [
        String(group).padStart(12),
        `${cpuUs.toFixed(2)} µs`.padStart(12),
        `${turnUs.toFixed(0)} µs`.padStart(15),
        `${(worstTurnUs / 1000).toFixed(1)} ms`.padStart(14),
        `${bytesPerCall.toFixed(0)} B`.padStart(13),
      ].join(' '),
    )
  console.log(`\nNode ${process.version}, ${machine}; above the same calls with a ledger that keeps nothing`)
  mkdirSync(path.dirname(out), { recursive: true })
  writeFileSync(
    out,
    `${JSON.stringify({ at: new Date().toISOString(), node: process.version, machine, rows }, null, 2)}\n`,
  )
  console.log(`written to ${path.relative(process.cwd(), out)}`)
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

await main()
