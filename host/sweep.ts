// Deadlines of many things with one timer: calls, connections, whatever may take too long. A thing says when it wants to be looked at; the
// timer waits for the earliest, so that a call costs a few stores, and an idle process has no timer at all.

import type { Clock, Timer } from './clock.js'

export interface Swept {
  /** The sweep's own: its position among what is watched. To begin with `UNWATCHED`. */
  watchedAt: number
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

export const UNWATCHED = -1

/** Looks are never closer together. */
const GRAIN_MS = 20

export function openSweep(clock: Clock): Sweep {
  // in no order: what is forgotten leaves its position to the last one
  const items: Swept[] = []
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
    // backwards: what takes the position of one that is forgotten was looked at before
    for (let index = items.length - 1; index >= 0; index--) {
      const item = items[index]
      if (item === undefined) continue
      const at = item.look(now)
      if (at === Number.POSITIVE_INFINITY) forget(item)
      else if (at < soonest) soonest = at
    }
    wakeAt(soonest, now)
  }
  const forget = (item: Swept): void => {
    const index = item.watchedAt
    const last = items[items.length - 1]
    if (index === UNWATCHED || last === undefined) return
    items[index] = last
    last.watchedAt = index
    items.pop()
    item.watchedAt = UNWATCHED
  }
  return {
    now: () => clock.monotonic(),
    watch(item, at) {
      if (item.watchedAt === UNWATCHED) {
        item.watchedAt = items.length
        items.push(item)
      }
      if (at < next) wakeAt(at, clock.monotonic())
    },
    forget,
  }
}
