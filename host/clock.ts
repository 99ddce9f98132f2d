// Time, handed in. Everything that waits or stamps takes a Clock, so that tests own the hours; TLS alone always uses the real one.

export interface Timer {
  /** Harmless when it has fired or was cancelled. */
  cancel(): void
}

export interface Clock {
  /** Wall clock, ms since epoch. May jump. */
  now(): number
  /** Monotonic, ms, fraction included. For durations only. */
  monotonic(): number
  /** Runs `act` once after `ms`; does not keep the process alive. */
  after(ms: number, act: () => void): Timer
}

/** setTimeout fires at once beyond 2^31-1 ms; longer waits are cut there and the waiter looks again. */
const LONGEST_MS = 2_147_483_647

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, act) {
    const timer = setTimeout(act, Math.min(Math.max(ms, 0), LONGEST_MS))
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}

/** Resolves after `ms`, or at once when the signal aborts; never rejects. The caller looks at the signal. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      timer.cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = clock.after(ms, done)
    signal.addEventListener('abort', done, { once: true })
  })
}

/** A pause that somebody else may end. */
export interface Wake {
  /** As `pause`, or until `call`. */
  pause(ms: number, signal: AbortSignal): Promise<void>
  /** Ends the pause that is on; none is: the next look comes anyway. */
  call(): void
}

export function openWake(clock: Clock): Wake {
  let current: AbortController | undefined
  return {
    async pause(ms, signal) {
      const either = new AbortController()
      const end = (): void => either.abort()
      current = either
      signal.addEventListener('abort', end, { once: true })
      if (!signal.aborted) await pause(clock, ms, either.signal)
      signal.removeEventListener('abort', end)
      current = undefined
    },
    call: () => current?.abort(),
  }
}
