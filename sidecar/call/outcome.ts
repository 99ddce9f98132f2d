// How a call ended, and the account that makes sure the ledger hears of it: one decision before the first byte goes on, exactly one
// end after it.

import type { Decided, Direction, Ended, Outcome } from '../../mesh/audit-record.js'
import type { MeshError, MeshErrorCode } from '../../mesh/errors.js'

export interface Ending {
  readonly outcome: Outcome
  readonly reason: MeshErrorCode | 'OK'
  readonly status: number | null
  /** Body bytes from the caller to the callee, and back. */
  readonly bytesIn: number
  readonly bytesOut: number
}

/** Hears once, in the commit step of a turn, that the decision is committed, or why it is not. */
type Settle = (error: MeshError | undefined) => void

/** What the ledger must be able to do for a call. */
export interface CallLedger {
  decided(record: Omit<Decided, 'kind'>, settle: Settle): void
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

/** What the account does not know of a decision. */
export type DecidedNow = Omit<Decided, 'kind' | 'at' | 'callId' | 'direction'>

/** Whom an account tells; one an identity. */
export interface Books {
  readonly ledger: CallLedger
  readonly clock: CallClock
  readonly count: CallCounter
}

export class Account {
  readonly callId: string
  readonly #books: Books
  readonly #direction: Direction
  readonly #startedAt: number
  #decision: 'permit' | 'deny' | undefined
  #isEnded = false

  constructor(books: Books, callId: string, direction: Direction) {
    this.callId = callId
    this.#books = books
    this.#direction = direction
    this.#startedAt = books.clock.monotonic()
  }

  /** The decision is committed: a byte may go on. */
  get isDecided(): boolean {
    return this.#decision !== undefined
  }

  /**
   * Settles when the decision is committed; only then may a byte go on.
   * @param settle with AUDIT_UNAVAILABLE | CALL_ID_INVALID | AUDIT_RECORD_INVALID when it is not; never runs before this returns
   */
  decided(it: DecidedNow, settle: Settle): void {
    // Members are named one by one here and below: copying whole objects cost more than writing the record.
    const { ledger, clock } = this.#books
    const record = {
      at: clock.now(),
      callId: this.callId,
      direction: this.#direction,
      caller: it.caller,
      callerKind: it.callerKind,
      callee: it.callee,
      operation: it.operation,
      scope: it.scope,
      decision: it.decision,
      reason: it.reason,
      rule: it.rule,
      grant: it.grant,
      policyVersion: it.policyVersion,
      traceparent: it.traceparent,
    }
    ledger.decided(record, (error) => {
      if (error === undefined) this.#decision = record.decision
      settle(error)
    })
  }

  /** The first call counts; without a committed decision there is nothing to end. */
  ended(ending: Ending): void {
    if (this.#isEnded || this.#decision === undefined) return
    this.#isEnded = true
    const { ledger, clock, count } = this.#books
    const elapsedMs = clock.monotonic() - this.#startedAt
    ledger.ended({
      outcome: ending.outcome,
      reason: ending.reason,
      status: ending.status,
      bytesIn: ending.bytesIn,
      bytesOut: ending.bytesOut,
      at: clock.now(),
      callId: this.callId,
      direction: this.#direction,
      durationUs: Math.round(elapsedMs * 1000),
    })
    count(this.#direction, {
      decision: this.#decision,
      outcome: ending.outcome,
      seconds: elapsedMs / 1000,
    })
  }
}

/** The end of a call that the sidecar answered itself. */
export function endedWith(reason: MeshErrorCode, status: number): Ending {
  return { outcome: 'failed', reason, status, bytesIn: 0, bytesOut: 0 }
}
