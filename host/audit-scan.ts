// Questions to a sidecar's own ledger, a segment at a time and newest first: an end is met before its decision, so one pass pairs
// them without an index. It holds one segment and the ends of the calls that ran then; it never writes.

import { type AuditRecord, decodeRecord } from '../mesh/audit-record.js'
import { type AuditRow, actionRow, callRow, noteRow, type Place, refusalRow } from './audit-row.js'
import {
  endOf,
  headOf,
  keyOf,
  type Line,
  linesBackwards,
  linesFrom,
  openSegments,
  placeOf,
  type SegmentReader,
} from './audit-segments.js'
import type { AuditFilter, CallPair, LedgerReader } from './audit-table.js'
import type { Sqlite } from './sqlite.js'

interface LedgerRow {
  readonly ledger_id: string
  readonly author: string | null
  readonly number: number
}

/** Makes the row of a record, given what ended it; an end alone makes none. */
function rowOf(ledger: LedgerRow, line: Line, end: Line | undefined): AuditRow | undefined {
  const record = decode(line)
  const place: Place = { ledgerId: ledger.ledger_id, seq: line.seq, author: ledger.author, at: record.at }
  switch (record.kind) {
    case 'decided': {
      const ended = end === undefined ? undefined : decode(end)
      return callRow(place, record, ended?.kind === 'ended' ? ended : undefined)
    }
    case 'refusal':
      return refusalRow(place, record)
    case 'note':
      return noteRow(place, record)
    case 'action':
      return actionRow(place, record)
    case 'ended':
      return undefined
  }
}

const decode = ({ text, encoding }: Line): AuditRecord => decodeRecord(Buffer.from(text, 'utf8'), encoding)

/** Of how many records a follower hears at once. */
const TAIL_BATCH = 1000

/** Reads a ledger whose rows are segments. */
export function openScanReader(db: Sqlite): LedgerReader {
  const calls = (filter: AuditFilter): AuditRow[] => newest(db, filter).reverse()
  return {
    holds: 'calls',
    calls,
    record: (callId) => calls({ ...EVERYTHING, callId }),
    pairs(filter) {
      const pairs = new Map<string, CallPair>()
      for (const row of calls({ ...filter, limit: 2 * filter.limit })) addPair(db, pairs, row)
      return [...pairs.values()].slice(-filter.limit)
    },
    end() {
      const segments = openSegments(db)
      return new Map(ledgersOf(db).map((ledger) => [ledger.ledger_id, segments.nextSeq(ledger.number)]))
    },
    tail: (position) => follow(db, position),
    close: () => void db.close(),
  }
}

const EVERYTHING: AuditFilter = {
  agent: null,
  suspicious: false,
  sinceAt: null,
  decision: null,
  callId: null,
  limit: Number.MAX_SAFE_INTEGER,
  now: 0,
}

const ledgersOf = (db: Sqlite): LedgerRow[] =>
  db.prepare<unknown[], LedgerRow>('SELECT ledger_id, author, number FROM ledger ORDER BY number').all()

/** An id as it stands in a record. */
const quoted = (callId: string): string => JSON.stringify(callId)

function newest(db: Sqlite, filter: AuditFilter): AuditRow[] {
  const rows: AuditRow[] = []
  for (const ledger of ledgersOf(db).reverse()) {
    for (const row of rowsBackwards(db, ledger, filter.callId)) {
      if (rows.length >= filter.limit) return rows
      if (isWanted(row, filter)) rows.push(row)
    }
  }
  return rows
}

/** Every row of a ledger, newest first; with a call id, those of the segments in which it occurs. */
function rowsBackwards(db: Sqlite, ledger: LedgerRow, callId: string | null): Iterable<AuditRow> {
  const holding = callId === null ? null : quoted(callId)
  const from = { place: endOf(ledger.number), holding }
  return paired(ledger, linesBackwards(openSegments(db), ledger.number, from), new Map())
}

/**
 * The rows of records that come newest first: a call when its decision is met.
 * @param ends takes the ends on the way; what stays in it ended calls that were decided before
 */
