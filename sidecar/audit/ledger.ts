// One sidecar's ledger: `<dir>/ledger.db`, append only, synchronous. It owns ledgerId and sequence numbers, and nothing else may
// write the file. It never decides what to record, and never deletes.

import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { SIDECAR_TABLE_DDL } from '../../host/audit-layout.js'
import {
  headOf,
  linesFrom,
  openSegments,
  placeOf,
  prepareSegment,
  SEGMENTS_DDL,
  type SegmentReader,
  type Stretch,
} from '../../host/audit-segments.js'
import { openSqlite, type Sqlite } from '../../host/sqlite.js'
import { type Decided, decodeRecord } from '../../mesh/audit-record.js'
import { MeshError } from '../../mesh/errors.js'

export interface Ledger {
  /** The ledger that is being written; a UUID. */
  readonly ledgerId: string
  /** Every ledger in the file, oldest first; the last is `ledgerId`. */
  readonly ledgerIds: readonly string[]
  /** The sequence number the next record of that ledger gets. */
  nextSeq(ledgerId: string): number
  /** Stored records from `fromSeq` on, at most so many and about so many bytes (but at least one when there is one). */
  read(ledgerId: string, fromSeq: number, max: { records: number; bytes: number }): Stretch | undefined
  /** Runs after each commit. */
  onAppend(listener: () => void): void
  /** Runs when everything is written and nothing more will be, before the file is closed; it is waited for. */
  beforeClose(act: () => Promise<void>): void
}

/** The recorder's side of the ledger. */
export interface LedgerOwner extends Ledger {
  /** Calls of an earlier run that have no end. */
  readonly unended: readonly Decided[]
  /** Bytes of the database; 0 when it is closed. */
  sizeBytes(): number
  /**
   * Appends lines (one record each) all or nothing, in one transaction. Below `settledSeq` every call has its end.
   * @throws what SQLite throws: the disk is full, `maxDiskBytes` is reached, an I/O error
   */
  append(lines: readonly string[], settledSeq: number): void
  /** Like `append`, within the fifth of `maxDiskBytes` that refusals may use; false when that is full. */
  appendRefusal(line: string): boolean
  /** `clean`: everything that happened is written. @throws what SQLite throws; it is closed all the same */
  close(clean: boolean): Promise<void>
}

export interface LedgerOptions {
  readonly dir: string
  /** SPIFFE ID of the sidecar; null before it is known. */
  readonly author: string | null
  readonly durability: 'power' | 'process'
  readonly maxDiskBytes: number
  readonly now: number
}

const MIGRATIONS = [
  `${SIDECAR_TABLE_DDL}
  CREATE TABLE run (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    boot_id TEXT NOT NULL,
    clean INTEGER NOT NULL,
    settled_seq INTEGER NOT NULL,
    refusal_bytes INTEGER NOT NULL
  ) STRICT;
  INSERT INTO run (one, boot_id, clean, settled_seq, refusal_bytes) VALUES (1, '', 1, 0, 0);`,
  SEGMENTS_DDL,
]

const REFUSAL_SHARE = 0.2
/** Key and page overhead beside the bytes of a record that is committed alone; measured. */
const ROW_OVERHEAD_BYTES = 40
/** Characters of one segment: what a reader holds in memory at once, beside one record. */
const SEGMENT_MAX = 256 * 1024
/** How stale the settled mark may be: what the next start reads at most besides the calls that ran. */
const SETTLE_EVERY = 512

/** @throws MeshError STATE_UNREADABLE; AUDIT_UNAVAILABLE when a new ledger cannot be begun */
export function openLedger({ dir, author, durability, maxDiskBytes, now }: LedgerOptions): LedgerOwner {
  const file = path.join(dir, 'ledger.db')
  const db = openSqlite({ file, migrations: MIGRATIONS, durability })
  try {
    boundDisk(db, maxDiskBytes)
    const begun = begin(db, { author, durability, now })
    return own(db, { ...begun, refusalMaxBytes: maxDiskBytes * REFUSAL_SHARE })
  } catch (error) {
    db.close()
    if (error instanceof MeshError) throw error
    throw new MeshError('AUDIT_UNAVAILABLE', `${file} cannot be written`, { cause: error })
  }
}

