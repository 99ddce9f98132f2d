// Everything the CA signed, and the instances that hold it. A certificate is here before its holder gets it; rows are never
// deleted, so that a withdrawn serial stays withdrawn.

import type { Sqlite } from '../../host/sqlite.js'
import { MeshError } from '../../mesh/errors.js'
import type { SpiffeId } from '../../mesh/spiffe-id.js'
import { adopt } from './claims.js'
import {
  type CaStore,
  type Certificate,
  DEFAULT_GRACE_SECONDS,
  GRACE_MAX_SECONDS,
  type Instance,
  type LiveInstance,
  type NewCertificate,
  type Presented,
} from './model.js'
import { type CertificateRow, certificateOf, type MemberRow, transact } from './rows.js'

type Certificates = Pick<
  CaStore,
  | 'recordEnrolment'
  | 'recordRenewal'
  | 'recordServerCertificate'
  | 'findCertificate'
  | 'findSuccessor'
  | 'listCertificates'
  | 'listInstances'
  | 'liveInstances'
  | 'admit'
>

const GRACE_MAX_MS = GRACE_MAX_SECONDS * 1000

export function storeCertificates(db: Sqlite): Certificates {
  return {
    recordEnrolment: (certificate, registration) =>
      transact(db, () => recordEnrolment(db, certificate, registration)),
    recordRenewal: (certificate, parentSerial, now) =>
      transact(db, () => recordRenewal(db, certificate, { parentSerial, now })),
    recordServerCertificate: (certificate) => transact(db, () => insert(db, certificate, null)),
    findCertificate: (serial) => transact(db, () => optional(find(db, serial))),
    findSuccessor: (parentSerial) => transact(db, () => optional(successor(db, parentSerial))),
    listCertificates: (name) =>
      transact(db, () =>
        (
          db
            .prepare(
              `SELECT c.* FROM certificates c WHERE c.origin <> 'server' AND (? IS NULL OR c.id LIKE '%/' || ?)
               ORDER BY c.issued_at, c.serial`,
            )
            .all(name, name) as CertificateRow[]
        ).map(certificateOf),
      ),
    listInstances: (id, now) => transact(db, () => listInstances(db, id, now)),
    liveInstances: (now) =>
      transact(
        db,
        () =>
          db
            .prepare(
              `SELECT c.id AS id, c.instance_id AS "instanceId", MAX(c.not_after) AS "notAfter" FROM certificates c
               JOIN members m ON m.id = c.id JOIN instances i ON i.instance_id = c.instance_id
               WHERE m.state <> 'revoked' AND c.revoked_at IS NULL AND c.not_after > ? AND i.is_client = 0
                 AND m.kind <> 'operator'
               GROUP BY c.id, c.instance_id ORDER BY c.id, c.instance_id`,
            )
            .all(now) as LiveInstance[],
      ),
    admit: (presented, now) => transact(db, () => admit(db, presented, now)),
  }
}

function recordEnrolment(db: Sqlite, certificate: NewCertificate, registration: string): void {
  const { id, instanceId, issuedAt, publicKeyHash } = certificate
  const member = db.prepare('SELECT * FROM members WHERE registration = ?').get(registration) as
    | MemberRow
    | undefined
  if (member === undefined) throw new MeshError('AGENT_UNKNOWN', `${id} was removed meanwhile`)
  checkMayHold(member)
  const holder = db.prepare('SELECT id FROM instances WHERE instance_id = ?').get(instanceId) as
    | { id: string }
    | undefined
  if (holder !== undefined && holder.id !== id)
    throw new MeshError('AGENT_INSTANCE_TAKEN', `instance ${instanceId} belongs to another member than ${id}`)
  // a key that was withdrawn may be a thief's as well, and certificates are no secret
  const barred = db
    .prepare(
      'SELECT 1 AS one FROM certificates WHERE public_key_hash = ? AND (id <> ? OR revoked_at IS NOT NULL)',
    )
    .get(publicKeyHash, id)
  if (barred !== undefined)
    throw new MeshError(
      'CSR_NOT_ALLOWED',
      `the key offered for ${id} belongs to another identity, or to a certificate that was revoked`,
    )
  if (holder === undefined)
    db.prepare('INSERT INTO instances (instance_id, id, is_client, created_at) VALUES (?, ?, ?, ?)').run(
      instanceId,
      id,
      certificate.origin === 'issue' ? 1 : 0,
      issuedAt,
    )
  // an instance that enrols anew starts a new lineage: only its newest certificate may renew
  else
    db.prepare(
      'UPDATE certificates SET superseded_at = ? WHERE instance_id = ? AND superseded_at IS NULL',
    ).run(issuedAt, instanceId)
  insert(db, certificate, null)
  if (member.state !== 'enrolled')
    db.prepare(`UPDATE members SET state = 'enrolled' WHERE registration = ?`).run(registration)
}

