// Rows of the CA's database, and how they become the words of the store. What this database holds was written by this
// program, so a row is taken at its word.

import type { Sqlite } from '../../host/sqlite.js'
import type { AgentName, NamedKind, SpiffeId } from '../../mesh/spiffe-id.js'
import type { Position, RevokedSerial } from '../../mesh/wire/feed.js'
import type { Certificate, Member, OnClone, Origin, RevokedFor } from './model.js'

export interface MemberRow {
  kind: NamedKind
  name: AgentName
  id: SpiffeId
  registration: string
  /** Also while it is suspended. */
  state: Exclude<Member['state'], 'suspended'>
  ttl_seconds: number | null
  address: string | null
  grace_seconds: number | null
  on_clone: OnClone | null
  suspended_at: number | null
  created_at: number
}

export interface CertificateRow {
  serial: string
  issuer: string
  id: SpiffeId
  instance_id: string
  parent_serial: string | null
  public_key_hash: string
  origin: Origin
  not_before: number
  not_after: number
  issued_at: number
  revoked_at: number | null
  revoked_reason: string | null
  revoked_for: RevokedFor | null
  superseded_at: number | null
  pem: string
}

export const memberOf = (row: MemberRow): Member => ({
  kind: row.kind,
  name: row.name,
  id: row.id,
  registration: row.registration,
  state: row.suspended_at === null ? row.state : 'suspended',
  createdAt: row.created_at,
  ttlSeconds: row.ttl_seconds,
  address: row.address,
  graceSeconds: row.grace_seconds,
  onClone: row.on_clone,
})

export const certificateOf = (row: CertificateRow): Certificate => ({
  serial: row.serial,
  issuer: row.issuer,
  id: row.id,
  instanceId: row.instance_id,
  parentSerial: row.parent_serial,
  publicKeyHash: row.public_key_hash,
  origin: row.origin,
  notBefore: row.not_before,
  notAfter: row.not_after,
  issuedAt: row.issued_at,
  revokedAt: row.revoked_at,
  revokedReason: row.revoked_reason,
  revokedFor: row.revoked_at === null ? null : (row.revoked_for ?? 'revoked'),
  supersededAt: row.superseded_at,
  pem: row.pem,
})

export const revokedOf = (row: CertificateRow): RevokedSerial => ({
  issuer: row.issuer,
  serial: row.serial,
  id: row.id,
  expiresAt: row.not_after,
})

/** Counts one change of what members see. Inside a transaction only. */
export function advanceEpoch(db: Sqlite): Position {
  return db.prepare('UPDATE mesh SET epoch = epoch + 1 RETURNING generation, epoch').get() as Position
}

/** What ends each transaction on a database, in it: the record of what it did. */
const ENDING = Symbol('ending')
type Ended = Sqlite & { [ENDING]?: (done: unknown) => void }

/** The same database; `ending` is called in each transaction on it, with the value that its work gave back. */
export function endingWith(db: Sqlite, ending: (done: unknown) => void): Sqlite {
  return Object.assign(Object.create(db) as Ended, { [ENDING]: ending })
}

/** `work` and its ending, for whoever holds a transaction. */
export function ended<T>(db: Sqlite, work: () => T): T {
  const done = work()
  ;(db as Ended)[ENDING]?.(done)
  return done
}

/** Runs `work` as one transaction, together with others of the same turn; its errors undo it alone and reject. */
export function transact<T>(db: Sqlite, work: () => T): Promise<T> {
  return db.transact(() => ended(db, work))
}
