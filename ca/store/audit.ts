// The CA's own audit: one record an action, in the format of every ledger, in the transaction of what it tells of. Appended only; the
// triggers of host/audit-layout refuse everything else. Each generation of the mesh has its own ledger: a CA that was restored from
// a backup must not go on where its lost successor went on.

import { encodeStrictly } from '../../host/audit-encode.js'
import { CA_TABLE_DDL, prepareAppend } from '../../host/audit-layout.js'
import type { Sqlite } from '../../host/sqlite.js'
import type { Action, Refusal } from '../../mesh/audit-record.js'
import { caId, type TrustDomain } from '../../mesh/spiffe-id.js'
import type { Actor } from '../actor.js'
import type { CaStore } from './model.js'
import { endingWith, transact } from './rows.js'

/** What was done, or refused (`reason` is not `OK`). */
export interface Done {
  readonly at: number
  /** E.g. `agent.add`. */
  readonly operation: string
  readonly object: string
  readonly detail: string | null
  /** `OK` or an error code. */
  readonly reason: string
}

const OBJECT_MAX = 2048
const DETAIL_MAX = 1024

/** The record of it; what a stranger may have written in it is cut and cleaned, so that it can always be stored. */
export function actionOf({ who, instance, serial, source }: Actor, done: Done): Action {
  const { at, operation, object, detail, reason } = done
  return {
    kind: 'action',
    at,
    who,
    caller: { id: who.startsWith('spiffe://') ? who : null, instance, serial },
    source,
    operation,
    object: plain(object, OBJECT_MAX),
    detail: detail === null ? null : plain(detail, DETAIL_MAX),
    decision: reason === 'OK' ? 'permit' : 'deny',
    reason,
  }
}

export function storeAudit(
  db: Sqlite,
  storeOn: (db: Sqlite) => CaStore,
): Pick<CaStore, 'record' | 'audited'> {
  return {
    record: (entry) => transact(db, () => append(db, entry)),
    audited: (entry, act) => act(storeOn(endingWith(db, (done) => append(db, entry(done as never))))),
  }
}

/** Inside a transaction only. */
function append(db: Sqlite, entry: Action | Refusal): void {
  const { generation, trust_domain: trustDomain } = db
    .prepare('SELECT generation, trust_domain FROM mesh')
    .get() as { generation: string; trust_domain: TrustDomain }
  const known = db.prepare('SELECT 1 AS one FROM ledger WHERE ledger_id = ?').get(generation)
  if (known === undefined) begin(db, { ledgerId: generation, author: caId(trustDomain), at: entry.at })
  const { seq } = db
    .prepare('SELECT coalesce(max(seq) + 1, 0) AS seq FROM record WHERE ledger_id = ?')
    .get(generation) as { seq: number }
  prepareAppend(db, 'record')(generation, seq, [{ key: entry, encoded: encodeStrictly(entry) }])
}

/** Ledgers of a file are told apart by when they began: never before the one before. */
function begin(db: Sqlite, { ledgerId, author, at }: { ledgerId: string; author: string; at: number }): void {
  const { last } = db.prepare('SELECT max(created_at) AS last FROM ledger').get() as { last: number | null }
  db.prepare('INSERT INTO ledger (ledger_id, author, created_at) VALUES (?, ?, ?)').run(
    ledgerId,
    author,
    last === null ? at : Math.max(at, last + 1),
  )
}

/** Without control characters (records are text of one line) and without half a surrogate pair. */
const plain = (text: string, max: number): string => text.slice(0, max).replace(/[\p{Cc}\p{Cs}]/gu, ' ')

/**
 * The migration from the table of actions that came before it: its rows become records, in their order. Their sources stood in
 * `who` (`token from 10.0.0.7`), their certificates nowhere.
 */
export const AUDIT_MIGRATION = `${CA_TABLE_DDL}
INSERT INTO ledger (ledger_id, author, created_at)
  SELECT generation, 'spiffe://' || trust_domain || '/ca', (SELECT min(at) FROM actions) FROM mesh
  WHERE EXISTS (SELECT 1 FROM actions);
INSERT INTO record (ledger_id, seq, kind, at, call_id, encoding, bytes)
  SELECT generation, row_number() OVER (ORDER BY a.seq) - 1, 'action', a.at, NULL, 1, CAST(json_object(
    'kind', 'action',
    'at', a.at,
    'who', CASE WHEN a.who = 'admin' THEN 'local-admin' WHEN a.who LIKE 'token from %' THEN 'join-token' ELSE a.who END,
    'caller', json_object(
      'id', CASE WHEN a.who LIKE 'spiffe://%' THEN a.who END, 'instance', NULL, 'serial', NULL),
    'source', CASE WHEN a.who LIKE 'token from %' THEN substr(a.who, 12, 64) END,
    'operation', a.what,
    'object', a.object,
    'detail', NULL,
    'decision', CASE WHEN a.outcome = 'OK' THEN 'permit' ELSE 'deny' END,
    'reason', a.outcome) AS BLOB)
  FROM actions a, mesh ORDER BY a.seq;
DROP TABLE actions;
`