/**
 * SQLite itself refuses to grow beyond `maxDiskBytes`. The WAL is folded back on this thread, every 1000 pages: measured, one fold stops
 * calls for 10 ms (4 MB, half of it fsync), once in some 4000 calls, and takes 1 us CPU a call. A worker with its own connection took
 * as much CPU and 11 MB of memory; and while calls go on it never finds the WAL at rest, which so grows without end (232 MB of
 * WAL for 150 MB of records). Folds at 250 or 4000 pages stop calls for as long in all, or longer.
 */
function boundDisk(db: Sqlite, maxDiskBytes: number): void {
  const pageSize = db.pragma('page_size', { simple: true }) as number
  db.pragma(`max_page_count = ${Math.max(1, Math.floor(maxDiskBytes / pageSize))}`)
  db.pragma('wal_autocheckpoint = 1000')
  db.pragma(`journal_size_limit = ${16 * 1024 * 1024}`)
}

interface Run {
  readonly boot_id: string
  readonly clean: number
  readonly settled_seq: number
}

interface Known {
  readonly ledger_id: string
  readonly created_at: number
  readonly number: number
}

/** Continues the last ledger, or begins one. */
function begin(
  db: Sqlite,
  { author, durability, now }: Pick<LedgerOptions, 'author' | 'durability' | 'now'>,
): Pick<Begun, 'numbers' | 'unended'> {
  const known = db
    .prepare<unknown[], Known>('SELECT ledger_id, created_at, number FROM ledger ORDER BY number')
    .all()
  const run = db.prepare<unknown[], Run>('SELECT boot_id, clean, settled_seq FROM run').get()
  const boot = bootId()
  const last = known.at(-1)
  // Without fsync a power cut takes back records that the collector may have. A ledger that went on from there would contradict
  // what was shipped, so that one is left as it is and another begun. An unknown boot counts as another one.
  const cutShort = durability === 'process' && run?.clean === 0 && (boot === '' || run.boot_id !== boot)
  const continued = cutShort ? undefined : last
  const current = continued ?? {
    ledger_id: randomUUID(),
    created_at: Math.max(now, (last?.created_at ?? 0) + 1),
    number: (last?.number ?? 0) + 1,
  }
  placeOf(current.number, 0)
  db.transaction(() => {
    if (continued === undefined) {
      db.prepare('INSERT INTO ledger (ledger_id, author, created_at, number) VALUES (?, ?, ?, ?)').run(
        current.ledger_id,
        author,
        current.created_at,
        current.number,
      )
      db.prepare('UPDATE run SET settled_seq = 0').run()
    }
    db.prepare('UPDATE run SET clean = 0, boot_id = ?').run(boot)
  })()
  const all = continued === undefined ? [...known, current] : known
  return {
    numbers: new Map(all.map((row) => [row.ledger_id, row.number])),
    unended:
      continued === undefined ? [] : unendedOf(openSegments(db), current.number, run?.settled_seq ?? 0),
  }
}

/** Reads on from where every call has its end; what is decided there and not ended is open. */
function unendedOf(segments: SegmentReader, number: number, settledSeq: number): Decided[] {
  const open = new Map<string, Decided>()
  for (const { text, encoding } of linesFrom(segments, number, settledSeq)) {
    const head = headOf(text)
    if (head?.kind === 'ended') open.delete(head.key)
    if (head?.kind !== 'decided') continue
    const record = decodeRecord(Buffer.from(text, 'utf8'), encoding)
    if (record.kind === 'decided') open.set(head.key, record)
  }
  return [...open.values()]
}

