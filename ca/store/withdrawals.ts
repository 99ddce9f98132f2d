// What is withdrawn: members revoked, suspended, removed, and single certificates; and how a member comes back. What was once
// withdrawn is never valid again: coming back lifts the ban on a name and revives no certificate.

import { randomUUID } from 'node:crypto'
import type { Sqlite } from '../../host/sqlite.js'
import { MeshError } from '../../mesh/errors.js'
import type { SpiffeId } from '../../mesh/spiffe-id.js'
import { foreignSerials, noteWithdrawn } from './claims.js'
import { liftBan, requireMember } from './members.js'
import {
  type CaStore,
  GRACE_MAX_SECONDS,
  type RevocationScope,
  type Revoked,
  type RevokedFor,
} from './model.js'
import { advanceEpoch, type CertificateRow, type MemberRow, memberOf, revokedOf, transact } from './rows.js'

/** A member's clock may be this slow (mesh-wide tolerance, see profile.ts): a certificate counts as alive that much longer. */
const SLOW_CLOCK_MS = 300_000
/** Longer than the key of any expired certificate renews. */
const RENEWABLE_MS = GRACE_MAX_SECONDS * 1000 + SLOW_CLOCK_MS

/** The longest life of a leaf. */
const LEAF_MAX_MS = 7 * 86_400_000 + SLOW_CLOCK_MS

type Withdrawals = Pick<
  CaStore,
  | 'revokeMember'
  | 'revokeCertificate'
  | 'restoreMember'
  | 'suspendMember'
  | 'resumeMember'
  | 'removeMember'
  | 'withdrawn'
>

export function storeWithdrawals(db: Sqlite): Withdrawals {
  return {
    revokeMember: (key, reason, now) =>
      transact(db, () => {
        const member = requireMember(db, key)
        if (member.state === 'revoked')
          throw new MeshError('AGENT_REVOKED', `${key.kind} ${key.name} was revoked already`)
        return revoke(db, member, { reason, revokedFor: 'revoked', now })
      }),
    revokeCertificate: (serial, how, now) =>
      transact(db, () => revokeCertificate(db, serial, { ...how, now })),
    restoreMember: (key) =>
      transact(db, () => {
        const { id } = requireMember(db, key)
        const row = db
          // a new registration: a token that was being minted or spent as the revocation came is void
          .prepare(
            `UPDATE members SET state = 'registered', registration = ? WHERE id = ? AND state = 'revoked' RETURNING *`,
          )
          .get(randomUUID(), id) as MemberRow | undefined
        return { member: memberOf(row ?? requireMember(db, key)), position: liftBan(db, id) }
      }),
    suspendMember: (key, reason, now) =>
      transact(db, () => {
        const member = requireMember(db, key)
        if (member.state === 'revoked')
          throw new MeshError('AGENT_REVOKED', `${key.kind} ${key.name} was revoked`)
        if (member.suspended_at !== null)
          throw new MeshError('AGENT_SUSPENDED', `${key.kind} ${key.name} is suspended already`)
        db.prepare('UPDATE members SET suspended_at = ? WHERE id = ?').run(now, member.id)
        return withdrawAll(db, member.id, { reason, revokedFor: 'suspended', now })
      }),
    resumeMember: (key) =>
      transact(db, () => {
        const { id, state } = requireMember(db, key)
        if (state === 'revoked') throw new MeshError('AGENT_REVOKED', `${key.kind} ${key.name} was revoked`)
        db.prepare('UPDATE members SET suspended_at = NULL WHERE id = ?').run(id)
        return { member: memberOf(requireMember(db, key)), position: liftBan(db, id) }
      }),
    removeMember: (key, now) =>
      transact(db, () => {
        const member = requireMember(db, key)
        const revoked = revoke(db, member, { reason: 'removed', revokedFor: 'removed', now })
        db.prepare('DELETE FROM members WHERE id = ?').run(member.id)
        return revoked
      }),
    withdrawn: (now) => transact(db, () => withdrawn(db, now)),
  }
}

interface Withdrawal {
  readonly reason: string
  readonly revokedFor: RevokedFor
  readonly now: number
}

/** Revokes for good. Inside a transaction only. */
export function revoke(db: Sqlite, { id, registration }: MemberRow, withdrawal: Withdrawal): Revoked {
  db.prepare(`UPDATE members SET state = 'revoked', suspended_at = NULL WHERE id = ?`).run(id)
  db.prepare('UPDATE tokens SET cancelled_at = ? WHERE registration = ? AND redeemed_at IS NULL').run(
    withdrawal.now,
    registration,
  )
  return withdrawAll(db, id, withdrawal)
}