/** @throws MeshError AGENT_REVOKED | AGENT_SUSPENDED */
function checkMayHold({ id, state, suspended_at }: MemberRow): void {
  if (state === 'revoked') throw new MeshError('AGENT_REVOKED', `${id} was revoked`)
  if (suspended_at !== null) throw new MeshError('AGENT_SUSPENDED', `${id} is suspended`)
}

function recordRenewal(
  db: Sqlite,
  certificate: NewCertificate,
  { parentSerial, now }: { parentSerial: string; now: number },
): Certificate {
  const parent = find(db, parentSerial)
  const member = parent === undefined ? undefined : memberOf(db, parent.id)
  if (parent === undefined || member === undefined || isRevoked(parent))
    throw new MeshError('PEER_REVOKED', `certificate ${parentSerial} was revoked`)
  checkMayHold(member)
  const earlier = successor(db, parentSerial)
  if (earlier !== undefined && earlier.public_key_hash !== certificate.publicKeyHash)
    throw new MeshError('CLONE_SUSPECTED', `certificate ${parentSerial} was used to renew with two keys`)
  if (parent.superseded_at !== null)
    throw new MeshError('RENEW_SUPERSEDED', `certificate ${parentSerial} was replaced by a newer one`)
  // whoever renews with it has it in use
  supersedeParentOf(db, parent, now)
  if (earlier !== undefined) {
    if (isRevoked(earlier)) throw new MeshError('PEER_REVOKED', `certificate ${earlier.serial} was revoked`)
    return certificateOf(earlier)
  }
  const used = db
    .prepare('SELECT 1 AS one FROM certificates WHERE public_key_hash = ?')
    .get(certificate.publicKeyHash)
  if (used !== undefined)
    throw new MeshError('CSR_NOT_ALLOWED', 'renewal needs a new key; this one has a certificate already')
  insert(db, certificate, parentSerial)
  return {
    ...certificate,
    parentSerial,
    revokedAt: null,
    revokedReason: null,
    revokedFor: null,
    supersededAt: null,
  }
}

/** Revoked for good; of a suspended certificate the key still renews, once its member is resumed. */
const isRevoked = ({ revoked_at, revoked_for }: CertificateRow): boolean =>
  revoked_at !== null && revoked_for !== 'suspended'

function admit(db: Sqlite, presented: Presented, now: number): Certificate {
  const { issuer, serial, pem } = presented
  const row = find(db, serial) ?? (adopt(db, presented) ? find(db, serial) : undefined)
  if (row?.issuer !== issuer || row.origin === 'server')
    throw new MeshError('PEER_REVOKED', `certificate ${serial} is not known here`)
  // a serial is only a name: who has stolen the issuing key may sign another certificate of that name
  if (!derOf(row.pem).equals(derOf(pem)))
    throw new MeshError('PEER_FORGED', `certificate ${serial} of ${row.id} was never issued in this form`)
  const member = memberOf(db, row.id)
  if (member === undefined || member.state === 'revoked')
    throw new MeshError('PEER_REVOKED', `${row.id} was revoked`)
  if (member.suspended_at !== null) throw new MeshError('AGENT_SUSPENDED', `${row.id} is suspended`)
  if (row.revoked_at !== null)
    throw new MeshError('PEER_REVOKED', `certificate ${serial} of ${row.id} was revoked`)
  supersedeParentOf(db, row, now)
  db.prepare('UPDATE instances SET last_seen_at = ? WHERE instance_id = ?').run(now, row.instance_id)
  return certificateOf(row)
}

