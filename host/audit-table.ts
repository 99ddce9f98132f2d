// The SQL layout of audit records, shared by a sidecar's ledger and the collector's store, and the queries over it. A reader
// works on both files, also while their owner writes or after it was killed; it never writes.

import type { AuditRecord, Direction, Outcome, Verdict } from '../mesh/audit-record.js'

/** A record with the exact bytes it is stored, shipped and (later) hashed as. */
export interface EncodedRecord {
  readonly encoding: number
  readonly bytes: Buffer
}

/** Which halves of a call the collector holds. */
export type Sides = 'both' | 'caller' | 'callee'

/** One line of `audit query`: a call (its decision and end merged), a counted refusal or a note. Null: not known or not apt. */
export interface AuditRow {
  readonly kind: 'call' | 'refusal' | 'note'
  readonly callId: string | null
  /** SPIFFE IDs. Of a refusal at ingress: the peer is the caller; of a note: who wrote it. */
  readonly caller: string | null
  readonly callee: string | null
  readonly direction: Direction | null
  readonly operation: string | null
  readonly scope: string | null
  readonly decision: Verdict | null
  /** Null while the call runs. */
  readonly outcome: Outcome | null
  /** `OK` or an error code; of a note, its event. */
  readonly reason: string
  readonly status: number | null
  /** When it was decided, ms since epoch. */
  readonly at: number
  readonly durationUs: number | null
  readonly bytesIn: number | null
  readonly bytesOut: number | null
  readonly ledgerId: string
  /** Sequence number of the decision (refusal, note). */
  readonly seq: number
  /** SPIFFE ID of the sidecar whose ledger it is. */
  readonly author: string | null
  readonly rule: string | null
  readonly grant: string | null
  readonly policyVersion: number | null
  readonly callerKind: 'agent' | 'foreign' | null
  readonly callerInstance: string | null
  readonly callerSerial: string | null
  readonly calleeInstance: string | null
  readonly calleeSerial: string | null
  readonly traceparent: string | null
  /** Address prefix and number of the connections that a refusal counts. */
  readonly source: string | null
  readonly count: number | null
  /** Text of a note. */
  readonly detail: string | null
}

/** All given conditions hold; null: no condition. */
export interface AuditFilter {
  /** As caller or callee: the name of an agent, or a whole SPIFFE ID. */
  readonly agent: string | null
  /** Denied, refused, cut, failed, unknown, a gap, or (collector) recorded by one side only for longer than ten seconds. */
  readonly suspicious: boolean
  /** Decided at or after this instant, ms since epoch. */
  readonly sinceAt: number | null
  readonly decision: Verdict | null
  readonly callId: string | null
  /** At most so many, the newest. */
  readonly limit: number
  /** The present, ms since epoch. */
  readonly now: number
}

/** How far a follower has read: the next sequence number of each ledger. */
export type TailPosition = ReadonlyMap<string, number>

/** One call in the collector, with both halves where they are there. */
export interface CallPair {
  readonly callId: string
  readonly sides: Sides
  /** True when the caller is foreign and so keeps no ledger. */
  readonly foreign: boolean
  readonly egress: AuditRow | null
  readonly ingress: AuditRow | null
}

export interface LedgerReader {
  /** Newest last. */
  calls(filter: AuditFilter): AuditRow[]
  /** Every row of that call: at most one in a sidecar's ledger, its two halves in the collector. */
  record(callId: string): AuditRow[]
  /** Calls of the collector by their two halves, newest last; `calls` of a sidecar's own ledger are all one-sided. */
  pairs(filter: AuditFilter): CallPair[]
  /** The present end, to follow from. */
  end(): TailPosition
  /** Rows changed since `position`: a call appears when it is decided and again when it has ended (once if both are new). */
  tail(position: TailPosition): { readonly rows: AuditRow[]; readonly position: TailPosition }
  close(): void
}

export type AppendRecord = (
  ledgerId: string,
  seq: number,
  record: AuditRecord,
  encoded: EncodedRecord,
) => void

/** @throws MeshError LEDGER_MISSING | STATE_UNREADABLE */
export declare function openLedgerReader(file: string): LedgerReader
