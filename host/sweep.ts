// Deadlines of many things with one timer: calls, connections, whatever may take too long. A thing says when it wants to be looked at; the
// timer waits for the earliest, so that a call costs two set operations, and an idle process has no timer at all.

import type { Clock, Timer } from './clock.js'

export interface Swept {
  /**
   * Looks whether it is too late.
   * @param now ms, monotonic
   * @returns when to look again, ms monotonic; Infinity: it is no longer watched
   */
  look(now: number): number
}

/** What those need who set deadlines. */
export interface Sweep {
  /** ms, monotonic */
  now(): number
  /** Watches it; the first look comes no later than `at` (ms, monotonic) by more than the grain. Again: an earlier look. */
  watch(item: Swept, at: number): void
  /** Harmless when it is not watched. */
  forget(item: Swept): void
}

/** Looks are never closer together. */
const GRAIN_MS = 20

export function openSweep(clock: Clock): Sweep {
  const items = new Set<Swept>()
  let timer: Timer | undefined
  let next = Number.POSITIVE_INFINITY

  const wakeAt = (at: number, now: number): void => {
    if (at >= next) return
    timer?.cancel()
    next = at
    timer = clock.after(Math.max(GRAIN_MS, at - now), look)
  }
  const look = (): void => {
    const now = clock.monotonic()
    timer = undefined
    next = Number.POSITIVE_INFINITY
    let soonest = next
    for (const item of items) {
      const at = item.look(now)
      if (at === Number.POSITIVE_INFINITY) items.delete(item)
      else if (at < soonest) soonest = at
    }
    wakeAt(soonest, now)
  }
  return {
    now: () => clock.monotonic(),
    watch(item, at) {
      items.add(item)
      if (at < next) wakeAt(at, clock.monotonic())
    },
    forget: (item) => void items.delete(item),
  }
}
