// A clock for the call path, where the time is asked for some ten times a call: it is looked at once in a turn of the event loop. What is
// measured within one turn must be measured by another clock.

import type { Clock } from './clock.js'
import type { Turn } from './turn.js'

/** @returns a clock that stands still from its first look until the end of the turn */
export function openTurnClock(clock: Clock, turn: Turn): Clock {
  let isFresh = false
  let wall = 0
  let monotonic = 0
  const forget = (): void => {
    isFresh = false
  }
  const look = (): void => {
    isFresh = true
    wall = clock.now()
    monotonic = clock.monotonic()
    turn.flush(forget)
  }
  return {
    now() {
      if (!isFresh) look()
      return wall
    },
    monotonic() {
      if (!isFresh) look()
      return monotonic
    },
    after: (ms, act) => clock.after(ms, act),
  }
}
