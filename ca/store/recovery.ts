// What a CA that was restored from a backup does not know: which certificates it issued and what it revoked in the time that was
// lost. It keeps who must tell, who has told what, and adopts the certificates of that time when they show up. What one member says is a
// claim; it comes into force when more than half of the agents that must tell say it too, or when the operator ends the waiting.

import { randomUUID } from 'node:crypto'
import type { Sqlite } from '../../host/sqlite.js'
import { MeshError } from '../../mesh/errors.js'
import { meaningOf, type SpiffeId, type TrustDomain, trustDomainOf } from '../../mesh/spiffe-id.js'
import type { RevokedSerial } from '../../mesh/wire/feed.js'
import { BY_CA } from './claims.js'
import type { CaStore, Claim, RecoveryState, Reporter, Returned, Revoked } from './model.js'
import { advanceEpoch, type CertificateRow, type MemberRow, transact } from './rows.js'
import { revoke } from './withdrawals.js'

type Recovery = Pick<CaStore, 'beginRecovery' | 'recovery' | 'returnRevocations' | 'endRecovery'>

/** Claims of one agent, over all its instances. An honest one returns what was revoked in the lost time. */
const CLAIMS_MAX = 5000
/** No leaf lives longer, with all clocks wrong. */
const LEAF_MAX_MS = 7 * 86_400_000 + 600_000
const SLOW_CLOCK_MS = 300_000
const SERIAL = /^[0-9a-f]{2,40}$/

export function storeRecovery(db: Sqlite, trustDomain: TrustDomain): Recovery {
  return {
    beginRecovery: (takenAt, awaited, now) =>
      transact(db, () => {
        const { generation } = db.prepare('SELECT generation FROM mesh').get() as { generation: string }
        db.prepare('UPDATE mesh SET generation = ?').run(randomUUID())
        // a token that was spent in the lost time must not be spent again; and nobody is where the backup says
        for (const table of ['tokens', 'endpoints', 'awaited', 'recovery'])
          db.prepare(`DELETE FROM ${table}`).run()
        // what came into force after an earlier restore, and still is, may stand nowhere else
        db.prepare(
          `DELETE FROM claims WHERE in_force_at IS NULL
             OR (serial IS NULL AND object NOT IN (SELECT id FROM revoked_ids))`,
        ).run()
        db.prepare(
          'INSERT INTO recovery (one, from_generation, taken_at, restored_at) VALUES (1, ?, ?, ?)',
        ).run(generation, takenAt, now)
        const wait = db.prepare('INSERT INTO awaited (instance_id, id) VALUES (?, ?)')
        for (const { instanceId, id } of awaited) wait.run(instanceId, id)
      }),
    recovery: () => transact(db, () => readState(db)),
    returnRevocations: (reporter, told, now) =>
      transact(db, () => take(db, { reporter, told, now, trustDomain })),
    endRecovery: ({ by, disbelieved }, now) =>
      transact(db, () => {
        if (readState(db)?.endedAt !== null)
          throw new MeshError('CA_NOT_RESTORED', 'the CA does not wait for revocations')
        const drop = db.prepare('DELETE FROM claims WHERE claimed_by = ? AND in_force_at IS NULL')
        for (const id of disbelieved) drop.run(id)
        const revoked = enforce(db, heldClaims(db), now)
        db.prepare('UPDATE recovery SET ended_at = ?, ended_by = ?').run(now, by)
        return revoked
      }),
  }
}

interface Telling {
  readonly reporter: Reporter
  readonly told: Returned
  readonly now: number
  readonly trustDomain: TrustDomain
}

function take(db: Sqlite, telling: Telling): { revoked: Revoked | null; ended: boolean; claims: string[] } {
  const { reporter, told, now } = telling
  const state = readState(db)
  if (state === undefined) throw new MeshError('CA_NOT_RESTORED', 'nothing was asked for')
  const claims = newClaims(db, reporter, [...idClaims(db, telling), ...serialClaims(db, telling, state)])
  const insert = db.prepare(
    `INSERT INTO claims (object, claimed_by, id, issuer, serial, expires_at, claimed_at, in_force_at)
     SELECT ?, ?, ?, ?, ?, ?, ?, MIN(in_force_at) FROM claims WHERE object = ? AND claimed_by <> '${BY_CA}'`,
  )
  for (const { object, id, issuer, serial, expiresAt } of claims)
    insert.run(object, reporter.id, id, issuer, serial, expiresAt, now, object)
  if (told.last) {
    db.prepare('DELETE FROM awaited WHERE instance_id = ? AND id <> ?').run(reporter.instanceId, reporter.id)
    db.prepare('UPDATE awaited SET returned_at = COALESCE(returned_at, ?) WHERE instance_id = ?').run(
      now,
      reporter.instanceId,
    )
  }
  const agreed = heldClaims(db).filter(({ votes }) => votes >= quorumOf(db))
  const revoked = enforce(db, agreed, now)
  return { revoked, ended: endIfComplete(db, now), claims: claims.map(({ object }) => object) }
}

