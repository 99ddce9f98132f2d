// The queue before the ledger: the decisions of one event-loop turn become one transaction, ends and notes join it or wait at most
// 25 ms. It owns what happens when the ledger cannot be written, and knows which calls are running. Its memory is bounded.

import { encodeLine, openLineEncoder } from '../../host/audit-lines.js'
import type { Clock, Timer } from '../../host/clock.js'
import { errorFields, type Log } from '../../host/log.js'
import type { Metrics } from '../../host/metrics.js'
import type { Turn } from '../../host/turn.js'
import {
  type Decided,
  type Direction,
  type Ended,
  NOBODY,
  type Note,
  type Party,
  type Refusal,
} from '../../mesh/audit-record.js'
import { asMeshError, MeshError } from '../../mesh/errors.js'
import type { LedgerOwner } from './ledger.js'

/** Hears once that a decision is committed, or why it is not: in the commit step of a turn, never while it is handed over. */
export type Settle = (error: MeshError | undefined) => void

export type CallKey = Pick<Ended, 'callId' | 'direction'>

export interface Writer {
  /** Settles as Recorder.decided. */
  begin(decided: Omit<Decided, 'kind'>, settle: Settle): void
  /** Settles, in the same step, what needs no record of its own. */
  settleOnly(settle: Settle): void
  /** An end of a call that is not running is left out: its decision was not recorded either. */
  end(ended: Omit<Ended, 'kind'>): void
  /** The end of a call of an earlier run. */
  endLost(ended: Omit<Ended, 'kind'>): void
  note(note: Note): void
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

/** A call from its decision to its end. */
interface Call extends CallKey {
  /** Empty when it is committed. */
  line: string
  readonly settle: Settle
  /** Of its decision. */
  seq: number
}

/** A decision, or a line that nobody waits for. */
type Pending = Call | string

const GROUP_MS = 25
/** While the ledger is unwritable, it is tried again so often, by a timer: without calls nobody else would notice that it recovered. */
const RETRY_MS = 1000
/** Ends and notes kept while nothing can be written; more are counted as lost. */
const MAX_KEPT = 10_000
/** Calls after which the table of running ones is made anew. */
const RENEW_EVERY = 512
/** In place of a sequence number that is not known yet. */
const UNCOMMITTED = -1

export function openWriter(options: WriterOptions): Writer {
  return new LedgerWriter(options)
}

class LedgerWriter implements Writer {
  readonly #options: WriterOptions
  readonly #counts: ReturnType<typeof openCounts>
  readonly #encode = openLineEncoder()
  /** Calls that have no end yet, by id, oldest first. */
  readonly #running: Record<Direction, Map<string, Call>> = { egress: new Map(), ingress: new Map() }
  /** Since #running was made anew. */
  #begun = 0
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
  readonly #onCommit = (): void => this.#endTurn()
  readonly #onDue = (): void => this.#due()

  constructor(options: WriterOptions) {
    this.#options = options
    this.#counts = openCounts(options, () => !this.#failing)
  }

  get healthy(): boolean {
    return !this.#failing
  }

