// The queue before the ledger: the decisions of one event-loop turn become one transaction, ends and notes join it or wait at most
// 25 ms. It owns what happens when the ledger cannot be written, and knows which calls are running. Its memory is bounded.

import { encodeStrictly } from '../../host/audit-encode.js'
import type { Clock, Timer } from '../../host/clock.js'
import { errorFields, type Log } from '../../host/log.js'
import type { Metrics } from '../../host/metrics.js'
import type { Turn } from '../../host/turn.js'
import {
  type Decided,
  type Ended,
  NOBODY,
  type Note,
  type Party,
  type Refusal,
} from '../../mesh/audit-record.js'
import { asMeshError, MeshError } from '../../mesh/errors.js'
import type { Entry, LedgerOwner } from './ledger.js'

/** Hears once that a decision is committed, or why it is not: in the commit step of a turn, never while it is handed over. */
export type Settle = (error: MeshError | undefined) => void

export type CallKey = Pick<Ended, 'callId' | 'direction'>

export interface Writer {
  /** Settles as Recorder.decided. */
  begin(decided: Decided, settle: Settle): void
  /** Settles, in the same step, what needs no record of its own. */
  settleOnly(settle: Settle): void
  /** An end of a call that is not running is left out: its decision was not recorded either. */
  end(ended: Ended): void
  later(record: Ended | Note): void
  /** Never unhealthy for it: refusals may be lost, calls may not. */
  refusal(refusal: Refusal): void
  running(): CallKey[]
  readonly healthy: boolean
  /** Writes what is pending and closes the ledger. */
  close(): Promise<void>
}

export interface WriterOptions {
  readonly ledger: LedgerOwner
  readonly self: () => Party
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly turn: Turn
  readonly onFailure: 'deny' | 'allow'
}

interface Pending extends Entry {
  /** Null: nobody waits for it. */
  readonly settle: Settle | null
  readonly key: string | null
}

const GROUP_MS = 25
/** While the ledger is unwritable, it is tried again so often, by a timer: without calls nobody else would notice that it recovered. */
const RETRY_MS = 1000
/** Ends and notes kept while nothing can be written; more are counted as lost. */
const MAX_KEPT = 10_000
/** In place of a sequence number that is not known yet. */
const UNCOMMITTED = -1

export function openWriter(options: WriterOptions): Writer {
  return new LedgerWriter(options)
}

class LedgerWriter implements Writer {
  readonly #options: WriterOptions
  readonly #counts: ReturnType<typeof openCounts>
  /** Calls that have no end yet, oldest first, with the sequence number of their decision. */
  readonly #running = new Map<string, CallKey & { seq: number }>()
  #pending: Pending[] = []
  /** Settled with their outcome in the commit step, whatever becomes of the group. */
  #outcomes: { readonly settle: Settle; readonly error: MeshError | undefined }[] = []
  /** True from the first decision of a turn to its commit step. */
  #isInTurn = false
  #timer: Timer | undefined
  /** Records lost since the last write that worked. */
  #lost = 0
  #failing = false
  #closing: Promise<void> | undefined

  constructor(options: WriterOptions) {
    this.#options = options
    this.#counts = openCounts(options, () => !this.#failing)
  }

  get healthy(): boolean {
    return !this.#failing
  }

  begin(decided: Decided, settle: Settle): void {
    this.#awaitTurn()
    const { callId, direction } = decided
    const key = keyOf(decided)
    if (this.#running.has(key)) {
      const error = new MeshError('CALL_ID_INVALID', `a call ${callId} is running already`)
      this.#outcomes.push({ settle, error })
    } else if (this.#failing || this.#closing !== undefined) this.#unwritten(settle, undefined)
    else {
      try {
        const encoded = encodeStrictly(decided)
        this.#running.set(key, { callId, direction, seq: UNCOMMITTED })
        this.#pending.push({ record: decided, encoded, key, settle })
      } catch (error) {
        this.#outcomes.push({ settle, error: asMeshError(error) })
      }
    }
  }

  settleOnly(settle: Settle): void {
    this.#awaitTurn()
    this.#outcomes.push({ settle, error: undefined })
  }

  #awaitTurn(): void {
    if (this.#isInTurn) return
    this.#isInTurn = true
    this.#options.turn.commit(() => this.#endTurn())
  }

  #endTurn(): void {
    this.#isInTurn = false
    if (!this.#failing) this.#flush()
    this.#tell()
  }

  /** Settles all although one of them throws: that is a bug, and the turn hears of it. */
  #tell(): void {
    const outcomes = this.#outcomes
    this.#outcomes = []
    let bug: Error | undefined
    for (const { settle, error } of outcomes) {
      try {
        settle(error)
      } catch (thrown) {
        bug ??= asMeshError(thrown)
      }
    }
    if (bug !== undefined) throw bug
  }

