// The SQL layout of a sidecar's own ledger: what was committed together is one row, its records one line each. A row a group costs a
// fifth of a row a record; the view `record` shows them one by one. Nothing but the exact bytes is stored.

import { ENCODING } from '../mesh/audit-record.js'
import { type EncodedRecord, recordColumns } from './audit-layout.js'
import type { Sqlite } from './sqlite.js'

/** Ledgers of a file are numbered from 1; each has this many places, and a segment stands at that of its first record. */
const PLACES = 2 ** 40
const LEDGERS_MAX = 2 ** 12

/** From a row a record to a row a group. */
export const SEGMENTS_DDL = `
ALTER TABLE ledger ADD COLUMN number INTEGER;
UPDATE ledger SET number = (SELECT count(*) FROM ledger o WHERE (o.created_at, o.ledger_id) <= (ledger.created_at, ledger.ledger_id));
CREATE TABLE segment (
  place INTEGER PRIMARY KEY,
  encoding INTEGER NOT NULL,
  lines TEXT NOT NULL
) STRICT;
INSERT INTO segment (place, encoding, lines)
  SELECT l.number * ${PLACES} + r.seq, r.encoding, CAST(r.bytes AS TEXT) FROM record r JOIN ledger l ON l.ledger_id = r.ledger_id
  ORDER BY 1;
DROP TABLE record;
CREATE VIEW record AS
  SELECT l.ledger_id, s.place % ${PLACES} + line.key AS seq, s.encoding,
    ${recordColumns('line.value')}
  FROM segment s JOIN ledger l ON l.number = s.place / ${PLACES}
    JOIN json_each('[' || replace(s.lines, char(10), ',') || ']') line;
`

/** A record where it stands. */
export interface Line {
  readonly seq: number
  readonly encoding: number
  readonly text: string
}

export interface Segment {
  readonly place: number
  readonly encoding: number
  readonly lines: string
}

/** @throws RangeError when no ledger more fits into the file: one is begun at a power cut */
export function placeOf(number: number, seq: number): number {
  if (number > LEDGERS_MAX || seq >= PLACES) throw new RangeError(`no place ${number}:${seq}`)
  return number * PLACES + seq
}

export const seqOf = (place: number): number => place % PLACES

/** Appends lines as one segment; the caller holds the transaction, or lets it be one of its own. */
export function prepareSegment(db: Sqlite): (place: number, lines: string) => void {
  const insert = db.prepare('INSERT INTO segment (place, encoding, lines) VALUES (?, ?, ?)')
  return (place, lines) => void insert.run(place, ENCODING, lines)
}

/** Reads the segments of one ledger after another. */
export interface SegmentReader {
  /** The sequence number the next record gets. */
  nextSeq(number: number): number
  /** The segment that holds `seq`, or else the first one behind it. */
  at(number: number, seq: number): Segment | undefined
  /** The last segment below `place` of that ledger; with `holding`, the last one in which that text occurs. */
  before(number: number, place: number, holding: string | null): Segment | undefined
}

export function openSegments(db: Sqlite): SegmentReader {
  const columns = 'SELECT place, encoding, lines FROM segment WHERE'
  const above = db.prepare<unknown[], Segment>(`${columns} place >= ? AND place < ? ORDER BY place LIMIT 1`)
  const below = db.prepare<unknown[], Segment>(
    `${columns} place >= ? AND place < ? ORDER BY place DESC LIMIT 1`,
  )
  const holds = db.prepare<unknown[], Segment>(
    `${columns} place >= ? AND place < ? AND instr(lines, ?) > 0 ORDER BY place DESC LIMIT 1`,
  )
  const before: SegmentReader['before'] = (number, place, holding) =>
    holding === null ? below.get(placeOf(number, 0), place) : holds.get(placeOf(number, 0), place, holding)
  return {
    before,
    nextSeq(number) {
      const last = before(number, endOf(number), null)
      return last === undefined ? 0 : seqOf(last.place) + linesOf(last).length
    },
    at(number, seq) {
      const place = placeOf(number, seq)
      const last = before(number, place + 1, null)
      const holdsIt = last !== undefined && seqOf(last.place) + linesOf(last).length > seq
      return holdsIt ? last : above.get(place, endOf(number))
    },
  }
}

/** Behind the last place of a ledger. */
export const endOf = (number: number): number => placeOf(number, 0) + PLACES

/** The records of a segment, in order. */
export function linesOf({ place, encoding, lines }: Segment): Line[] {
  const first = seqOf(place)
  return lines.split('\n').map((text, index) => ({ seq: first + index, encoding, text }))
}

/** The records of a ledger from `fromSeq` on, one segment in memory at a time. */
export function* linesFrom(
  segments: SegmentReader,
  number: number,
  fromSeq: number,
): Generator<Line, void, undefined> {
  let from = fromSeq
  for (let next = segments.at(number, from); next !== undefined; next = segments.at(number, from)) {
    for (const line of linesOf(next)) {
      if (line.seq < from) continue
      from = line.seq + 1
      yield line
    }
  }
}

/**
 * The records of a ledger below a place, newest first, one segment in memory at a time.
 * @param holding only of segments in which that text occurs; null: of all
 */
export function* linesBackwards(
  segments: SegmentReader,
  number: number,
  { place, holding }: { place: number; holding: string | null },
): Generator<Line, void, undefined> {
  const seq = place === endOf(number) ? Number.POSITIVE_INFINITY : seqOf(place)
  let next = segments.before(number, place, holding)
  while (next !== undefined) {
    for (const line of linesOf(next).reverse()) if (line.seq < seq) yield line
    next = segments.before(number, next.place, holding)
  }
}

export const encodedOf = ({ encoding, text }: Line): EncodedRecord => ({
  encoding,
  bytes: Buffer.from(text, 'utf8'),
})

const HEAD =
  /^\{"kind":"(decided|ended)","at":\d+,"callId":("(?:[^"\\]|\\.)*"),"direction":"(egress|ingress)"/

/** Which call a line is about, without decoding it; undefined for what is no half of a call. */
export function headOf(
  text: string,
): { readonly kind: 'decided' | 'ended'; readonly key: string } | undefined {
  const [, kind, callId, direction] = HEAD.exec(text) ?? []
  if ((kind !== 'decided' && kind !== 'ended') || callId === undefined || direction === undefined)
    return undefined
  return { kind, key: keyOf(callId, direction) }
}

/** @param quotedId as it stands in a line */
export const keyOf = (quotedId: string, direction: string): string => `${direction} ${quotedId}`
