// The SQL layout of a sidecar's own ledger: what was committed together is one row, its records one line each. A row a group costs a
// fifth of a row a record; the view `record` shows them one by one. Nothing but the exact bytes is stored.

import { ENCODING } from '../mesh/audit-record.js'
import { recordColumns } from './audit-layout.js'
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
    json_extract(line.value, '$.kind') AS kind,
    json_extract(line.value, '$.at') AS at,
    json_extract(line.value, '$.callId') AS call_id,
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

/** Records of one ledger that follow each other, as they are stored: UTF-8, one a line. */
export interface Stretch {
  readonly firstSeq: number
  readonly encoding: number
  readonly lines: Buffer
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
  /** From `seq` on at most so many records, and no more segments than hold so many bytes; undefined when there is none. Not decoded. */
  stretch(number: number, seq: number, max: { records: number; bytes: number }): Stretch | undefined
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
  const starts = db.prepare<unknown[], { place: number | null }>(
    'SELECT max(place) AS place FROM segment WHERE place >= ? AND place <= ?',
  )
  const stored = db.prepare<unknown[], Stored>(
    'SELECT place, encoding, CAST(lines AS BLOB) AS bytes FROM segment WHERE place >= ? AND place < ? ORDER BY place LIMIT 1',
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
    stretch(number, seq, max) {
      const start = starts.get(placeOf(number, 0), placeOf(number, seq))?.place ?? placeOf(number, seq)
      return stretchOf(storedFrom(stored, start, endOf(number)), seq, max)
    },
  }
}

/** One statement, run again and again: what Statement.iterate() makes aborts the process when it is collected (host/sqlite.ts). */
function* storedFrom(
  stored: { get(from: number, to: number): Stored | undefined },
  from: number,
  to: number,
): Generator<Stored, void, undefined> {
  for (let next = stored.get(from, to); next !== undefined; next = stored.get(next.place + 1, to)) yield next
}

interface Stored {
  readonly place: number
  readonly encoding: number
  readonly bytes: Buffer
}

function stretchOf(
  segments: Iterable<Stored>,
  seq: number,
  max: { records: number; bytes: number },
): Stretch | undefined {
  const parts: Buffer[] = []
  let [firstSeq, encoding, size, next] = [seq, 0, 0, seq]
  for (const segment of segments) {
    const isFirst = parts.length === 0
    const at = seqOf(segment.place)
    if (!isFirst && (at !== next || segment.encoding !== encoding || size + segment.bytes.length > max.bytes))
      break
    const { bytes, count } = cut(segment.bytes, Math.max(0, next - at), max.records - (next - firstSeq))
    if (count === 0) continue
    if (isFirst) {
      encoding = segment.encoding
      firstSeq = Math.max(seq, at)
      next = firstSeq
    } else parts.push(LINE_END)
    parts.push(bytes)
    size += segment.bytes.length
    next += count
    if (next - firstSeq >= max.records) break
  }
  return parts.length === 0 ? undefined : { firstSeq, encoding, lines: Buffer.concat(parts) }
}

const LINE_END = Buffer.from('\n')

/** At most `take` lines, one at least, behind the first `skip`. */
function cut(lines: Buffer, skip: number, take: number): { bytes: Buffer; count: number } {
  let from = 0
  for (let skipped = 0; skipped < skip; skipped++) {
    const end = lines.indexOf(LINE_END, from)
    if (end < 0) return { bytes: lines.subarray(0, 0), count: 0 }
    from = end + 1
  }
  let to = from
  for (let count = 1; ; count++) {
    const end = lines.indexOf(LINE_END, to)
    if (end < 0) return { bytes: lines.subarray(from), count }
    if (count >= take) return { bytes: lines.subarray(from, end), count }
    to = end + 1
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
