// Questions to a ledger file: calls with their decision and end merged, the two halves of a call in the collector, what is new.
// Here where a record is a row: the collector's ledger, the CA's audit, a sidecar's ledger of an earlier build; audit-scan has the others. It works also while the owner writes or after it was killed; it never writes.

import { type Decided, decodeRecord, type Ended, type Verdict } from '../mesh/audit-record.js'
import { MeshError } from '../mesh/errors.js'
import { CA_FILE, COLLECTOR_FILE, SIDECAR_FILE } from './audit-layout.js'
import { type AuditRow, actionRow, callRow, noteRow, refusalRow } from './audit-row.js'
import { openScanReader } from './audit-scan.js'
import { openSqliteReader, type Sqlite } from './sqlite.js'

/** Which halves of a call the collector holds. */
export type Sides = 'both' | 'caller' | 'callee'

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
  /** `actions`: the audit of a CA. */
  readonly holds: 'calls' | 'actions'
  /** Newest last. */
  calls(filter: AuditFilter): AuditRow[]
  /**
   * Every row of calls of that id: in the collector their halves, each by the party whose half it is; the same id between others is
   * another call.
   */
  record(callId: string): AuditRow[]
  /** Calls of the collector by their two halves, newest last; `calls` of a sidecar's own ledger are all one-sided. */
  pairs(filter: AuditFilter): CallPair[]
  /** The present end, to follow from. */
  end(): TailPosition
  /** Rows changed since `position`: a call appears when it is decided and again when it has ended (once if both are new). */
  tail(position: TailPosition): { readonly rows: AuditRow[]; readonly position: TailPosition }
  close(): void
}

interface Stored {
  readonly ledger_id: string
  readonly seq: number
  readonly encoding: number
  readonly bytes: Buffer
  readonly author: string | null
}

/** Everything, the newest thousand. */
export const ANY_RECORD: AuditFilter = {
  agent: null,
  suspicious: false,
  sinceAt: null,
  decision: null,
  callId: null,
  limit: 1000,
  now: 0,
}

const TAIL_BATCH = 1000
/** Clocks of one mesh differ by less; who claims to write later than that would stand before everybody else's newest records. */
const AHEAD_MS = 600_000
/** A call may be on one side only for so long before that is suspicious: ledgers are shipped near live. */
const ONE_SIDED_AFTER_MS = 10_000

const SELECT =
  'SELECT d.ledger_id, d.seq, d.encoding, d.bytes, l.author FROM record d JOIN ledger l ON l.ledger_id = d.ledger_id'
/**
 * Calls of one id and direction never overlap in one ledger (the recorder sees to it), so the next end is the call's own. The `+` leaves
 * SQLite the index by call id only: by sequence number it would walk to the end of the ledger for a call that has none.
 */
const endAfter = (callId: string, ledgerId: string, direction: string, seq: string): string =>
  `FROM record e WHERE e.call_id = ${callId} AND +e.ledger_id = ${ledgerId} AND e.kind = 'ended'
   AND e.direction = ${direction} AND +e.seq > ${seq} ORDER BY +e.seq LIMIT 1`
/** A half counts only in the ledger of the party whose half it is: nobody speaks for another. */
const ownerOf = (half: string): string =>
  `CASE ${half}.direction WHEN 'egress' THEN ${half}.caller_id ELSE ${half}.callee_id END`
const otherHalf = (callId: string, direction: string, caller: string, callee: string): string =>
  `FROM record o JOIN ledger l ON l.ledger_id = o.ledger_id
   WHERE o.call_id = ${callId} AND o.kind = 'decided' AND o.direction <> ${direction}
   AND o.caller_id = ${caller} AND o.callee_id = ${callee} AND l.author = ${ownerOf('o')}`

const SUSPICIOUS = `(d.kind = 'refusal' OR (d.kind = 'note' AND d.event = 'gap') OR d.decision = 'deny' OR (d.kind = 'decided'
  AND (SELECT e.outcome ${endAfter('d.call_id', 'd.ledger_id', 'd.direction', 'd.seq')}) IN ('failed', 'cut', 'unknown')))`
const SUSPICIOUS_TIME = 'd.at > @horizon'
const SUSPICIOUS_HALF = `(d.kind = 'decided' AND (l.author IS NOT ${ownerOf('d')} OR (d.caller_kind = 'agent' AND d.at < @halfBefore
  AND NOT EXISTS (SELECT 1 ${otherHalf('d.call_id', 'd.direction', 'd.caller_id', 'd.callee_id')}))))`

/** @throws MeshError LEDGER_MISSING | STATE_UNREADABLE */
export function openLedgerReader(file: string): LedgerReader {
  const db = openSqliteReader(file)
  const kind = db.pragma('application_id', { simple: true })
  if (kind !== SIDECAR_FILE && kind !== COLLECTOR_FILE && kind !== CA_FILE) {
    db.close()
    throw new MeshError('STATE_UNREADABLE', `${file} is not a ledger`)
  }
  if (kind === SIDECAR_FILE && hasSegments(db)) return openScanReader(db)
  return openTableReader(db, kind)
}