/** What this agent has not said before. @throws MeshError WIRE_TOO_LARGE */
function newClaims(db: Sqlite, { id }: Reporter, said: readonly Said[]): Said[] {
  const known = db.prepare('SELECT 1 AS one FROM claims WHERE object = ? AND claimed_by = ?')
  const fresh = new Map(
    said.filter(({ object }) => known.get(object, id) === undefined).map((each) => [each.object, each]),
  )
  const { count } = db.prepare('SELECT COUNT(*) AS count FROM claims WHERE claimed_by = ?').get(id) as {
    count: number
  }
  if (count + fresh.size > CLAIMS_MAX)
    throw new MeshError('WIRE_TOO_LARGE', `${id} returns more than ${CLAIMS_MAX} revocations`)
  return [...fresh.values()]
}

interface Said {
  readonly object: string
  readonly id: string
  readonly issuer: string | null
  readonly serial: string | null
  readonly expiresAt: number | null
}

/** Of this mesh, of a kind that has certificates, and not withdrawn already. */
function idClaims(db: Sqlite, { told, trustDomain }: Telling): Said[] {
  const banned = db.prepare('SELECT 1 AS one FROM revoked_ids WHERE id = ?')
  return told.ids
    .filter((id) => isMember(id, trustDomain) && banned.get(id) === undefined)
    .map((id) => ({ object: id, id, issuer: null, serial: null, expiresAt: null }))
}

/** Certificates that this CA issued, or could have issued in the lost time, and that are still good for something. */
function serialClaims(db: Sqlite, { told, now, trustDomain }: Telling, state: RecoveryState): Said[] {
  const find = db.prepare('SELECT * FROM certificates WHERE serial = ?')
  const ours = db.prepare('SELECT 1 AS one FROM certificates WHERE issuer = ? LIMIT 1')
  const isPlausible = ({ issuer, serial, id, expiresAt }: RevokedSerial): boolean => {
    if (!SERIAL.test(serial) || ours.get(issuer) === undefined || expiresAt < now - SLOW_CLOCK_MS)
      return false
    const known = find.get(serial) as CertificateRow | undefined
    return known === undefined
      ? isMember(id, trustDomain) && expiresAt <= state.restoredAt + LEAF_MAX_MS
      : known.issuer === issuer && known.id === id && known.origin !== 'server' && known.revoked_at === null
  }
  return told.serials
    .filter(isPlausible)
    .map((each) => ({ ...each, object: `${each.issuer}:${each.serial}` }))
}

const isMember = (id: SpiffeId, trustDomain: TrustDomain): boolean =>
  trustDomainOf(id) === trustDomain && !['ca', 'foreign'].includes(meaningOf(id).kind)

/** More than half of the agents that must tell, however many instances each has. */
function quorumOf(db: Sqlite): number {
  const { count } = db.prepare('SELECT COUNT(DISTINCT id) AS count FROM awaited').get() as { count: number }
  return Math.floor(count / 2) + 1
}

interface ClaimRow {
  object: string
  id: SpiffeId
  issuer: string | null
  serial: string | null
  expires_at: number | null
  votes: number
}

/** Claims that are not in force, with how many of those that must tell say so. */
const heldClaims = (db: Sqlite): ClaimRow[] =>
  db
    .prepare(
      `SELECT object, MIN(id) AS id, MIN(issuer) AS issuer, MIN(serial) AS serial, MAX(expires_at) AS expires_at,
         COUNT(DISTINCT CASE WHEN claimed_by IN (SELECT id FROM awaited) THEN claimed_by END) AS votes
       FROM claims WHERE in_force_at IS NULL GROUP BY object ORDER BY object`,
    )
    .all() as ClaimRow[]

