// How a call ended, and the account that makes sure the ledger hears of it: one decision before the first byte goes on, exactly one
// end after it.

import type { Decided, Direction, Ended, Outcome } from '../../mesh/audit-record.js'
import type { MeshErrorCode } from '../../mesh/errors.js'

export interface Ending {
  readonly outcome: Outcome
  readonly reason: MeshErrorCode | 'OK'
  readonly status: number | null
  /** Body bytes from the caller to the callee, and back. */
  readonly bytesIn: number
  readonly bytesOut: number
}

/** What the ledger must be able to do for a call. */
export interface CallLedger {
  decided(record: Omit<Decided, 'kind'>): Promise<void>
  ended(record: Omit<Ended, 'kind'>): void
}

export interface CallClock {
  /** ms since epoch */
  now(): number
  /** ms, fraction included */
  monotonic(): number
  after(ms: number, act: () => void): { cancel(): void }
}

/** Counts what ended; `seconds` is its duration. */
export type CallCounter = (
  direction: Direction,
  ended: { decision: 'permit' | 'deny'; outcome: Outcome; seconds: number },
) => void

export interface Account {
  /**
   * Resolves when the decision is committed; only then may a byte go on.
   * @throws MeshError AUDIT_UNAVAILABLE | CALL_ID_INVALID
   */
  decided(record: Omit<Decided, 'kind' | 'at' | 'callId' | 'direction'>): Promise<void>
  /** The first call counts; without a committed decision there is nothing to end. */
  ended(ending: Ending): void
}

export interface AccountOptions {
  readonly ledger: CallLedger
  readonly clock: CallClock
  readonly count: CallCounter
  readonly callId: string
  readonly direction: Direction
}

export function openAccount({ ledger, clock, count, callId, direction }: AccountOptions): Account {
  const startedAt = clock.monotonic()
  let decision: 'permit' | 'deny' | undefined
  let isEnded = false
  return {
    async decided(record) {
      await ledger.decided({ ...record, at: clock.now(), callId, direction })
      decision = record.decision
    },
    ended(ending) {
      if (isEnded || decision === undefined) return
      isEnded = true
      const elapsedMs = clock.monotonic() - startedAt
      ledger.ended({
        ...ending,
        at: clock.now(),
        callId,
        direction,
        durationUs: Math.round(elapsedMs * 1000),
      })
      count(direction, { decision, outcome: ending.outcome, seconds: elapsedMs / 1000 })
    },
  }
}

/** The end of a call that the sidecar answered itself. */
export function endedWith(reason: MeshErrorCode, status: number): Ending {
  return { outcome: 'failed', reason, status, bytesIn: 0, bytesOut: 0 }
}