/** False in a ledger that an earlier build wrote and no later one has opened yet. */
const hasSegments = (db: Sqlite): boolean =>
  db.prepare("SELECT 1 AS one FROM sqlite_master WHERE name = 'segment'").get() !== undefined

function openTableReader(db: Sqlite, kind: number): LedgerReader {
  const select =
    kind === COLLECTOR_FILE
      ? selectByTime(db)
      : selectByLedger(db, kind === CA_FILE ? [...PARTIES, 'd.object'] : PARTIES)
  const merge = openMerge(db)
  const calls = (filter: AuditFilter): AuditRow[] => present(select(filter).map(merge)).reverse()
  return {
    holds: kind === CA_FILE ? 'actions' : 'calls',
    calls,
    record(callId) {
      const rows = calls({ ...ANY_RECORD, callId })
      return kind === COLLECTOR_FILE ? rows.filter((row) => !isClaim(row)) : rows
    },
    pairs(filter) {
      // Both halves of a call may meet the filter: twice as many rows hold enough calls.
      const rows = calls({ ...filter, limit: 2 * filter.limit })
      return pairUp(db, rows, merge).slice(-filter.limit)
    },
    end: () => new Map(ledgersOf(db).map((ledgerId) => [ledgerId, nextSeqOf(db, ledgerId)])),
    tail: (position) => follow(db, merge, position),
    close: () => void db.close(),
  }
}

type Select = (filter: AuditFilter) => Stored[]
type Merge = (stored: Stored) => AuditRow | undefined

/** The collector: all ledgers together, by the time of the decision. */
function selectByTime(db: Sqlite): Select {
  return (filter) => {
    const { where, values } = conditions(filter, PARTIES, [SUSPICIOUS, SUSPICIOUS_HALF, SUSPICIOUS_TIME])
    const timely = filter.suspicious || filter.now === 0 ? '' : `AND NOT ${SUSPICIOUS_TIME}`
    return db
      .prepare<unknown[], Stored>(
        `${SELECT} WHERE ${where} ${timely} ORDER BY d.at DESC, d.ledger_id DESC, d.seq DESC LIMIT @limit`,
      )
      .all({ ...values, horizon: filter.now + AHEAD_MS })
  }
}

/** A file that one program writes: in the order written, so that a sidecar needs no index by time on the call path. */
function selectByLedger(db: Sqlite, parties: readonly string[]): Select {
  return (filter) => {
    const { where, values } = conditions(filter, parties, [SUSPICIOUS])
    const statement = db.prepare<unknown[], Stored>(
      `${SELECT} WHERE d.ledger_id = @ledgerId AND ${where} ORDER BY d.seq DESC LIMIT @limit`,
    )
    const rows: Stored[] = []
    for (const ledgerId of ledgersOf(db).reverse()) {
      if (rows.length < filter.limit)
        rows.push(...statement.all({ ...values, ledgerId, limit: filter.limit - rows.length }))
    }
    return rows
  }
}

interface Term {
  readonly sql: string
  readonly values: Readonly<Record<string, string | number>>
}

/** Columns that name somebody. */
const PARTIES = ['d.caller_id', 'd.callee_id', 'd.peer_id', 'd.self_id'] as const

function conditions(
  filter: AuditFilter,
  parties: readonly string[],
  suspicions: readonly string[],
): { where: string; values: Term['values'] } {
  const { suspicious, sinceAt, decision, callId, limit, now } = filter
  const terms: Term[] = [{ sql: "d.kind IN ('decided', 'refusal', 'note', 'action')", values: { limit } }]
  if (filter.agent !== null) terms.push(namedParty(filter.agent, parties))
  if (suspicious) {
    const values = suspicions.includes(SUSPICIOUS_HALF) ? { halfBefore: now - ONE_SIDED_AFTER_MS } : {}
    terms.push({ sql: `(${suspicions.join(' OR ')})`, values })
  }
  if (sinceAt !== null) terms.push({ sql: 'd.at >= @sinceAt', values: { sinceAt } })
  if (decision !== null) terms.push({ sql: 'd.decision = @decision', values: { decision } })
  if (callId !== null) terms.push({ sql: 'd.call_id = @callId', values: { callId } })
  return {
    where: terms.map(({ sql }) => sql).join(' AND '),
    values: Object.assign({}, ...terms.map(({ values }) => values)) as Term['values'],
  }
}

/** A whole SPIFFE ID, or the name of an agent of any trust domain. */
function namedParty(agent: string, columns: readonly string[]): Term {
  if (agent.startsWith('spiffe://')) return { sql: `@agent IN (${columns.join(', ')})`, values: { agent } }
  const ends = columns.map((column) => `substr(${column}, -length(@agent)) = @agent`)
  return { sql: `(${ends.join(' OR ')})`, values: { agent: `/agent/${agent}` } }
}

const present = <T>(values: readonly (T | undefined)[]): T[] => values.filter((value) => value !== undefined)

