// One sidecar's ledger: `<dir>/ledger.db`, append only, synchronous. It owns ledgerId and sequence numbers, and nothing else may
// write the file. It never decides what to record, and never deletes.

import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { type EncodedRecord, prepareAppend, SIDECAR_TABLE_DDL } from '../../host/audit-layout.js'
import { openSqlite, type Sqlite } from '../../host/sqlite.js'
import { type AuditRecord, type Decided, decodeRecord } from '../../mesh/audit-record.js'
import { MeshError } from '../../mesh/errors.js'

export interface Ledger {
  /** The ledger that is being written; a UUID. */
  readonly ledgerId: string
  /** Every ledger in the file, oldest first; the last is `ledgerId`. */
  readonly ledgerIds: readonly string[]
  /** The sequence number the next record of that ledger gets. */
  nextSeq(ledgerId: string): number
  /** Stored records in order, from `fromSeq`, at most so many and so many bytes (but at least one when there is one). */
  read(ledgerId: string, fromSeq: number, max: { records: number; bytes: number }): EncodedRecord[]
  /** Runs after each commit. */
  onAppend(listener: () => void): void
  /** Runs when everything is written and nothing more will be, before the file is closed; it is waited for. */
  beforeClose(act: () => Promise<void>): void
}

export interface Entry {
  readonly record: AuditRecord
  readonly encoded: EncodedRecord
}

/** The recorder's side of the ledger. */
export interface LedgerOwner extends Ledger {
  /** Calls of an earlier run that have no end. */
  readonly unended: readonly Decided[]
  /** Bytes of the database; 0 when it is closed. */
  sizeBytes(): number
  /**
   * Appends all or nothing in one transaction. Below `settledSeq` every call has its end.
   * @throws what SQLite throws: the disk is full, `maxDiskBytes` is reached, an I/O error
   */
  append(entries: readonly Entry[], settledSeq: number): void
  /** Like `append`, within the fifth of `maxDiskBytes` that refusals may use; false when that is full. */
  appendRefusals(entries: readonly Entry[]): boolean
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
]

const REFUSAL_SHARE = 0.2
/** Keys, index entry and page overhead beside the bytes of a record; measured. */
const ROW_OVERHEAD_BYTES = 250
/** How stale the settled mark may be: what the next start reads at most besides the calls that ran. */
const SETTLE_EVERY = 512

/** @throws MeshError STATE_UNREADABLE; AUDIT_UNAVAILABLE when a new ledger cannot be begun */
export function openLedger({ dir, author, durability, maxDiskBytes, now }: LedgerOptions): LedgerOwner {
  const file = path.join(dir, 'ledger.db')
  const db = openSqlite({ file, migrations: MIGRATIONS, durability })
  try {
    boundDisk(db, maxDiskBytes)
    const { ledgerIds, unended } = begin(db, { author, durability, now })
    return own(db, { ledgerIds, unended, refusalMaxBytes: maxDiskBytes * REFUSAL_SHARE })
  } catch (error) {
    db.close()
    if (error instanceof MeshError) throw error
    throw new MeshError('AUDIT_UNAVAILABLE', `${file} cannot be written`, { cause: error })
  }
}

/**
 * SQLite itself refuses to grow beyond `maxDiskBytes`. For now the WAL is folded back on this thread, every 1000 pages: one fold
 * writes some 4 MB before calls go on. A worker with its own connection would take that off this thread, for the price
 * of a thread and its memory in every sidecar; which is better has not been measured.
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

/** Continues the last ledger, or begins one. */
function begin(
  db: Sqlite,
  { author, durability, now }: Pick<LedgerOptions, 'author' | 'durability' | 'now'>,
): { ledgerIds: readonly string[]; unended: readonly Decided[] } {
  const known = db
    .prepare<unknown[], { ledger_id: string; created_at: number }>(
      'SELECT ledger_id, created_at FROM ledger ORDER BY created_at, ledger_id',
    )
    .all()
  const run = db.prepare<unknown[], Run>('SELECT boot_id, clean, settled_seq FROM run').get()
  const boot = bootId()
  const last = known.at(-1)
  // Without fsync a power cut takes back records that the collector may have. A ledger that went on from there would contradict
  // what was shipped, so that one is left as it is and another begun. An unknown boot counts as another one.
  const cutShort = durability === 'process' && run?.clean === 0 && (boot === '' || run.boot_id !== boot)
  const continued = last === undefined || cutShort ? undefined : last.ledger_id
  const ledgerId = continued ?? randomUUID()
  db.transaction(() => {
    if (continued === undefined) {
      db.prepare('INSERT INTO ledger (ledger_id, author, created_at) VALUES (?, ?, ?)').run(
        ledgerId,
        author,
        Math.max(now, (last?.created_at ?? 0) + 1),
      )
      db.prepare('UPDATE run SET settled_seq = 0').run()
    }
    db.prepare('UPDATE run SET clean = 0, boot_id = ?').run(boot)
  })()
  return {
    ledgerIds: [...known.map((row) => row.ledger_id), ...(continued === undefined ? [ledgerId] : [])],
    unended: continued === undefined ? [] : unendedOf(db, ledgerId, run?.settled_seq ?? 0),
  }
}

