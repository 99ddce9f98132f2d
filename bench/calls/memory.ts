// What a pair of sidecars holds and uses: resident memory and CPU of a fresh pair while it idles, memory after many small calls, and the
// highest while large bodies go through. Figures hold for each process: the larger one is judged.

import { setTimeout as pause } from 'node:timers/promises'
import { cpuMsOf, rssMbOf } from '../proc.js'
import type { Chain } from './chains/chain.js'
import { type Verdict, verdictOf } from './figures.js'
import type { Generator } from './generator/generator.js'
import { type Scenario, SMALL_CALLS, TEN_MEGABYTES } from './scenarios.js'

export interface MemoryPlan {
  readonly settleMs: number
  readonly idleMs: number
  readonly calls: number
  /** Calls end here even when they are fewer. */
  readonly callsWithinMs: number
  readonly bodiesMs: number
}

export const FULL_MEMORY: MemoryPlan = {
  settleMs: 5000,
  idleMs: 10_000,
  calls: 1_000_000,
  callsWithinMs: 300_000,
  bodiesMs: 5000,
}

export const QUICK_MEMORY: MemoryPlan = {
  settleMs: 1000,
  idleMs: 2000,
  calls: 100_000,
  callsWithinMs: 8000,
  bodiesMs: 1500,
}

export interface Memory {
  readonly when: string
  readonly callerMb: number
  readonly calleeMb: number
  readonly mustMb: number
  readonly aimMb: number
  readonly verdict: Verdict
}

export interface Resources {
  readonly memory: readonly Memory[]
  /** Of both, in per cent of one core; null where /proc does not tell. */
  readonly idleCpuPercent: number | null
}

/** @param pair two sidecars that have served nothing yet */
export async function measureResources(
  pair: Chain,
  generator: Generator,
  plan: MemoryPlan,
): Promise<Resources> {
  await pause(plan.settleMs)
  const idle = held(pair, 'idle', { mustMb: 75, aimMb: 60 })
  const cpuBefore = cpuMsOf(pair.pids)
  await pause(plan.idleMs)
  const cpuAfter = cpuMsOf(pair.pids)
  const calls = await callMany(pair, generator, plan)
  const after = held(pair, `after ${calls} calls`, { mustMb: 110, aimMb: 90 })
  const bodies = await during(pair, generator, TEN_MEGABYTES, plan.bodiesMs)
  return {
    memory: [idle, after, bodies],
    idleCpuPercent:
      cpuBefore === null || cpuAfter === null ? null : ((cpuAfter - cpuBefore) / plan.idleMs) * 100,
  }
}

export function formatResources({ memory, idleCpuPercent }: Resources): string {
  const lines = memory.map(
    ({ when, callerMb, calleeMb, mustMb, aimMb, verdict }) =>
      `${when.padEnd(25)} caller ${mb(callerMb)}, callee ${mb(calleeMb)}  each <= ${mustMb} MB (aim ${aimMb}): ${verdict}`,
  )
  const cpu = idleCpuPercent === null ? '-' : `${idleCpuPercent.toFixed(2)} % of a core`
  return [...lines, `${'CPU idle'.padEnd(25)} both ${cpu}`]
    .map((line, at) => `${(at === 0 ? 'memory' : '').padEnd(18)} ${line}`)
    .join('\n')
}

const mb = (value: number): string => `${value.toFixed(0).padStart(4)} MB`

interface Bounds {
  readonly mustMb: number
  readonly aimMb: number
}

function held(pair: Chain, when: string, bounds: Bounds): Memory {
  return judged(when, rssMbOf(pair.pids) ?? [], bounds)
}

async function during(
  pair: Chain,
  generator: Generator,
  scenario: Scenario,
  windowMs: number,
): Promise<Memory> {
  const { peakRssMb } = await generator.run(await scenario.job(pair, { warmMs: 0, windowMs }))
  return judged(`${scenario.name}, 4 at once`, peakRssMb ?? [], { mustMb: 130, aimMb: 110 })
}

function judged(
  when: string,
  [callerMb = Number.NaN, calleeMb = Number.NaN]: readonly number[],
  bounds: Bounds,
): Memory {
  const { mustMb, aimMb } = bounds
  const larger = Math.max(callerMb, calleeMb)
  const verdict = verdictOf({ measure: 'p50Ms', must: mustMb, aim: aimMb }, larger)
  return { when, callerMb, calleeMb, mustMb, aimMb, verdict }
}

/** @returns how many were answered */
async function callMany(
  pair: Chain,
  generator: Generator,
  { calls, callsWithinMs }: MemoryPlan,
): Promise<number> {
  let answered = 0
  const until = performance.now() + callsWithinMs
  while (answered < calls && performance.now() < until) {
    const left = Math.max(until - performance.now(), 100)
    const job = await SMALL_CALLS.job(pair, { warmMs: 0, windowMs: Math.min(left, 2000) })
    answered += (await generator.run(job)).units
  }
  return answered
}
