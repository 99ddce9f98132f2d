// The SQL layout of audit records, a row each: the collector's store, the CA's audit, a sidecar's ledger of earlier builds. It must never hold a column that could
// disagree with the exact bytes of its record. The rest of each file's schema belongs to its owner.

import type { RecordKey } from '../mesh/audit-record.js'
import type { Sqlite, Statement } from './sqlite.js'

/** A record with the exact bytes it is stored, shipped and (later) hashed as. */
export interface EncodedRecord {
  readonly encoding: number
  readonly bytes: Buffer
}

/** `application_id` of the three kinds of file that hold records. */
export const SIDECAR_FILE = 0x74726f31
export const COLLECTOR_FILE = 0x74726f32
export const CA_FILE = 0x74726f33

/** Columns that are read out of the exact bytes, so that none can say anything else than what is shipped (and later hashed). */
const COLUMNS: Readonly<Record<string, readonly [type: 'TEXT' | 'INTEGER', path: string]>> = {
  direction: ['TEXT', '$.direction'],
  caller_id: ['TEXT', '$.caller.id'],
  caller_instance: ['TEXT', '$.caller.instance'],
  caller_serial: ['TEXT', '$.caller.serial'],
  caller_kind: ['TEXT', '$.callerKind'],
  callee_id: ['TEXT', '$.callee.id'],
  callee_instance: ['TEXT', '$.callee.instance'],
  callee_serial: ['TEXT', '$.callee.serial'],
  peer_id: ['TEXT', '$.peer.id'],
  self_id: ['TEXT', '$.self.id'],
  operation: ['TEXT', '$.operation'],
  scope: ['TEXT', '$.scope'],
  decision: ['TEXT', '$.decision'],
  reason: ['TEXT', '$.reason'],
  rule: ['TEXT', '$.rule'],
  grant_rule: ['TEXT', '$.grant'],
  policy_version: ['INTEGER', '$.policyVersion'],
  traceparent: ['TEXT', '$.traceparent'],
  outcome: ['TEXT', '$.outcome'],
  status: ['INTEGER', '$.status'],
  bytes_in: ['INTEGER', '$.bytesIn'],
  bytes_out: ['INTEGER', '$.bytesOut'],
  duration_us: ['INTEGER', '$.durationUs'],
  source: ['TEXT', '$.source'],
  count: ['INTEGER', '$.count'],
  event: ['TEXT', '$.event'],
  detail: ['TEXT', '$.detail'],
}

/** Of the CA's own actions; the other files never hold one. */
const CA_COLUMNS: typeof COLUMNS = { ...COLUMNS, who: ['TEXT', '$.who'], object: ['TEXT', '$.object'] }

const columnsDdl = (columns: typeof COLUMNS): string =>
  Object.entries(columns)
    .map(
      ([name, [type, path]]) =>
        `  ${name} ${type} GENERATED ALWAYS AS (json_extract(CAST(bytes AS TEXT), '${path}')) VIRTUAL,`,
    )
    .join('\n')

/** What the columns of a record select that are read out of its bytes, where these are the SQL expression `json`. */
export function recordColumns(json: string): string {
  const all = Object.entries(COLUMNS)
  return all.map(([name, [, path]]) => `json_extract(${json}, '${path}') AS ${name}`).join(',\n    ')
}

// Stored are the keys, what is indexed, and the bytes: 40 % less disk a row than storing all columns, and three times less than WITHOUT
// ROWID, whose rows are too wide for it. Where records come fast the generated columns cost too much: a STRICT table computes all at each insert.
const tableDdl = (columns: typeof COLUMNS): string => `
CREATE TABLE ledger (
  ledger_id TEXT PRIMARY KEY,
  author TEXT,
  created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE record (
  ledger_id TEXT NOT NULL REFERENCES ledger (ledger_id),
  seq INTEGER NOT NULL,
  kind TEXT NOT NULL,
  at INTEGER NOT NULL,
  call_id TEXT,
  encoding INTEGER NOT NULL,
  bytes BLOB NOT NULL,
${columnsDdl(columns)}
  PRIMARY KEY (ledger_id, seq)
) STRICT;
CREATE INDEX record_call ON record (call_id) WHERE call_id IS NOT NULL;
`