  begin(decided: Omit<Decided, 'kind'>, settle: Settle): void {
    this.#awaitTurn()
    const { callId, direction } = decided
    const running = this.#running[direction]
    if (running.has(callId)) {
      const error = new MeshError('CALL_ID_INVALID', `a call ${callId} is running already`)
      this.#outcomes.push({ settle, error })
    } else if (this.#failing || this.#closing !== undefined) this.#unwritten(settle, undefined)
    else {
      try {
        const call = { callId, direction, line: this.#encode.decided(decided), settle, seq: UNCOMMITTED }
        running.set(callId, call)
        this.#pending.push(call)
        this.#begun += 1
        if (this.#begun > Math.max(RENEW_EVERY, running.size)) this.#renew()
      } catch (error) {
        this.#outcomes.push({ settle, error: asMeshError(error) })
      }
    }
  }

  settleOnly(settle: Settle): void {
    this.#awaitTurn()
    this.#outcomes.push({ settle, error: undefined })
  }

  end(ended: Omit<Ended, 'kind'>): void {
    if (this.#running[ended.direction].delete(ended.callId)) this.endLost(ended)
  }

  endLost(ended: Omit<Ended, 'kind'>): void {
    try {
      this.#keep(this.#encode.ended(ended))
    } catch (error) {
      this.#invalid('ended', error)
    }
  }

  note(note: Note): void {
    try {
      this.#keep(encodeLine(note))
    } catch (error) {
      this.#invalid('note', error)
    }
  }

  refusal(refusal: Refusal): void {
    const { ledger, log } = this.#options
    try {
      const written = ledger.appendRefusal(refusalLine(refusal))
      ;(written ? this.#counts.written : this.#counts.refusalsDropped).add(1)
    } catch (error) {
      this.#counts.refusalsDropped.add(1)
      log.debug('audit.refusal_dropped', errorFields(error))
    }
  }

  running(): CallKey[] {
    const { egress, ingress } = this.#running
    return [...egress.values(), ...ingress.values()].map(({ callId, direction }) => ({ callId, direction }))
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

  /**
   * V8 links each table that a map has outgrown to the next one. Once one is in the old space, a map that calls come to and go from drags
   * all of them there until the next full collection (measured: ten times as many bytes survive, a fifth of the ledger's CPU).
   */
  #renew(): void {
    this.#begun = 0
    this.#running.egress = new Map(this.#running.egress)
    this.#running.ingress = new Map(this.#running.ingress)
  }

  #awaitTurn(): void {
    if (this.#isInTurn) return
    this.#isInTurn = true
    this.#options.turn.commit(this.#onCommit)
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

  #keep(line: string): void {
    if (this.#closing !== undefined || this.#pending.length >= MAX_KEPT) {
      this.#lost += 1
      this.#counts.lost.add(1)
      return
    }
    this.#pending.push(line)
    this.#timer ??= this.#options.clock.after(GROUP_MS, this.#onDue)
  }

  #invalid(kind: 'ended' | 'note', error: unknown): void {
    this.#counts.lost.add(1)
    this.#options.log.error('audit.record_invalid', { kind, ...errorFields(error) })
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
    const pending = this.#failing ? [this.#gap(), ...this.#pending] : this.#pending
    if (pending.length === 0) return
    this.#pending = []
    try {
      this.#commit(pending)
    } catch (error) {
      this.#failed(this.#failing ? pending.slice(1) : pending, error)
      return
    }
    if (this.#failing) this.#options.log.info('audit.recovered', { lost: this.#lost })
    this.#failing = false
    this.#lost = 0
  }

  #commit(pending: readonly Pending[]): void {
    const { ledger, clock } = this.#options
    const firstSeq = ledger.nextSeq(ledger.ledgerId)
    const lines = pending.map((entry) => (typeof entry === 'string' ? entry : entry.line))
    const startedAt = clock.monotonic()
    ledger.append(lines, this.#settledSeq(firstSeq))
    this.#counts.commit.observe((clock.monotonic() - startedAt) / 1000)
    this.#counts.written.add(lines.length)
    for (const [index, entry] of pending.entries()) {
      if (typeof entry === 'string') continue
      entry.seq = firstSeq + index
      entry.line = ''
      this.#outcomes.push({ settle: entry.settle, error: undefined })
    }
  }

  /** Every call that was decided before it has its end there, or in this commit. */
  #settledSeq(nextSeq: number): number {
    let settled = nextSeq
    for (const calls of [this.#running.egress, this.#running.ingress]) {
      const oldest = calls.values().next().value
      if (oldest !== undefined && oldest.seq !== UNCOMMITTED) settled = Math.min(settled, oldest.seq)
    }
    return settled
  }

  /** Decisions are refused (or let through) and forgotten, ends and notes kept for later. */
  #failed(pending: readonly Pending[], error: unknown): void {
    const { log, onFailure, clock } = this.#options
    if (!this.#failing) log.error('audit.unavailable', { onFailure, ...errorFields(error) })
    this.#failing = true
    for (const entry of pending) {
      if (typeof entry === 'string') this.#pending.push(entry)
      else {
        this.#running[entry.direction].delete(entry.callId)
        this.#unwritten(entry.settle, error)
      }
    }
    this.#timer ??= clock.after(RETRY_MS, this.#onDue)
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

  #gap(): string {
    const { clock, self } = this.#options
    const detail = `${this.#lost} records were lost while the ledger could not be written`
    return encodeLine({ kind: 'note', at: clock.now(), event: 'gap', detail, self: self() })
  }
}

/** What a peer claimed may not fit into a record; that it was turned away does. */
function refusalLine(refusal: Refusal): string {
  try {
    return encodeLine(refusal)
  } catch {
    return encodeLine({ ...refusal, peer: NOBODY })
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
