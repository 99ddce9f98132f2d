// The CAs of this home and the rotation that is under way: every step is one transaction, so that whatever kills the process leaves
// it before a step or after it, never within.

import type { Sqlite } from '../../host/sqlite.js'
import { MeshError } from '../../mesh/errors.js'
import type { SpiffeId } from '../../mesh/spiffe-id.js'
import type { Position } from '../../mesh/wire/feed.js'
import type {
  Authority,
  AuthorityState,
  Awaited,
  NewAuthority,
  NewRotation,
  Rotation,
  RotationStore,
} from '../rotation/model.js'
import { DEFAULT_GRACE_SECONDS, GRACE_MAX_SECONDS } from './model.js'
import { advanceEpoch, transact } from './rows.js'

/** A peer's clock may be this slow: a certificate counts as alive that much longer. */
const SLOW_CLOCK_MS = 300_000

export function storeRotation(db: Sqlite): RotationStore {
  return {
    authorities: () => transact(db, () => authorities(db)),
    adoptAuthorities: (given) =>
      transact(db, () => {
        if (authorities(db).length > 0) return
        for (const each of given) insert(db, each, 'current')
      }),
    rotation: () => transact(db, () => rotation(db)),
    beginRotation: (wanted) => transact(db, () => begin(db, wanted)),
    stageAuthorities: (given, at) => transact(db, () => stage(db, given, at)),
    promoteAuthorities: (at) => transact(db, () => promote(db, at)),
    finishRotation: () => transact(db, () => finish(db)),
    announceAgain: () => transact(db, () => announceAgain(db)),
    acknowledgeRotation: (instanceId) =>
      transact(
        db,
        () =>
          void db
            .prepare(
              `INSERT INTO rotation_acks (instance_id) SELECT ? WHERE EXISTS (SELECT 1 FROM rotation)
               ON CONFLICT (instance_id) DO NOTHING`,
            )
            .run(instanceId),
      ),
    awaitedToAcknowledge: (now) =>
      transact(db, () =>
        awaited(db, 'c.instance_id NOT IN (SELECT instance_id FROM rotation_acks)', now).filter(
          ({ follows }) => follows,
        ),
      ),
    awaitedToRenew: (now) =>
      transact(db, () =>
        awaited(
          db,
          `c.issuer NOT IN (SELECT issuer FROM authorities WHERE usage = 'issuing' AND state = 'current')`,
          now,
        ),
      ),
    suspendedHolders: (now) => transact(db, () => suspendedHolders(db, now)),
    tokensOutstanding: (mintedBefore, now) =>
      transact(db, () => {
        const row = db
          .prepare(
            `SELECT MAX(expires_at) AS "until" FROM tokens
             WHERE created_at <= ? AND expires_at > ? AND redeemed_at IS NULL AND cancelled_at IS NULL`,
          )
          .get(mintedBefore, now) as { until: number | null }
        return row.until ?? 0
      }),
    retireIssuers: (now) => transact(db, () => retire(db, now)),
    forgetAuthority: (fingerprint) =>
      transact(
        db,
        () =>
          void db
            .prepare(`DELETE FROM authorities WHERE fingerprint = ? AND state = 'retired'`)
            .run(fingerprint),
      ),
  }
}

function suspendedHolders(db: Sqlite, now: number): SpiffeId[] {
  const rows = db
    .prepare(
      `SELECT m.id AS id FROM members m WHERE m.suspended_at IS NOT NULL AND m.state <> 'revoked'
         AND EXISTS (SELECT 1 FROM certificates c WHERE c.id = m.id AND c.revoked_for = 'suspended'
           AND c.superseded_at IS NULL AND c.not_after > ?) ORDER BY m.id`,
    )
    .all(now - GRACE_MAX_SECONDS * 1000) as { id: SpiffeId }[]
  return rows.map(({ id }) => id)
}

function authorities(db: Sqlite): Authority[] {
  return db
    .prepare(
      `SELECT fingerprint, usage, state, issuer, signed_by AS "signedBy", label, pem, cross_pem AS "crossPem",
         revoked_at AS "revokedAt" FROM authorities ORDER BY seq`,
    )
    .all() as Authority[]
}

interface RotationRow extends Omit<Rotation, 'compromised'> {
  compromised: number
}

function rotation(db: Sqlite): Rotation | undefined {
  const row = db
    .prepare(
      `SELECT id, kind, compromised, phase, started_at AS "startedAt", phase_at AS "phaseAt", epoch FROM rotation`,
    )
    .get() as RotationRow | undefined
  return row === undefined ? undefined : { ...row, compromised: row.compromised === 1 }
}

function insert(db: Sqlite, authority: NewAuthority, state: AuthorityState): void {
  const { fingerprint, usage, issuer, signedBy, label, pem, crossPem } = authority
  db.prepare(
    `INSERT INTO authorities (seq, fingerprint, usage, state, issuer, signed_by, label, pem, cross_pem)
     SELECT COALESCE(MAX(seq), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ? FROM authorities`,
  ).run(fingerprint, usage, state, issuer, signedBy, label, pem, crossPem)
}