/** Makes claims revocations like any other. @returns null when there are none */
function enforce(db: Sqlite, claims: readonly ClaimRow[], now: number): Revoked | null {
  if (claims.length === 0) return null
  const ids: SpiffeId[] = []
  const serials: RevokedSerial[] = []
  let endpointsChanged = false
  const mark = db.prepare('UPDATE claims SET in_force_at = ? WHERE object = ? AND in_force_at IS NULL')
  for (const { object, id, issuer, serial, expires_at } of claims) {
    mark.run(now, object)
    if (issuer === null || serial === null || expires_at === null) {
      const revoked = banId(db, id, now)
      ids.push(id)
      serials.push(...revoked.serials)
      endpointsChanged ||= revoked.endpointsChanged
    } else {
      db.prepare(
        `UPDATE certificates SET revoked_at = ?, revoked_reason = ?, revoked_for = 'revoked'
         WHERE serial = ? AND revoked_at IS NULL`,
      ).run(now, REASON, serial)
      serials.push({ issuer, serial, id, expiresAt: expires_at })
    }
  }
  return { position: advanceEpoch(db), ids, serials, endpointsChanged }
}

const REASON = 'returned by the mesh after a restore'

function banId(db: Sqlite, id: SpiffeId, now: number): Pick<Revoked, 'serials' | 'endpointsChanged'> {
  const member = db.prepare('SELECT * FROM members WHERE id = ?').get(id) as MemberRow | undefined
  if (member !== undefined) return revoke(db, member, { reason: REASON, revokedFor: 'revoked', now })
  db.prepare('DELETE FROM revoked_ids WHERE id = ?').run(id)
  db.prepare('INSERT INTO revoked_ids (id, reason, revoked_at) VALUES (?, ?, ?)').run(id, REASON, now)
  return { serials: [], endpointsChanged: false }
}

/** Everybody has told who has not been revoked since, and nothing is said by a few only. With nobody to wait for, the operator ends it. */
function endIfComplete(db: Sqlite, now: number): boolean {
  const { missing, all } = db
    .prepare(
      `SELECT COUNT(*) AS "all", COUNT(CASE WHEN a.returned_at IS NULL AND r.id IS NULL THEN 1 END) AS missing
       FROM awaited a LEFT JOIN revoked_ids r ON r.id = a.id`,
    )
    .get() as { missing: number; all: number }
  if (all === 0 || missing > 0 || heldClaims(db).length > 0) return false
  const { changes } = db
    .prepare(`UPDATE recovery SET ended_at = ?, ended_by = 'members' WHERE ended_at IS NULL`)
    .run(now)
  return changes > 0
}

interface RecoveryRow {
  taken_at: number
  restored_at: number
  ended_at: number | null
  ended_by: string | null
}

function readState(db: Sqlite): RecoveryState | undefined {
  const row = db.prepare('SELECT * FROM recovery').get() as RecoveryRow | undefined
  if (row === undefined) return undefined
  const awaited = db
    .prepare(
      `SELECT a.instance_id AS "instanceId", a.id AS id, a.returned_at AS "returnedAt",
         CASE WHEN r.id IS NULL THEN 0 ELSE 1 END AS revoked
       FROM awaited a LEFT JOIN revoked_ids r ON r.id = a.id ORDER BY a.id, a.instance_id`,
    )
    .all() as { instanceId: string; id: SpiffeId; returnedAt: number | null; revoked: number }[]
  return {
    takenAt: row.taken_at,
    restoredAt: row.restored_at,
    endedAt: row.ended_at,
    endedBy: row.ended_by,
    awaited: awaited.map(({ revoked, ...each }) => ({ ...each, isRevoked: revoked === 1 })),
    claims: readClaims(db),
  }
}

function readClaims(db: Sqlite): Claim[] {
  const rows = db
    .prepare(
      `SELECT object, id, serial, claimed_by, in_force_at FROM claims WHERE claimed_by <> ?
       ORDER BY object, claimed_by`,
    )
    .all(BY_CA) as {
    object: string
    id: SpiffeId
    serial: string | null
    claimed_by: SpiffeId
    in_force_at: number | null
  }[]
  const claims = new Map<string, Claim & { readonly by: SpiffeId[] }>()
  for (const { object, id, serial, claimed_by, in_force_at } of rows) {
    const claim = claims.get(object)
    if (claim === undefined)
      claims.set(object, { object, id, serial, by: [claimed_by], inForce: in_force_at !== null })
    else claim.by.push(claimed_by)
  }
  return [...claims.values()]
}