/** Migration 1 of a sidecar's ledger, before what is its own; audit-segments brings it up to date. */
export const SIDECAR_TABLE_DDL = `PRAGMA application_id = ${SIDECAR_FILE};${tableDdl(COLUMNS)}`
/** Migration 1 of the collector's store: many ledgers, so their records are also found by time. */
export const COLLECTOR_TABLE_DDL = `PRAGMA application_id = ${COLLECTOR_FILE};${tableDdl(COLUMNS)}CREATE INDEX record_at ON record (at);`

/**
 * Migration 2 of the collector's store: the table keeps what is stored, the view `record` reads the columns out of the bytes. An insert
 * costs half the CPU. No row is written anew, however large the file: a generated column is only a word of the schema.
 */
export const COLLECTOR_VIEW_DDL = `
ALTER TABLE record RENAME TO stored_record;
${Object.keys(COLUMNS)
  .map((name) => `ALTER TABLE stored_record DROP COLUMN ${name};`)
  .join('\n')}
CREATE VIEW record AS
  SELECT ledger_id, seq, kind, at, call_id, encoding, bytes,
    ${recordColumns('CAST(bytes AS TEXT)')}
  FROM stored_record;
`

const never = (act: 'UPDATE' | 'DELETE', table: string): string =>
  `CREATE TRIGGER ${table}_never_${act.toLowerCase()} BEFORE ${act} ON ${table}
   BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;`

/**
 * The CA's audit, beside its other tables: append-only for everybody who goes through SQL. What replaces a row (`INSERT OR REPLACE`) or
 * leaves a gap is no append either. Whoever owns the file can still change it: a trigger is a guard against mistakes and bugs.
 */
export const CA_TABLE_DDL = `PRAGMA application_id = ${CA_FILE};${tableDdl(CA_COLUMNS)}
CREATE INDEX record_at ON record (at);
${never('UPDATE', 'record')}${never('DELETE', 'record')}${never('UPDATE', 'ledger')}${never('DELETE', 'ledger')}
CREATE TRIGGER record_continues BEFORE INSERT ON record
WHEN NEW.seq <> (SELECT coalesce(max(seq) + 1, 0) FROM record WHERE ledger_id = NEW.ledger_id)
BEGIN SELECT RAISE(ABORT, 'the audit has no gaps'); END;
CREATE TRIGGER ledger_begins_once BEFORE INSERT ON ledger
WHEN EXISTS (SELECT 1 FROM ledger WHERE ledger_id = NEW.ledger_id)
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
`

/** A record beside what its bytes say of where it is found. */
export interface KeyedRecord {
  readonly key: RecordKey
  readonly encoded: EncodedRecord
}

/** Rows of one statement: to run one costs as much as some rows. */
const ROWS = 32

/**
 * The prepared INSERTs of records of one ledger that follow each other; the caller holds the transaction.
 * @param table where records are stored: the CA's `record` keeps the columns of builds before the view
 */
export function prepareAppend(
  db: Sqlite,
  table: 'record' | 'stored_record',
): (ledgerId: string, firstSeq: number, records: readonly KeyedRecord[]) => void {
  const insertOf = (rows: number): Statement =>
    db.prepare(
      `INSERT INTO ${table} (ledger_id, seq, kind, at, call_id, encoding, bytes)
       VALUES ${Array.from({ length: rows }, () => '(?, ?, ?, ?, ?, ?, ?)').join(', ')}`,
    )
  const [one, many] = [insertOf(1), insertOf(ROWS)]
  return (ledgerId, firstSeq, records) => {
    for (let from = 0; from < records.length; ) {
      const [insert, rows] = records.length - from < ROWS ? [one, 1] : [many, ROWS]
      const values: unknown[] = []
      for (const [index, { key, encoded }] of records.slice(from, from + rows).entries()) {
        const { kind, at, callId = null } = key
        values.push(ledgerId, firstSeq + from + index, kind, at, callId, encoded.encoding, encoded.bytes)
      }
      insert.run(values)
      from += rows
    }
  }
}