/** Bans the identity, and withdraws its certificates and endpoints. What was suspended can still be revoked for good. */
function withdrawAll(db: Sqlite, id: SpiffeId, { reason, revokedFor, now }: Withdrawal): Revoked {
  db.prepare('DELETE FROM revoked_ids WHERE id = ?').run(id)
  db.prepare('INSERT INTO revoked_ids (id, reason, revoked_at) VALUES (?, ?, ?)').run(id, reason, now)
  noteWithdrawn(db, id, now)
  // also those that have expired: within the grace time their keys still renew
  const rows = db
    .prepare(
      `UPDATE certificates SET revoked_at = COALESCE(revoked_at, ?), revoked_reason = ?, revoked_for = ?
       WHERE id = ? AND not_after > ? AND (revoked_at IS NULL OR revoked_for = 'suspended') RETURNING *`,
    )
    .all(now, reason, revokedFor, id, now - RENEWABLE_MS) as CertificateRow[]
  const { changes } = db.prepare('DELETE FROM endpoints WHERE id = ?').run(id)
  return {
    position: advanceEpoch(db),
    ids: [id],
    serials: rows.filter(({ not_after }) => not_after > now - SLOW_CLOCK_MS).map(revokedOf),
    endpointsChanged: changes > 0,
  }
}

/**
 * A certificate, and as `lineage` everything renewed from it: whoever held its key holds what came of it. What comes later cannot
 * be: a renewal is recorded in one transaction that looks at its parent.
 */
function revokeCertificate(
  db: Sqlite,
  serial: string,
  { scope, reason, now }: { scope: RevocationScope; reason: string; now: number },
): Revoked {
  const first = db.prepare('SELECT * FROM certificates WHERE serial = ?').get(serial) as
    | CertificateRow
    | undefined
  if (first === undefined) throw new MeshError('CERT_UNKNOWN', `no certificate ${serial} was issued`)
  const rows = scope === 'only' ? [first] : lineageOf(db, first)
  const mark = db.prepare(
    `UPDATE certificates SET revoked_at = COALESCE(revoked_at, ?), revoked_reason = ?, revoked_for = 'revoked'
     WHERE serial = ? AND (revoked_at IS NULL OR revoked_for = 'suspended')`,
  )
  for (const each of rows) mark.run(now, reason, each.serial)
  return {
    position: advanceEpoch(db),
    ids: [],
    serials: rows.map(revokedOf),
    endpointsChanged: dropEndpoints(db, first.instance_id),
  }
}

function lineageOf(db: Sqlite, first: CertificateRow): CertificateRow[] {
  const next = db.prepare('SELECT * FROM certificates WHERE parent_serial = ?')
  // adopted after a restore (claims.ts): a renewal whose parent is not known, but its instance is
  const adopted = db.prepare(
    `SELECT * FROM certificates WHERE instance_id = ? AND origin = 'renewal' AND parent_serial IS NULL
       AND not_before > ? ORDER BY not_before LIMIT 1`,
  )
  const lineage: CertificateRow[] = []
  let row: CertificateRow | undefined = first
  while (row !== undefined) {
    lineage.push(row)
    row = (next.get(row.serial) ?? adopted.get(row.instance_id, row.not_before)) as CertificateRow | undefined
  }
  return lineage
}

/** An endpoint goes with the last certificate that could have announced it. */
function dropEndpoints(db: Sqlite, instanceId: string): boolean {
  const { changes } = db
    .prepare(
      `DELETE FROM endpoints WHERE instance_id = ? AND NOT EXISTS (
         SELECT 1 FROM certificates WHERE instance_id = ? AND revoked_at IS NULL AND superseded_at IS NULL)`,
    )
    .run(instanceId, instanceId)
  return changes > 0
}

function withdrawn(db: Sqlite, now: number): Awaited<ReturnType<CaStore['withdrawn']>> {
  const alive = now - SLOW_CLOCK_MS
  const position = db.prepare('SELECT generation, epoch FROM mesh').get() as {
    generation: string
    epoch: number
  }
  // a removed identity whose last certificate is long dead needs no mention: nothing of it can be shown any more
  const ids = db
    .prepare(
      `SELECT r.id AS id FROM revoked_ids r WHERE EXISTS (SELECT 1 FROM members m WHERE m.id = r.id)
         OR EXISTS (SELECT 1 FROM certificates c WHERE c.id = r.id AND c.not_after > ?)
         OR EXISTS (SELECT 1 FROM claims l WHERE l.object = r.id AND l.in_force_at > ?) ORDER BY r.id`,
    )
    .all(alive, now - LEAF_MAX_MS) as { id: SpiffeId }[]
  const rows = db
    .prepare('SELECT * FROM certificates WHERE revoked_at IS NOT NULL AND not_after > ? ORDER BY serial')
    .all(alive) as CertificateRow[]
  return {
    position,
    ids: ids.map(({ id }) => id),
    serials: [...rows.map(revokedOf), ...foreignSerials(db, alive)],
  }
}
