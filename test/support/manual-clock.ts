// Time that tests own. Nothing fires until the test advances it.

import type { Clock } from '../../host/clock.js'

export interface ManualClock extends Clock {
  /** Moves wall and monotonic time on, firing what falls due, in order. */
  advance(ms: number): void
  /** Moves the wall clock alone, as setting it or sleep does. */
  setWall(now: number): void
  /** Timers that wait. */
  readonly pending: number
}

/** Starts at the real now, cut to a second (certificates count seconds), unless told otherwise. */
export function manualClock(startAt: number = Math.floor(Date.now() / 1000) * 1000): ManualClock {
  let wall = startAt
  let monotonic = 0
  let timers: { at: number; act: () => void }[] = []

  const nextDue = (until: number): { at: number; act: () => void } | undefined =>
    timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]

  return {
    now: () => wall,
    monotonic: () => monotonic,
    after(ms, act) {
      const timer = { at: monotonic + Math.max(ms, 0), act }
      timers.push(timer)
      return {
        cancel: () => {
          timers = timers.filter((each) => each !== timer)
        },
      }
    },
    advance(ms) {
      const until = monotonic + ms
      for (let due = nextDue(until); due !== undefined; due = nextDue(until)) {
        const fired = due
        timers = timers.filter((each) => each !== fired)
        wall += fired.at - monotonic
        monotonic = fired.at
        fired.act()
      }
      wall += until - monotonic
      monotonic = until
    },
    setWall(now) {
      wall = now
    },
    get pending() {
      return timers.length
    },
  }
}
