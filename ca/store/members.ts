// The registry: names, their state and settings, and the withdrawal of whole identities.

import { randomUUID } from 'node:crypto'
import type { Sqlite } from '../../host/sqlite.js'
import { MeshError } from '../../mesh/errors.js'
import { namedId, type SpiffeId, type TrustDomain } from '../../mesh/spiffe-id.js'
import type { CaStore, MemberKey, Revoked } from './model.js'
import { advanceEpoch, type CertificateRow, type MemberRow, memberOf, revokedOf, transact } from './rows.js'

/** A member's clock may be this slow (mesh-wide tolerance, see profile.ts): a certificate counts as alive that much longer. */
const SLOW_CLOCK_MS = 300_000

type Members = Pick<
  CaStore,
  | 'register'
  | 'configure'
  | 'findMember'
  | 'listMembers'
  | 'revokeMember'
  | 'revokeCertificate'
  | 'restoreMember'
  | 'removeMember'
  | 'withdrawn'
>

export function storeMembers(db: Sqlite, trustDomain: TrustDomain): Members {
  return {
    register: (wanted, at) =>
      transact(db, () => {
        const known = findMember(db, wanted)
        if (known?.state === 'revoked')
          throw new MeshError('AGENT_REVOKED', `${wanted.kind} ${wanted.name} was revoked`)
        if (known !== undefined)
          throw new MeshError('AGENT_EXISTS', `${wanted.kind} ${wanted.name} is registered already`)
        const { kind, name, ttlSeconds, address } = wanted
        const id = namedId(trustDomain, kind, name)
        const row = db
          .prepare(
            `INSERT INTO members (kind, name, id, registration, state, ttl_seconds, address, created_at)
             VALUES (?, ?, ?, ?, 'registered', ?, ?, ?) RETURNING *`,
          )
          .get(kind, name, id, randomUUID(), ttlSeconds, address, at) as MemberRow
        return { member: memberOf(row), position: liftBan(db, id) }
      }),
    configure: ({ kind, name, ttlSeconds, address }) =>
      transact(db, () => {
        const row = db
          .prepare(
            `UPDATE members SET ttl_seconds = COALESCE(?, ttl_seconds), address = COALESCE(?, address)
             WHERE kind = ? AND name = ? RETURNING *`,
          )
          .get(ttlSeconds, address, kind, name) as MemberRow | undefined
        if (row === undefined) throw unknown({ kind, name })
        return memberOf(row)
      }),
    findMember: (key) =>
      transact(db, () => {
        const row = findMember(db, key)
        return row === undefined ? undefined : memberOf(row)
      }),
    listMembers: () =>
      transact(db, () =>
        (db.prepare('SELECT * FROM members ORDER BY kind, name').all() as MemberRow[]).map(memberOf),
      ),
    revokeMember: (key, reason, now) =>
      transact(db, () => {
        const member = requireMember(db, key)
        if (member.state === 'revoked')
          throw new MeshError('AGENT_REVOKED', `${key.kind} ${key.name} was revoked already`)
        return revoke(db, member, { reason, now })
      }),
    revokeCertificate: (serial, reason, now) =>
      transact(db, () => revokeLineage(db, serial, { reason, now })),
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
    removeMember: (key, now) =>
      transact(db, () => {
        const member = requireMember(db, key)
        const revoked = revoke(db, member, { reason: 'removed', now })
        db.prepare('DELETE FROM members WHERE id = ?').run(member.id)
        return revoked
      }),
    withdrawn: (now) => transact(db, () => withdrawn(db, now)),
  }
}

export function findMember(db: Sqlite, { kind, name }: MemberKey): MemberRow | undefined {
  return db.prepare('SELECT * FROM members WHERE kind = ? AND name = ?').get(kind, name) as
    | MemberRow
    | undefined
}

function requireMember(db: Sqlite, key: MemberKey): MemberRow {
  const row = findMember(db, key)
  if (row === undefined) throw unknown(key)
  return row
}

export const unknown = ({ kind, name }: MemberKey): MeshError =>
  new MeshError('AGENT_UNKNOWN', `no ${kind} ${name} is registered`)

function revoke(db: Sqlite, member: MemberRow, { reason, now }: { reason: string; now: number }): Revoked {
  const { id, registration } = member
  db.prepare(`UPDATE members SET state = 'revoked' WHERE id = ?`).run(id)
  db.prepare('DELETE FROM revoked_ids WHERE id = ?').run(id)
  db.prepare('INSERT INTO revoked_ids (id, reason, revoked_at) VALUES (?, ?, ?)').run(id, reason, now)
  db.prepare('UPDATE tokens SET cancelled_at = ? WHERE registration = ? AND redeemed_at IS NULL').run(
    now,
    registration,
  )
  const rows = db
    .prepare(
      `UPDATE certificates SET revoked_at = ?, revoked_reason = ?
       WHERE id = ? AND revoked_at IS NULL AND not_after > ? RETURNING *`,
    )
    .all(now, reason, id, now - SLOW_CLOCK_MS) as CertificateRow[]
  const { changes } = db.prepare('DELETE FROM endpoints WHERE id = ?').run(id)
  return {
    position: advanceEpoch(db),
    ids: [id],
    serials: rows.map(revokedOf),
    endpointsChanged: changes > 0,
  }
}

/** A certificate, and everything renewed from it: whoever held its key holds what came of it. */
function revokeLineage(
  db: Sqlite,
  serial: string,
  { reason, now }: { reason: string; now: number },
): Revoked {
  const lineage: CertificateRow[] = []
  const find = db.prepare('SELECT * FROM certificates WHERE serial = ?')
  const next = db.prepare('SELECT * FROM certificates WHERE parent_serial = ?')
  let row = find.get(serial) as CertificateRow | undefined
  if (row === undefined) throw new MeshError('CERT_UNKNOWN', `no certificate ${serial} was issued`)
  while (row !== undefined) {
    lineage.push(row)
    row = next.get(row.serial) as CertificateRow | undefined
  }
  const mark = db.prepare(
    'UPDATE certificates SET revoked_at = ?, revoked_reason = ? WHERE serial = ? AND revoked_at IS NULL',
  )
  for (const each of lineage) mark.run(now, reason, each.serial)
  const instances = [...new Set(lineage.map((each) => each.instance_id))]
  const drop = db.prepare('DELETE FROM endpoints WHERE instance_id = ?')
  const dropped = instances.reduce((count, instance) => count + drop.run(instance).changes, 0)
  return {
    position: advanceEpoch(db),
    ids: [],
    serials: lineage.map(revokedOf),
    endpointsChanged: dropped > 0,
  }
}

function liftBan(db: Sqlite, id: SpiffeId): ReturnType<typeof advanceEpoch> | null {
  const { changes } = db.prepare('DELETE FROM revoked_ids WHERE id = ?').run(id)
  return changes > 0 ? advanceEpoch(db) : null
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
         OR EXISTS (SELECT 1 FROM certificates c WHERE c.id = r.id AND c.not_after > ?) ORDER BY r.id`,
    )
    .all(alive) as { id: SpiffeId }[]
  const rows = db
    .prepare('SELECT * FROM certificates WHERE revoked_at IS NOT NULL AND not_after > ? ORDER BY serial')
    .all(alive) as CertificateRow[]
  return { position, ids: ids.map(({ id }) => id), serials: rows.map(revokedOf) }
}