const derOf = (pem: string): Buffer =>
  Buffer.from(pem.replaceAll(/-----(?:BEGIN|END) CERTIFICATE-----/g, ''), 'base64')

function supersedeParentOf(db: Sqlite, { parent_serial }: CertificateRow, now: number): void {
  if (parent_serial === null) return
  db.prepare('UPDATE certificates SET superseded_at = ? WHERE serial = ? AND superseded_at IS NULL').run(
    now,
    parent_serial,
  )
}

interface InstanceRow {
  instance_id: string
  id: SpiffeId
  created_at: number
  serial: string
  parent_serial: string | null
  issued_at: number
  not_after: number
  renewable_until: number
  last_seen_at: number | null
  host: string | null
  port: number | null
}

function listInstances(db: Sqlite, id: SpiffeId | null, now: number): Instance[] {
  const rows = db
    .prepare(
      `SELECT c.instance_id, c.id, i.created_at, c.serial, c.parent_serial, c.issued_at, c.not_after,
         c.not_after + 1000 * COALESCE(m.grace_seconds, ${DEFAULT_GRACE_SECONDS}) AS renewable_until,
         i.last_seen_at, e.host, e.port
       FROM certificates c JOIN instances i ON i.instance_id = c.instance_id JOIN members m ON m.id = c.id
       LEFT JOIN endpoints e ON e.instance_id = c.instance_id
       WHERE c.not_after > ? AND c.superseded_at IS NULL AND (? IS NULL OR c.id = ?)
         AND (c.revoked_at IS NULL OR c.revoked_for = 'suspended')
         AND NOT EXISTS (SELECT 1 FROM certificates n WHERE n.parent_serial = c.serial)
       ORDER BY c.id, c.issued_at, c.serial`,
    )
    .all(now - GRACE_MAX_MS, id, id) as InstanceRow[]
  return rows
    .filter((row) => row.renewable_until > now)
    .map((row) => ({
      instanceId: row.instance_id,
      id: row.id,
      enrolledAt: row.created_at,
      serial: row.serial,
      parentSerial: row.parent_serial,
      since: row.issued_at,
      notAfter: row.not_after,
      renewableUntil: row.renewable_until,
      lastSeenAt: row.last_seen_at,
      endpoint: row.host === null || row.port === null ? null : { host: row.host, port: row.port },
    }))
}

const memberOf = (db: Sqlite, id: SpiffeId): MemberRow | undefined =>
  db.prepare('SELECT * FROM members WHERE id = ?').get(id) as MemberRow | undefined

const find = (db: Sqlite, serial: string): CertificateRow | undefined =>
  db.prepare('SELECT * FROM certificates WHERE serial = ?').get(serial) as CertificateRow | undefined

const successor = (db: Sqlite, parentSerial: string): CertificateRow | undefined =>
  db.prepare('SELECT * FROM certificates WHERE parent_serial = ?').get(parentSerial) as
    | CertificateRow
    | undefined

const optional = (row: CertificateRow | undefined): Certificate | undefined =>
  row === undefined ? undefined : certificateOf(row)

function insert(db: Sqlite, row: NewCertificate, parentSerial: string | null): void {
  db.prepare(
    `INSERT INTO certificates (serial, issuer, id, instance_id, parent_serial, public_key_hash, origin,
       not_before, not_after, issued_at, pem) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  ).run(
    row.serial,
    row.issuer,
    row.id,
    row.instanceId,
    parentSerial,
    row.publicKeyHash,
    row.origin,
    row.notBefore,
    row.notAfter,
    row.issuedAt,
    row.pem,
  )
}
