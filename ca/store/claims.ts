// What the claims of members after a restore (recovery.ts) mean for the rest of the store: serials withdrawn that it never saw, and
// certificates of the lost time, adopted when they show up.

import type { Sqlite } from '../../host/sqlite.js'
import { MeshError } from '../../mesh/errors.js'
import type { SpiffeId } from '../../mesh/spiffe-id.js'
import type { RevokedSerial } from '../../mesh/wire/feed.js'
import type { CrlEntry, Presented } from './model.js'
import type { CertificateRow, MemberRow } from './rows.js'

/** Leaves are back-dated by five minutes; instants in them are whole seconds. */
const BACK_DATED_MS = 300_000 + 1000
/** No leaf lives longer. */
const LEAF_MAX_MS = 7 * 86_400_000
/** In the place of the member that claims: no SPIFFE ID. */
export const BY_CA = 'ca'

/** Serials in force that this store has no certificate of. */
export function foreignSerials(db: Sqlite, alive: number): RevokedSerial[] {
  return db
    .prepare(
      `SELECT issuer, serial, MIN(id) AS id, MAX(expires_at) AS "expiresAt" FROM claims
       WHERE in_force_at IS NOT NULL AND serial IS NOT NULL AND expires_at > ?
         AND NOT EXISTS (SELECT 1 FROM certificates c WHERE c.serial = claims.serial)
       GROUP BY issuer, serial ORDER BY serial`,
    )
    .all(alive) as RevokedSerial[]
}

/** Lines of the revocation list of an issuer for those. */
export function foreignEntries(db: Sqlite, issuer: string, alive: number): CrlEntry[] {
  return db
    .prepare(
      `SELECT serial, MIN(in_force_at) AS "revokedAt", 'revoked' AS "revokedFor", NULL AS "reason" FROM claims
       WHERE issuer = ? AND in_force_at IS NOT NULL AND serial IS NOT NULL AND expires_at >= ?
         AND NOT EXISTS (SELECT 1 FROM certificates c WHERE c.serial = claims.serial)
       GROUP BY serial ORDER BY serial`,
    )
    .all(issuer, alive) as CrlEntry[]
}

/**
 * Remembers, after a restore, that an identity was withdrawn here: what it got in the lost time cannot be named and is not revived when
 * it comes back. It is not one of the claims that members make. Inside a transaction only.
 */
export function noteWithdrawn(db: Sqlite, id: SpiffeId, now: number): void {
  db.prepare(
    `INSERT INTO claims (object, claimed_by, id, claimed_at, in_force_at) SELECT ?, ?, ?, ?, ? FROM recovery
     WHERE NOT EXISTS (SELECT 1 FROM claims WHERE object = ? AND claimed_by = ?)`,
  ).run(id, BY_CA, id, now, now, id, BY_CA)
}

/**
 * Records a certificate of the lost time that shows up: signed by this CA (the caller has judged that), for a member that is
 * registered and not withdrawn, and the newest of its instance. So a mesh goes on renewing after a restore, without new tokens.
 * @returns false when it is not of that time, and so unknown
 * @throws MeshError AGENT_UNKNOWN | PEER_REVOKED | CLONE_SUSPECTED
 */
export function adopt(db: Sqlite, leaf: Presented): boolean {
  const { id, instanceId, issuer, serial, notBefore, notAfter } = leaf
  const state = db.prepare('SELECT * FROM recovery').get() as
    | { taken_at: number; restored_at: number }
    | undefined
  const isLost =
    instanceId !== '' &&
    state !== undefined &&
    notBefore >= state.taken_at - BACK_DATED_MS &&
    notBefore <= state.restored_at &&
    notAfter <= state.restored_at + LEAF_MAX_MS
  if (!isLost) return false
  // the one who has its key signs what he likes, of whatever time
  const stolen = db
    .prepare('SELECT 1 AS one FROM authorities WHERE issuer = ? AND revoked_at IS NOT NULL')
    .get(issuer)
  if (stolen !== undefined) throw new MeshError('PEER_REVOKED', `the CA that signed ${serial} was revoked`)
  const denied = db
    .prepare('SELECT 1 AS one FROM claims WHERE in_force_at IS NOT NULL AND object IN (?, ?)')
    .get(id, `${issuer}:${serial}`)
  if (denied !== undefined) throw new MeshError('PEER_REVOKED', `certificate ${serial} of ${id} was revoked`)
  const member = db.prepare('SELECT state FROM members WHERE id = ?').get(id) as MemberRow | undefined
  if (member === undefined)
    throw new MeshError('AGENT_UNKNOWN', `${id} was registered after the backup was taken`)
  if (member.state === 'revoked') throw new MeshError('PEER_REVOKED', `${id} was revoked`)
  // its own parent may not be known here: it falls with the newest that is
  const newest = db
    .prepare(
      'SELECT revoked_at FROM certificates WHERE instance_id = ? ORDER BY not_before DESC, issued_at DESC LIMIT 1',
    )
    .get(instanceId) as Pick<CertificateRow, 'revoked_at'> | undefined
  if ((newest?.revoked_at ?? null) !== null)
    throw new MeshError('PEER_REVOKED', `instance ${instanceId} of ${id} had its certificate revoked`)
  const newer = db
    .prepare('SELECT 1 AS one FROM certificates WHERE instance_id = ? AND (not_before > ? OR id <> ?)')
    .get(instanceId, notBefore, id)
  if (newer !== undefined)
    throw new MeshError('CLONE_SUSPECTED', `instance ${instanceId} of ${id} has a newer certificate`)
  record(db, leaf)
  return true
}

function record(db: Sqlite, leaf: Presented): void {
  const { id, instanceId, notBefore: issuedAt } = leaf
  db.prepare(
    `INSERT INTO instances (instance_id, id, is_client, created_at) SELECT ?, ?, 0, ?
     WHERE NOT EXISTS (SELECT 1 FROM instances WHERE instance_id = ?)`,
  ).run(instanceId, id, issuedAt, instanceId)
  db.prepare('UPDATE certificates SET superseded_at = ? WHERE instance_id = ? AND superseded_at IS NULL').run(
    issuedAt,
    instanceId,
  )
  db.prepare(
    `INSERT INTO certificates (serial, issuer, id, instance_id, parent_serial, public_key_hash, origin,
       not_before, not_after, issued_at, pem) VALUES (?, ?, ?, ?, NULL, ?, 'renewal', ?, ?, ?, ?)`,
  ).run(
    leaf.serial,
    leaf.issuer,
    id,
    instanceId,
    leaf.publicKeyHash,
    leaf.notBefore,
    leaf.notAfter,
    issuedAt,
    leaf.pem,
  )
  db.prepare(`UPDATE members SET state = 'enrolled' WHERE id = ? AND state = 'registered'`).run(id)
}
