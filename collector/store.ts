// The ledgers of the mesh: `<home>/collector/ledger.db`, append only, durable at each acknowledgement. Every method is one whole
// domain transaction and returns a promise, so that another database can stand behind it; nobody else sees a row.

import {
  COLLECTOR_TABLE_DDL,
  COLLECTOR_VIEW_DDL,
  type EncodedRecord,
  type KeyedRecord,
  prepareAppend,
} from '../host/audit-layout.js'
import { openSqlite } from '../host/sqlite.js'
import { MeshError } from '../mesh/errors.js'
import type { SpiffeId } from '../mesh/spiffe-id.js'

/** A continuation of one ledger, each record with its key. */
export interface Delivery {
  readonly ledgerId: string
  /** Who shipped it, by certificate. */
  readonly author: SpiffeId
  readonly firstSeq: number
  readonly records: readonly KeyedRecord[]
  /** ms since epoch. */
  readonly now: number
}

export interface Store {
  /**
   * The sequence number wanted next; 0 for a ledger never seen.
   * @throws MeshError AUDIT_FOREIGN when it belongs to another author
   */
  nextSeq(ledgerId: string, author: SpiffeId): Promise<number>
  /**
   * Appends what is new. Records that are here already must be the same, byte for byte.
   * @returns how many were new, and the sequence number wanted next; everything below is durable
   * @throws MeshError AUDIT_FOREIGN | AUDIT_SEQUENCE | AUDIT_UNAVAILABLE; nothing was changed
   */
  appendShipment(delivery: Delivery): Promise<{ readonly appended: number; readonly nextSeq: number }>
  /** Ledgers and records held. */
  counts(): Promise<{ readonly ledgers: number }>
  close(): Promise<void>
}

const MIGRATIONS = [
  `${COLLECTOR_TABLE_DDL}CREATE INDEX ledger_author ON ledger (author);`,
  COLLECTOR_VIEW_DDL,
]

/** Ledgers one author may begin: a new one needs a new state directory, or a power cut. */
const MAX_LEDGERS_PER_AUTHOR = 10_000

/** @throws MeshError STATE_UNREADABLE */
export function openStore(file: string): Store {
  const db = openSqlite({ file, migrations: MIGRATIONS, durability: 'power' })
  const appendAll = prepareAppend(db, 'stored_record')
  const authorOf = db.prepare<unknown[], { author: string }>('SELECT author FROM ledger WHERE ledger_id = ?')
  const begin = db.prepare('INSERT INTO ledger (ledger_id, author, created_at) VALUES (?, ?, ?)')
  const ledgersOf = db.prepare<unknown[], { ledgers: number }>(
    'SELECT count(*) AS ledgers FROM ledger WHERE author = ?',
  )
  const allLedgers = db.prepare<unknown[], { ledgers: number }>('SELECT count(*) AS ledgers FROM ledger')
  const next = db.prepare<unknown[], { next: number }>(
    'SELECT coalesce(max(seq) + 1, 0) AS next FROM stored_record WHERE ledger_id = ?',
  )
  const held = db.prepare<unknown[], EncodedRecord>(
    'SELECT encoding, bytes FROM stored_record WHERE ledger_id = ? AND seq = ?',
  )

  const nextSeq = (ledgerId: string, author: SpiffeId): number | undefined => {
    const owner = authorOf.get(ledgerId)?.author
    if (owner === undefined) return undefined
    if (owner !== author)
      throw new MeshError(
        'AUDIT_FOREIGN',
        `ledger ${ledgerId} was shipped by ${owner} before, not by ${author}`,
      )
    return next.get(ledgerId)?.next ?? 0
  }

  /** The place where the delivery goes on; a new ledger is begun. */
  const continueAt = ({ ledgerId, author, firstSeq, records, now }: Delivery): number => {
    const known = nextSeq(ledgerId, author)
    const wanted = known ?? 0
    if (firstSeq > wanted)
      throw new MeshError('AUDIT_SEQUENCE', `ledger ${ledgerId} continues at ${wanted}, not at ${firstSeq}`)
    if (known !== undefined || records.length === 0) return wanted
    if ((ledgersOf.get(author)?.ledgers ?? 0) >= MAX_LEDGERS_PER_AUTHOR)
      throw new MeshError('AUDIT_LIMIT', `${author} has begun ${MAX_LEDGERS_PER_AUTHOR} ledgers already`)
    begin.run(ledgerId, author, now)
    return wanted
  }
  const append = db.transaction((delivery: Delivery) => {
    const { ledgerId, firstSeq, records } = delivery
    const wanted = continueAt(delivery)
    const again = records.slice(0, wanted - firstSeq)
    for (const [index, { encoded }] of again.entries()) {
      const seq = firstSeq + index
      checkSame(held.get(ledgerId, seq), encoded, `record ${seq} of ledger ${ledgerId}`)
    }
    appendAll(ledgerId, wanted, records.slice(again.length))
    const after = Math.max(wanted, firstSeq + records.length)
    return { appended: after - wanted, nextSeq: after }
  })

  return {
    nextSeq: (ledgerId, author) => settled(() => nextSeq(ledgerId, author) ?? 0),
    appendShipment: (delivery) => settled(() => append(delivery)),
    counts: () => settled(() => ({ ledgers: allLedgers.get()?.ledgers ?? 0 })),
    close: () => settled(() => void db.close()),
  }
}

function checkSame(held: EncodedRecord | undefined, sent: EncodedRecord, what: string): void {
  if (held?.encoding !== sent.encoding || !held.bytes.equals(sent.bytes))
    throw new MeshError('AUDIT_SEQUENCE', `${what} is held already and was another one`, {
      hint: 'somebody changed a ledger after it was shipped: look into both copies',
    })
}

/** What SQLite throws means that nothing was written. */
function settled<T>(act: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    try {
      resolve(act())
    } catch (error) {
      reject(
        error instanceof MeshError
          ? error
          : new MeshError('AUDIT_UNAVAILABLE', 'the collector cannot write its store', { cause: error }),
      )
    }
  })
}
