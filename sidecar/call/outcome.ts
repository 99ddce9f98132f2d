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

export interface Account {
  /**
   * Settles when the decision is committed; only then may a byte go on.
   * @param settle with AUDIT_UNAVAILABLE | CALL_ID_INVALID | AUDIT_RECORD_INVALID when it is not; never runs before this returns
   */
  decided(record: DecidedNow, settle: Settle): void
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

export function openAccount(options: AccountOptions): Account {
  return new CallAccount(options)
}

class CallAccount implements Account {
  private readonly options: AccountOptions
  private readonly startedAt: number
  /** Undefined until it is committed. */
  private decision: 'permit' | 'deny' | undefined
  private isEnded = false

  constructor(options: AccountOptions) {
    this.options = options
    this.startedAt = options.clock.monotonic()
  }

  // Members are named one by one here and below: copying whole objects cost more than writing the record.
  decided(it: DecidedNow, settle: Settle): void {
    const { ledger, clock, callId, direction } = this.options
    const record = {
      at: clock.now(),
      callId,
      direction,
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
      if (error === undefined) this.decision = record.decision
      settle(error)
    })
  }

  ended({ outcome, reason, status, bytesIn, bytesOut }: Ending): void {
    const { decision } = this
    if (this.isEnded || decision === undefined) return
    this.isEnded = true
    const { ledger, clock, count, callId, direction } = this.options
    const elapsedMs = clock.monotonic() - this.startedAt
    const durationUs = Math.round(elapsedMs * 1000)
    ledger.ended({
      at: clock.now(),
      callId,
      direction,
      outcome,
      reason,
      status,
      bytesIn,
      bytesOut,
      durationUs,
    })
    count(direction, { decision, outcome, seconds: elapsedMs / 1000 })
  }
}

/** Resolves when the decision is committed. @throws MeshError as Account.decided */
export function whenDecided(account: Account, record: DecidedNow): Promise<void> {
  return new Promise((resolve, reject) => {
    account.decided(record, (error) => {
      if (error === undefined) resolve()
      else reject(error)
    })
  })
}

/** The end of a call that the sidecar answered itself. */
export function endedWith(reason: MeshErrorCode, status: number): Ending {
  return { outcome: 'failed', reason, status, bytesIn: 0, bytesOut: 0 }
}
