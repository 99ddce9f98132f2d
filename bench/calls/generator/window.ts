// The window in which a load is measured: what was counted between its two ends, and what the processes under test used meanwhile. The
// load runs before it and after it, so that neither start nor end of connections is in it.

import { setTimeout as pause } from 'node:timers/promises'
import { cpuMsOf, rssMbOf } from '../../proc.js'
import { quantile } from '../../statistics.js'
import type { Measured } from './job.js'

const LOOK_EVERY_MS = 100

/** What a load counts while it runs. */
export class Tally {
  units = 0
  readonly latenciesMs: number[] = []
  /** The load has come to its end: nothing new is begun. */
  isOver = false
  hasFailed = false
  #fail: (error: Error) => void = () => undefined
  readonly failed: Promise<never>

  constructor() {
    this.failed = new Promise<never>((_, reject) => {
      this.#fail = reject
    })
    this.failed.catch(() => undefined)
  }

  done(latencyMs: number): void {
    this.units++
    this.latenciesMs.push(latencyMs)
  }

  /** Ends the measurement; after its end it means nothing. */
  fail(error: Error): void {
    if (this.isOver) return
    this.hasFailed = true
    this.#fail(error)
  }
}

interface Span {
  readonly warmMs: number
  readonly windowMs: number
  readonly pids: readonly number[]
}

/** @throws what the load failed with */
export async function measureWindow(tally: Tally, span: Span): Promise<Measured> {
  try {
    return await Promise.race([watch(tally, span), tally.failed])
  } finally {
    tally.isOver = true
  }
}

async function watch(tally: Tally, { warmMs, windowMs, pids }: Span): Promise<Measured> {
  await pause(warmMs)
  tally.latenciesMs.length = 0
  const unitsBefore = tally.units
  const cpuBefore = cpuMsOf(pids)
  const startedAt = performance.now()
  let peakRssMb = rssMbOf(pids)
  for (let left = windowMs; left > 0; left = startedAt + windowMs - performance.now()) {
    await pause(Math.min(left, LOOK_EVERY_MS))
    const rss = rssMbOf(pids)
    peakRssMb = peakRssMb?.map((peak, at) => Math.max(peak, rss?.[at] ?? 0)) ?? null
  }
  const elapsedMs = performance.now() - startedAt
  const units = tally.units - unitsBefore
  const cpuAfter = cpuMsOf(pids)
  if (units === 0) throw new Error(`nothing was answered within ${windowMs} ms`)
  return {
    units,
    elapsedMs,
    p50Ms: quantile(tally.latenciesMs, 0.5),
    p99Ms: quantile(tally.latenciesMs, 0.99),
    cpuMs: cpuBefore === null || cpuAfter === null ? null : cpuAfter - cpuBefore,
    peakRssMb,
  }
}