/** Tells a restart of the host from one of the process; empty where the system does not say. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}

interface Begun {
  /** Of each ledger, by id, oldest first. */
  readonly numbers: ReadonlyMap<string, number>
  readonly unended: readonly Decided[]
  readonly refusalMaxBytes: number
}

function own(db: Sqlite, { numbers, unended, refusalMaxBytes }: Begun): LedgerOwner {
  const ledgerIds = [...numbers.keys()]
  const ledgerId = ledgerIds.at(-1) ?? ''
  const segments = openSegments(db)
  const store = openAppender(db, numbers.get(ledgerId) ?? 0)
  const settle = db.prepare('UPDATE run SET settled_seq = ?')
  const spend = db.prepare('UPDATE run SET refusal_bytes = refusal_bytes + ?')
  const spent = db.prepare<unknown[], { refusal_bytes: number }>('SELECT refusal_bytes FROM run')
  const listeners: (() => void)[] = []
  const last: (() => Promise<void>)[] = []
  const lengths = new Map([...numbers].map(([id, number]) => [id, segments.nextSeq(number)]))
  let nextSeq = lengths.get(ledgerId) ?? 0
  let settledSeq = 0

  const appendMarked = db.transaction((lines: readonly string[], settled: number) => {
    store(nextSeq, lines)
    settle.run(settled)
  })
  const appendCounted = db.transaction((line: string, bytes: number) => {
    store(nextSeq, [line])
    spend.run(bytes)
  })
  const committed = (count: number): void => {
    nextSeq += count
    for (const listener of listeners) listener()
  }

  return {
    ledgerId,
    ledgerIds,
    unended,
    nextSeq: (of) => (of === ledgerId ? nextSeq : (lengths.get(of) ?? 0)),
    read: (of, fromSeq, max) => segments.stretch(numbers.get(of) ?? 0, fromSeq, max),
    onAppend: (listener) => void listeners.push(listener),
    beforeClose: (act) => void last.push(act),
    sizeBytes: () => (db.open ? sizeOf(db) : 0),
    append(lines, settled) {
      if (settled - settledSeq < SETTLE_EVERY) store(nextSeq, lines)
      else {
        appendMarked(lines, settled)
        settledSeq = settled
      }
      committed(lines.length)
    },
    appendRefusal(line) {
      const bytes = Buffer.byteLength(line) + ROW_OVERHEAD_BYTES
      if ((spent.get()?.refusal_bytes ?? 0) + bytes > refusalMaxBytes) return false
      appendCounted(line, bytes)
      committed(1)
      return true
    },
    async close(clean) {
      try {
        for (const act of last) await act()
        if (clean) db.prepare('UPDATE run SET clean = 1, settled_seq = ?').run(nextSeq)
      } finally {
        db.close()
      }
    },
  }
}

/** One statement, and so one transaction, for what fits into a segment; a crowd is cut into several in one transaction. */
function openAppender(db: Sqlite, number: number): (firstSeq: number, lines: readonly string[]) => void {
  const insert = prepareSegment(db)
  const insertAll = db.transaction((firstSeq: number, lines: readonly string[]) => {
    let from = 0
    while (from < lines.length) {
      const first = from
      let length = 0
      do {
        length += (lines[from]?.length ?? 0) + 1
        from += 1
      } while (from < lines.length && length + (lines[from]?.length ?? 0) <= SEGMENT_MAX)
      insert(placeOf(number, firstSeq + first), lines.slice(first, from).join('\n'))
    }
  })
  return (firstSeq, lines) => {
    if (lines.length === 0) return
    const text = lines.length === 1 ? (lines[0] ?? '') : lines.join('\n')
    if (text.length <= SEGMENT_MAX) insert(placeOf(number, firstSeq), text)
    else insertAll(firstSeq, lines)
  }
}

const sizeOf = (db: Sqlite): number =>
  (db.pragma('page_count', { simple: true }) as number) * (db.pragma('page_size', { simple: true }) as number)