/** Makes the row of a stored decision (with its end, when there is one), refusal or note; an end makes none. */
function openMerge(db: Sqlite): Merge {
  const end = db.prepare<unknown[], Pick<Stored, 'encoding' | 'bytes'>>(
    `SELECT e.encoding, e.bytes ${endAfter('@callId', '@ledgerId', '@direction', '@seq')}`,
  )
  const endOf = (ledgerId: string, seq: number, { callId, direction }: Decided): Ended | undefined => {
    const found = end.get({ callId, ledgerId, direction, seq })
    const ended = found === undefined ? undefined : decodeRecord(found.bytes, found.encoding)
    return ended?.kind === 'ended' ? ended : undefined
  }
  return ({ ledger_id: ledgerId, seq, author, encoding, bytes }) => {
    const record = decodeRecord(bytes, encoding)
    const place = { ledgerId, seq, author, at: record.at }
    switch (record.kind) {
      case 'decided':
        return callRow(place, record, endOf(ledgerId, seq, record))
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
}

/** Whose ledger a half belongs in. */
const partyOfHalf = ({ direction, caller, callee }: AuditRow): string | null =>
  direction === 'egress' ? caller : callee

/** True for the half of a call that stands in the ledger of somebody whose half it is not: it proves nothing of that call. */
export function isClaim(row: AuditRow): boolean {
  return row.kind === 'call' && row.author !== null && row.author !== partyOfHalf(row)
}

/** Finds the other half of each call, whichever half the filter met. */
function pairUp(db: Sqlite, rows: readonly AuditRow[], merge: Merge): CallPair[] {
  const other = db.prepare<unknown[], Stored>(
    `SELECT o.ledger_id, o.seq, o.encoding, o.bytes, l.author
     ${otherHalf('@callId', '@direction', '@caller', '@callee')} ORDER BY o.at DESC LIMIT 1`,
  )
  const pairs = new Map<string, CallPair>()
  for (const row of rows) {
    const { callId, direction, caller, callee } = row
    const key = `${callId} ${caller} ${callee}`
    if (callId === null || isClaim(row) || pairs.has(key)) continue
    const stored = other.get({ callId, direction, caller, callee })
    const half = stored === undefined ? null : (merge(stored) ?? null)
    const [egress, ingress] = direction === 'egress' ? [row, half] : [half, row]
    const sides = egress !== null && ingress !== null ? 'both' : egress === null ? 'callee' : 'caller'
    pairs.set(key, { callId, sides, foreign: row.callerKind === 'foreign', egress, ingress })
  }
  return [...pairs.values()]
}

const ledgersOf = (db: Sqlite): string[] =>
  db
    .prepare<unknown[], { ledger_id: string }>('SELECT ledger_id FROM ledger ORDER BY created_at, ledger_id')
    .all()
    .map(({ ledger_id: ledgerId }) => ledgerId)

const nextSeqOf = (db: Sqlite, ledgerId: string): number =>
  db
    .prepare<unknown[], { next: number }>(
      'SELECT coalesce(max(seq) + 1, 0) AS next FROM record WHERE ledger_id = ?',
    )
    .get(ledgerId)?.next ?? 0

/** Reads on in each ledger; an end brings back the row of its decision, unless that is new too. */
function follow(db: Sqlite, merge: Merge, position: TailPosition): ReturnType<LedgerReader['tail']> {
  const since = db.prepare<unknown[], Stored & { decided_seq: number | null }>(
    `SELECT d.ledger_id, d.seq, d.encoding, d.bytes, l.author, CASE d.kind WHEN 'ended' THEN
       (SELECT max(b.seq) FROM record b WHERE b.call_id = d.call_id AND b.ledger_id = d.ledger_id
        AND b.kind = 'decided' AND b.direction = d.direction AND b.seq < d.seq) END AS decided_seq
     FROM record d JOIN ledger l ON l.ledger_id = d.ledger_id
     WHERE d.ledger_id = @ledgerId AND d.seq >= @from ORDER BY d.seq LIMIT ${TAIL_BATCH}`,
  )
  const one = db.prepare<unknown[], Stored>(`${SELECT} WHERE d.ledger_id = @ledgerId AND d.seq = @seq`)
  const next = new Map<string, number>()
  const rows: AuditRow[] = []
  for (const ledgerId of ledgersOf(db)) {
    const from = position.get(ledgerId) ?? 0
    const fresh = since.all({ ledgerId, from })
    next.set(ledgerId, (fresh.at(-1)?.seq ?? from - 1) + 1)
    for (const stored of fresh) {
      const seq = stored.decided_seq
      const row =
        seq === null ? merge(stored) : seq < from ? reread(one.get({ ledgerId, seq }), merge) : undefined
      if (row !== undefined) rows.push(row)
    }
  }
  return { rows: rows.sort((a, b) => a.at - b.at), position: next }
}

const reread = (stored: Stored | undefined, merge: Merge): AuditRow | undefined =>
  stored === undefined ? undefined : merge(stored)
