// The registry: names, their state and settings.

import { randomUUID } from 'node:crypto'
import type { Sqlite } from '../../host/sqlite.js'
import { MeshError } from '../../mesh/errors.js'
import { namedId, type SpiffeId, type TrustDomain } from '../../mesh/spiffe-id.js'
import type { CaStore, MemberKey } from './model.js'
import { advanceEpoch, type MemberRow, memberOf, transact } from './rows.js'

type Members = Pick<CaStore, 'register' | 'configure' | 'findMember' | 'listMembers'>

export function storeMembers(db: Sqlite, trustDomain: TrustDomain): Members {
  return {
    register: (wanted, at) =>
      transact(db, () => {
        const known = findMember(db, wanted)
        if (known?.state === 'revoked')
          throw new MeshError('AGENT_REVOKED', `${wanted.kind} ${wanted.name} was revoked`)
        if (known !== undefined)
          throw new MeshError('AGENT_EXISTS', `${wanted.kind} ${wanted.name} is registered already`)
        const { kind, name, ttlSeconds, address, graceSeconds, onClone } = wanted
        const id = namedId(trustDomain, kind, name)
        const row = db
          .prepare(
            `INSERT INTO members (kind, name, id, registration, state, ttl_seconds, address, grace_seconds, on_clone, created_at)
             VALUES (?, ?, ?, ?, 'registered', ?, ?, ?, ?, ?) RETURNING *`,
          )
          .get(kind, name, id, randomUUID(), ttlSeconds, address, graceSeconds, onClone, at) as MemberRow
        return { member: memberOf(row), position: liftBan(db, id) }
      }),
    configure: ({ kind, name, ttlSeconds, address, graceSeconds, onClone }) =>
      transact(db, () => {
        const row = db
          .prepare(
            `UPDATE members SET ttl_seconds = COALESCE(?, ttl_seconds), address = COALESCE(?, address),
               grace_seconds = COALESCE(?, grace_seconds), on_clone = COALESCE(?, on_clone)
             WHERE kind = ? AND name = ? RETURNING *`,
          )
          .get(ttlSeconds, address, graceSeconds, onClone, kind, name) as MemberRow | undefined
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
  }
}

export function findMember(db: Sqlite, { kind, name }: MemberKey): MemberRow | undefined {
  return db.prepare('SELECT * FROM members WHERE kind = ? AND name = ?').get(kind, name) as
    | MemberRow
    | undefined
}

export function requireMember(db: Sqlite, key: MemberKey): MemberRow {
  const row = findMember(db, key)
  if (row === undefined) throw unknown(key)
  return row
}

export const unknown = ({ kind, name }: MemberKey): MeshError =>
  new MeshError('AGENT_UNKNOWN', `no ${kind} ${name} is registered`)

/** Inside a transaction only. */
export function liftBan(db: Sqlite, id: SpiffeId): ReturnType<typeof advanceEpoch> | null {
  const { changes } = db.prepare('DELETE FROM revoked_ids WHERE id = ?').run(id)
  return changes > 0 ? advanceEpoch(db) : null
}