function unendedOf(db: Sqlite, ledgerId: string, settledSeq: number): Decided[] {
  return db
    .prepare<unknown[], { encoding: number; bytes: Buffer }>(
      `SELECT d.encoding, d.bytes FROM record d WHERE d.ledger_id = ? AND d.seq >= ? AND d.kind = 'decided'
       AND NOT EXISTS (SELECT 1 FROM record e WHERE e.call_id = d.call_id AND e.ledger_id = d.ledger_id
         AND e.kind = 'ended' AND e.direction = d.direction AND e.seq > d.seq)
       ORDER BY d.seq`,
    )
    .all(ledgerId, settledSeq)
    .map(({ encoding, bytes }) => decodeRecord(bytes, encoding))
    .filter((record) => record.kind === 'decided')
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
  readonly ledgerIds: readonly string[]
  readonly unended: readonly Decided[]
  readonly refusalMaxBytes: number
}

function own(db: Sqlite, { ledgerIds, unended, refusalMaxBytes }: Begun): LedgerOwner {
  const ledgerId = ledgerIds.at(-1) ?? ''
  const appendOne = prepareAppend(db)
  const settle = db.prepare('UPDATE run SET settled_seq = ?')
  const spend = db.prepare('UPDATE run SET refusal_bytes = refusal_bytes + ?')
  const spent = db.prepare<unknown[], { refusal_bytes: number }>('SELECT refusal_bytes FROM run')
  const listeners: (() => void)[] = []
  const last: (() => Promise<void>)[] = []
  const lengths = lengthsOf(db, ledgerIds)
  let nextSeq = lengths.get(ledgerId) ?? 0
  let settledSeq = 0

  const insert = (entries: readonly Entry[]): void => {
    for (const [index, { record, encoded }] of entries.entries())
      appendOne(ledgerId, nextSeq + index, record, encoded)
  }
  const appendCalls = db.transaction((entries: readonly Entry[], settled: number) => {
    insert(entries)
    if (settled - settledSeq >= SETTLE_EVERY) settle.run(settled)
  })
  const appendCounted = db.transaction((entries: readonly Entry[], bytes: number) => {
    insert(entries)
    spend.run(bytes)
  })
  const committed = (entries: readonly Entry[]): void => {
    nextSeq += entries.length
    for (const listener of listeners) listener()
  }

  return {
    ledgerId,
    ledgerIds,
    unended,
    nextSeq: (of) => (of === ledgerId ? nextSeq : (lengths.get(of) ?? 0)),
    read: readerOf(db),
    onAppend: (listener) => void listeners.push(listener),
    beforeClose: (act) => void last.push(act),
    sizeBytes: () => (db.open ? sizeOf(db) : 0),
    append(entries, settled) {
      appendCalls(entries, settled)
      if (settled - settledSeq >= SETTLE_EVERY) settledSeq = settled
      committed(entries)
    },
    appendRefusals(entries) {
      const bytes = entries.reduce((sum, { encoded }) => sum + encoded.bytes.length + ROW_OVERHEAD_BYTES, 0)
      if ((spent.get()?.refusal_bytes ?? 0) + bytes > refusalMaxBytes) return false
      appendCounted(entries, bytes)
      committed(entries)
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

/** Lengths of the ledgers; only the last still grows. */
function lengthsOf(db: Sqlite, ledgerIds: readonly string[]): ReadonlyMap<string, number> {
  const length = db.prepare<unknown[], { next: number }>(
    'SELECT coalesce(max(seq) + 1, 0) AS next FROM record WHERE ledger_id = ?',
  )
  return new Map(ledgerIds.map((ledgerId) => [ledgerId, length.get(ledgerId)?.next ?? 0]))
}

function readerOf(db: Sqlite): Ledger['read'] {
  const from = db.prepare<unknown[], EncodedRecord>(
    'SELECT encoding, bytes FROM record WHERE ledger_id = ? AND seq >= ? ORDER BY seq LIMIT ?',
  )
  return (ledgerId, fromSeq, max) => {
    const records: EncodedRecord[] = []
    let size = 0
    for (const { encoding, bytes } of from.all(ledgerId, fromSeq, max.records)) {
      size += bytes.length
      if (records.length > 0 && size > max.bytes) break
      records.push({ encoding, bytes })
    }
    return records
  }
}

const sizeOf = (db: Sqlite): number =>
  (db.pragma('page_count', { simple: true }) as number) * (db.pragma('page_size', { simple: true }) as number)