function* paired(
  ledger: LedgerRow,
  lines: Iterable<Line>,
  ends: Map<string, Line>,
): Generator<AuditRow, void, undefined> {
  for (const line of lines) {
    const head = headOf(line.text)
    if (head?.kind === 'ended') ends.set(head.key, line)
    else {
      const key = head?.key ?? ''
      const row = rowOf(ledger, line, ends.get(key))
      ends.delete(key)
      if (row !== undefined) yield row
    }
  }
}

function isWanted(row: AuditRow, { agent, suspicious, sinceAt, decision, callId }: AuditFilter): boolean {
  return (
    (agent === null || isNamed(row.caller, agent) || isNamed(row.callee, agent)) &&
    (!suspicious || isSuspicious(row)) &&
    (sinceAt === null || row.at >= sinceAt) &&
    (decision === null || row.decision === decision) &&
    (callId === null || row.callId === callId)
  )
}

/** A whole SPIFFE ID, or the name of an agent of any trust domain. */
const isNamed = (id: string | null, agent: string): boolean =>
  id !== null && (agent.startsWith('spiffe://') ? id === agent : id.endsWith(`/agent/${agent}`))

const BAD_ENDS: ReadonlySet<string | null> = new Set(['failed', 'cut', 'unknown'])

function isSuspicious({ kind, reason, decision, outcome }: AuditRow): boolean {
  if (kind === 'note') return reason === 'gap'
  return kind === 'refusal' || decision === 'deny' || (kind === 'call' && BAD_ENDS.has(outcome))
}

/** Both halves of a call are in one ledger only where an agent called itself. */
function addPair(db: Sqlite, pairs: Map<string, CallPair>, row: AuditRow): void {
  const { kind, callId, direction, caller, callee } = row
  const key = `${callId} ${caller} ${callee}`
  if (kind !== 'call' || callId === null || pairs.has(key)) return
  const half =
    caller === null || caller !== callee
      ? undefined
      : newest(db, { ...EVERYTHING, callId }).find(
          (other) => other.direction !== direction && other.caller === caller && other.callee === callee,
        )
  const [egress, ingress] = direction === 'egress' ? [row, half ?? null] : [half ?? null, row]
  const sides = egress !== null && ingress !== null ? 'both' : egress === null ? 'callee' : 'caller'
  pairs.set(key, { callId, sides, foreign: row.callerKind === 'foreign', egress, ingress })
}

/** Reads on in each ledger; an end brings back the row of its decision, unless that is new too. */
function follow(db: Sqlite, position: ReadonlyMap<string, number>): ReturnType<LedgerReader['tail']> {
  const segments = openSegments(db)
  const next = new Map<string, number>()
  const rows: AuditRow[] = []
  for (const ledger of ledgersOf(db)) {
    const from = position.get(ledger.ledger_id) ?? 0
    const fresh = firstOf(linesFrom(segments, ledger.number, from), TAIL_BATCH)
    next.set(ledger.ledger_id, (fresh.at(-1)?.seq ?? from - 1) + 1)
    rows.push(...changesIn(db, ledger, fresh))
  }
  return { rows: rows.sort((a, b) => a.at - b.at), position: next }
}

function firstOf<T>(values: Iterable<T>, most: number): T[] {
  const first: T[] = []
  for (const value of values) {
    first.push(value)
    if (first.length === most) break
  }
  return first
}

function changesIn(db: Sqlite, ledger: LedgerRow, fresh: readonly Line[]): AuditRow[] {
  const ends = new Map<string, Line>()
  const rows = [...paired(ledger, [...fresh].reverse(), ends)]
  const segments = openSegments(db)
  for (const end of ends.values()) {
    const decision = decisionBefore(segments, ledger.number, end)
    const row = decision === undefined ? undefined : rowOf(ledger, decision, end)
    if (row !== undefined) rows.push(row)
  }
  return rows
}

/** The decision of a call that ended. */
function decisionBefore(segments: SegmentReader, number: number, end: Line): Line | undefined {
  const record = decode(end)
  if (record.kind !== 'ended') return undefined
  const holding = quoted(record.callId)
  const key = keyOf(holding, record.direction)
  for (const line of linesBackwards(segments, number, { place: placeOf(number, end.seq), holding })) {
    const head = headOf(line.text)
    if (head?.kind === 'decided' && head.key === key) return line
  }
  return undefined
}