  end(ended: Ended): void {
    if (this.#running.delete(keyOf(ended))) this.later(ended)
  }

  later(record: Ended | Note): void {
    try {
      this.#keep({ record, encoded: encodeStrictly(record), key: null, settle: null })
    } catch (error) {
      this.#counts.lost.add(1)
      this.#options.log.error('audit.record_invalid', { kind: record.kind, ...errorFields(error) })
    }
  }

  refusal(refusal: Refusal): void {
    const { ledger, log } = this.#options
    try {
      const written = ledger.appendRefusals([refusalEntry(refusal)])
      ;(written ? this.#counts.written : this.#counts.refusalsDropped).add(1)
    } catch (error) {
      this.#counts.refusalsDropped.add(1)
      log.debug('audit.refusal_dropped', errorFields(error))
    }
  }

  running(): CallKey[] {
    return [...this.#running.values()].map(({ callId, direction }) => ({ callId, direction }))
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#flush()
    this.#tell()
    this.#timer?.cancel()
    try {
      await this.#options.ledger.close(!this.#failing)
    } catch (error) {
      this.#options.log.error('audit.close_failed', errorFields(error))
    }
  }

  #keep(entry: Pending): void {
    if (this.#closing !== undefined || this.#pending.length >= MAX_KEPT) {
      this.#lost += 1
      this.#counts.lost.add(1)
      return
    }
    this.#pending.push(entry)
    this.#timer ??= this.#options.clock.after(GROUP_MS, () => this.#due())
  }

  /** What waits goes with the decisions of this turn, where there are any. */
  #due(): void {
    this.#timer = undefined
    if (this.#failing || !this.#isInTurn) this.#flush()
  }

  /** Writes what is pending; its outcomes are told in the step that called for it. */
  #flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const gap = this.#failing ? [this.#gap()] : []
    const entries = [...gap, ...this.#pending]
    if (entries.length === 0) return
    this.#pending = []
    try {
      this.#commit(entries)
    } catch (error) {
      this.#failed(entries.slice(gap.length), error)
      return
    }
    if (this.#failing) this.#options.log.info('audit.recovered', { lost: this.#lost })
    this.#failing = false
    this.#lost = 0
    for (const { settle } of entries) {
      if (settle !== null) this.#outcomes.push({ settle, error: undefined })
    }
  }

  #commit(entries: readonly Pending[]): void {
    const { ledger, clock } = this.#options
    const firstSeq = ledger.nextSeq(ledger.ledgerId)
    const [oldest] = this.#running.values()
    const startedAt = clock.monotonic()
    ledger.append(entries, oldest === undefined || oldest.seq === UNCOMMITTED ? firstSeq : oldest.seq)
    this.#counts.commit.observe((clock.monotonic() - startedAt) / 1000)
    this.#counts.written.add(entries.length)
    for (const [index, { key }] of entries.entries()) {
      const call = key === null ? undefined : this.#running.get(key)
      if (call !== undefined) call.seq = firstSeq + index
    }
  }

  /** Decisions are refused (or let through) and forgotten, ends and notes kept for later. */
  #failed(entries: readonly Pending[], error: unknown): void {
    const { log, onFailure, clock } = this.#options
    if (!this.#failing) log.error('audit.unavailable', { onFailure, ...errorFields(error) })
    this.#failing = true
    for (const entry of entries) {
      if (entry.settle === null) this.#pending.push(entry)
      else {
        if (entry.key !== null) this.#running.delete(entry.key)
        this.#unwritten(entry.settle, error)
      }
    }
    this.#timer ??= clock.after(RETRY_MS, () => this.#due())
  }

  #unwritten(settle: Settle, cause: unknown): void {
    this.#lost += 1
    this.#counts.lost.add(1)
    const isRefused = this.#options.onFailure === 'deny'
    const error = isRefused
      ? new MeshError('AUDIT_UNAVAILABLE', 'the ledger cannot be written', { cause })
      : undefined
    this.#outcomes.push({ settle, error })
  }

  #gap(): Pending {
    const { clock, self } = this.#options
    const detail = `${this.#lost} records were lost while the ledger could not be written`
    const record: Note = { kind: 'note', at: clock.now(), event: 'gap', detail, self: self() }
    return { record, encoded: encodeStrictly(record), key: null, settle: null }
  }
}

const keyOf = ({ direction, callId }: CallKey): string => `${direction} ${callId}`

/** What a peer claimed may not fit into a record; that it was turned away does. */
function refusalEntry(refusal: Refusal): Entry {
  try {
    return { record: refusal, encoded: encodeStrictly(refusal) }
  } catch {
    const record = { ...refusal, peer: NOBODY }
    return { record, encoded: encodeStrictly(record) }
  }
}

function openCounts({ metrics, ledger }: WriterOptions, healthy: () => boolean) {
  metrics.gauge('troth_audit_healthy', '1 while the ledger can be written', () => (healthy() ? 1 : 0))
  metrics.gauge('troth_audit_ledger_bytes', 'Size of the ledger', () => ledger.sizeBytes())
  return {
    written: metrics.counter('troth_audit_records_total', 'Records written to the ledger'),
    lost: metrics.counter('troth_audit_lost_total', 'Records that could not be written'),
    refusalsDropped: metrics.counter(
      'troth_audit_refusals_dropped_total',
      'Refusal records left out: their share of the disk is used, or the write failed',
    ),
    commit: metrics.histogram('troth_audit_commit_seconds', 'Time to commit one group of records'),
  }
}