function begin(db: Sqlite, { id, kind, compromised, at }: NewRotation): Rotation {
  const open = rotation(db)
  if (open === undefined) {
    db.prepare(
      `INSERT INTO rotation (one, id, kind, compromised, phase, started_at, phase_at)
       VALUES (1, ?, ?, ?, 'prepare', ?, ?)`,
    ).run(id, kind, compromised ? 1 : 0, at, at)
  } else if (open.phase === 'prepare') {
    // nobody was told anything yet: the new issuing key serves either kind
    db.prepare('UPDATE rotation SET kind = ?, compromised = ?').run(kind, compromised ? 1 : 0)
  } else if (open.kind === 'issuing' && kind === 'issuing' && compromised && open.phase !== 'renew') {
    // the theft was found while the key was being replaced anyway
    db.prepare('UPDATE rotation SET compromised = 1').run()
  } else if (open.kind !== kind || (compromised && !open.compromised)) {
    throw new MeshError('CA_ROTATION_RUNNING', `the rotation of the ${open.kind} CA has not ended`, {
      hint: `finish it first: troth ca rotate ${open.kind}${compromised ? ' --force' : ''}`,
    })
  }
  const begun = rotation(db)
  if (begun === undefined) throw new MeshError('STATE_UNREADABLE', 'the rotation was not written')
  return begun
}

function stage(db: Sqlite, given: readonly NewAuthority[], at: number): Position | undefined {
  if (rotation(db)?.phase !== 'prepare') return undefined
  for (const each of given) insert(db, each, 'next')
  const position = advanceEpoch(db)
  db.prepare(`UPDATE rotation SET phase = 'distribute', phase_at = ?, epoch = ?`).run(at, position.epoch)
  return position
}

function promote(db: Sqlite, at: number): Position | undefined {
  const open = rotation(db)
  if (open?.phase !== 'distribute') return undefined
  db.prepare(
    `UPDATE authorities SET state = 'previous' WHERE state = 'current' AND usage IN
       (SELECT usage FROM authorities WHERE state = 'next')`,
  ).run()
  // nobody can say which of the keys was stolen
  if (open.compromised)
    db.prepare(
      `UPDATE authorities SET revoked_at = ? WHERE usage = 'issuing' AND state = 'previous' AND revoked_at IS NULL`,
    ).run(at)
  db.prepare(`UPDATE authorities SET state = 'current' WHERE state = 'next'`).run()
  db.prepare(`UPDATE rotation SET phase = 'renew', phase_at = ?`).run(at)
  return advanceEpoch(db)
}

function announceAgain(db: Sqlite): Position {
  const position = advanceEpoch(db)
  db.prepare(`UPDATE rotation SET epoch = ? WHERE phase = 'distribute'`).run(position.epoch)
  db.prepare('DELETE FROM rotation_acks').run()
  return position
}

function finish(db: Sqlite): Position | undefined {
  const open = rotation(db)
  if (open?.phase !== 'renew') return undefined
  // without its root nothing of the old hierarchy is trusted; an issuing CA's leaves live on until retire() finds none
  if (open.kind === 'root')
    db.prepare(`UPDATE authorities SET state = 'retired' WHERE state = 'previous'`).run()
  db.prepare('DELETE FROM rotation').run()
  db.prepare('DELETE FROM rotation_acks').run()
  return advanceEpoch(db)
}

function retire(db: Sqlite, now: number): Position | undefined {
  const { changes } = db
    .prepare(
      // whoever stole a key makes leaves that no row knows of: that CA is named until its own certificate ends
      `UPDATE authorities SET state = 'retired' WHERE state = 'previous' AND usage = 'issuing' AND revoked_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM rotation)
         AND NOT EXISTS (SELECT 1 FROM certificates c WHERE c.issuer = authorities.issuer AND c.not_after > ?)`,
    )
    .run(now - SLOW_CLOCK_MS)
  return changes === 0 ? undefined : advanceEpoch(db)
}

interface AwaitedRow {
  id: SpiffeId
  instanceId: string
  notAfter: number
  graceSeconds: number
  isClient: number
  kind: string
}

/**
 * Instances by certificates that may still be in use: not withdrawn, not superseded (a successor that was never shown to the CA may never
 * have arrived), alive or renewable by their key.
 */
function awaited(db: Sqlite, condition: string, now: number): Awaited[] {
  const rows = db
    .prepare(
      `SELECT c.id AS id, c.instance_id AS "instanceId", MAX(c.not_after) AS "notAfter",
         COALESCE(m.grace_seconds, ${DEFAULT_GRACE_SECONDS}) AS "graceSeconds", i.is_client AS "isClient", m.kind AS kind
       FROM certificates c JOIN instances i ON i.instance_id = c.instance_id JOIN members m ON m.id = c.id
       WHERE c.not_after > ? AND c.superseded_at IS NULL AND c.revoked_at IS NULL AND c.origin <> 'server'
         AND m.state <> 'revoked' AND ${condition}
       GROUP BY c.id, c.instance_id, m.grace_seconds, i.is_client, m.kind ORDER BY c.id, c.instance_id`,
    )
    .all(now - GRACE_MAX_SECONDS * 1000) as AwaitedRow[]
  return rows
    .map(({ id, instanceId, notAfter, graceSeconds, isClient, kind }) => {
      // an operator's commands renew when they are run, and hear nothing in between
      const follows = isClient === 0 && kind !== 'operator'
      return { id, instanceId, until: notAfter + (isClient === 0 ? graceSeconds * 1000 : 0), follows }
    })
    .filter(({ until }) => until > now)
}
