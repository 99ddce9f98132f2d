// Keeps strangers from filling the CA's disk through its audit: refusals of those who proved nothing are counted per reason and source
// for ten seconds (host/refusal-counter), and of those rows there are so many an hour; what is beyond is one row an hour and reason.

import type { Clock, Timer } from '../host/clock.js'
import { openRefusalCounter, sourcePrefix } from '../host/refusal-counter.js'
import { NOBODY, type Party, type Refusal } from '../mesh/audit-record.js'
import type { MeshErrorCode } from '../mesh/errors.js'

export interface TurnedAway {
  readonly code: MeshErrorCode
  /** As its certificate proved it; NOBODY where there was none. */
  readonly peer: Party
  /** Address that it came from. */
  readonly source: string
}

export interface Refusals {
  count(turned: TurnedAway): void
  /** Emits what is counted and not yet emitted; nothing is counted afterwards. */
  close(): void
}

const HOUR_MS = 3_600_000
/** Ten sources that never stop write this many; a row takes half a KiB: 45 MB a day at the very most. */
const ROWS_AN_HOUR = 3600

/** `emit` is called at once for the first of a kind, later for the counted. */
export function openRefusals(clock: Clock, emit: (refusal: Refusal) => void): Refusals {
  const beyond = new Map<string, number>()
  let rows = 0
  let hour: Timer | undefined
  const flush = (): void => {
    hour = undefined
    rows = 0
    for (const [reason, count] of beyond)
      emit({
        kind: 'refusal',
        at: clock.now(),
        direction: 'ingress',
        reason,
        peer: NOBODY,
        source: 'others',
        count,
      })
    beyond.clear()
  }
  const counter = openRefusalCounter(clock, (refusal) => {
    hour ??= clock.after(HOUR_MS, flush)
    rows += 1
    if (rows <= ROWS_AN_HOUR) emit(refusal)
    else beyond.set(refusal.reason, (beyond.get(refusal.reason) ?? 0) + refusal.count)
  })
  return {
    count: ({ code, peer, source }) =>
      counter.count(
        { direction: 'ingress', reason: code, peer, source: sourcePrefix(source) },
        peer.id ?? '',
      ),
    close() {
      counter.close()
      hour?.cancel()
      flush()
    },
  }
}

/** @returns a function that is true so many times in each window */
export function openBudget(
  clock: Clock,
  { max, windowMs }: { max: number; windowMs: number },
): () => boolean {
  let since = Number.NEGATIVE_INFINITY
  let spent = 0
  return () => {
    const now = clock.monotonic()
    if (now - since >= windowMs) {
      since = now
      spent = 0
    }
    spent += 1
    return spent <= max
  }
}
