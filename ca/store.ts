// The CA's state, `<home>/ca/ca.db`. Opens the database and puts the store's methods together; what they do is in store/.

import { randomUUID } from 'node:crypto'
import { statSync } from 'node:fs'
import { openSqlite, type Sqlite } from '../host/sqlite.js'
import { MeshError } from '../mesh/errors.js'
import type { TrustDomain } from '../mesh/spiffe-id.js'
import type { Endpoint, Position } from '../mesh/wire/feed.js'
import { storeAudit } from './store/audit.js'
import { storeCertificates } from './store/certificates.js'
import { storeCrls } from './store/crls.js'
import { storeMembers } from './store/members.js'
import { MIGRATIONS } from './store/migrations.js'
import type { CaStore, MeshState, StoredPolicy } from './store/model.js'
import { storeRecovery } from './store/recovery.js'
import { storeRotation } from './store/rotation.js'
import { advanceEpoch, transact } from './store/rows.js'
import { storeTokens } from './store/tokens.js'
import { storeWithdrawals } from './store/withdrawals.js'

/** Makes the database of a new mesh. */
export function createCaStore(file: string, mesh: { trustDomain: TrustDomain; address: string }): void {
  const db = openSqlite({ file, migrations: MIGRATIONS, durability: 'power' })
  db.prepare('INSERT INTO mesh (one, trust_domain, address, generation, epoch) VALUES (1, ?, ?, ?, 0)').run(
    mesh.trustDomain,
    mesh.address,
    randomUUID(),
  )
  db.close()
}

/** @throws MeshError STATE_UNREADABLE; what is not whole is left as it is */
export function openCaStore(file: string): CaStore {
  // SQLite would begin a new database in a file that is missing or empty
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) === 0)
    throw new MeshError('STATE_UNREADABLE', `${file} is missing or empty`)
  const db = openSqlite({ file, migrations: MIGRATIONS, durability: 'power' })
  const mesh = wholeMesh(db)
  if (mesh === undefined) {
    db.close()
    throw new MeshError('STATE_UNREADABLE', `${file} is damaged, or holds no mesh`)
  }
  // the same pages of its indexes change again and again: 16 MB before they are copied (default: 4)
  db.pragma('wal_autocheckpoint = 4000')
  const storeOn = (on: Sqlite): CaStore => ({
    ...storeMembers(on, mesh.trustDomain),
    ...storeCertificates(on),
    ...storeWithdrawals(on),
    ...storeTokens(on),
    ...storeCrls(on),
    ...storeRotation(on),
    ...storeRecovery(on, mesh.trustDomain),
    ...storeMesh(on, mesh),
    ...storeEndpoints(on),
    ...storeAudit(on, storeOn),
    close: () => transact(db, () => undefined).finally(() => db.close()),
  })
  return storeOn(db)
}

interface MeshRow extends Position {
  trust_domain: TrustDomain
  address: string
}

function readMesh(db: Sqlite): MeshState | undefined {
  const row = db.prepare('SELECT * FROM mesh').get() as MeshRow | undefined
  if (row === undefined) return undefined
  const { trust_domain: trustDomain, address, generation, epoch } = row
  return { trustDomain, address, position: { generation, epoch } }
}

/** Undefined also when pages of the database are damaged: found now, and not at the revocation that needs them. */
function wholeMesh(db: Sqlite): MeshState | undefined {
  try {
    return db.pragma('quick_check(1)', { simple: true }) === 'ok' ? readMesh(db) : undefined
  } catch {
    return undefined
  }
}

function storeMesh(
  db: Sqlite,
  opened: MeshState,
): Pick<CaStore, 'mesh' | 'setAddress' | 'policy' | 'pushPolicy'> {
  return {
    mesh: () => transact(db, () => readMesh(db) ?? opened),
    setAddress: (host) => transact(db, () => void db.prepare('UPDATE mesh SET address = ?').run(host)),
    policy: () =>
      transact(
        db,
        () =>
          db
            .prepare(
              'SELECT version, pushed_at AS "pushedAt", yaml FROM policies ORDER BY version DESC LIMIT 1',
            )
            .get() as StoredPolicy | undefined,
      ),
    pushPolicy: (yaml, at) =>
      transact(db, () => {
        const { version } = db
          .prepare(
            `INSERT INTO policies (version, pushed_at, yaml)
             SELECT COALESCE(MAX(version), 0) + 1, ?, ? FROM policies RETURNING version`,
          )
          .get(at, yaml) as { version: number }
        return { version, position: advanceEpoch(db) }
      }),
  }
}

function storeEndpoints(db: Sqlite): Pick<CaStore, 'endpoints' | 'announce' | 'withdraw'> {
  const columns = 'id, instance_id AS "instanceId", host, port'
  return {
    endpoints: () =>
      transact(
        db,
        () => db.prepare(`SELECT ${columns} FROM endpoints ORDER BY id, instance_id`).all() as Endpoint[],
      ),
    announce: ({ id, instanceId, host, port }, serial, at) =>
      transact(db, () => {
        const alive = db
          .prepare(
            `SELECT 1 AS one FROM certificates c JOIN members m ON m.id = c.id
             WHERE c.serial = ? AND c.revoked_at IS NULL AND m.state <> 'revoked'`,
          )
          .get(serial)
        if (alive === undefined) throw new MeshError('PEER_REVOKED', `${id} was revoked`)
        const known = db.prepare('SELECT host, port FROM endpoints WHERE instance_id = ?').get(instanceId) as
          | { host: string; port: number }
          | undefined
        if (known?.host === host && known.port === port) return undefined
        db.prepare('DELETE FROM endpoints WHERE instance_id = ?').run(instanceId)
        db.prepare(
          'INSERT INTO endpoints (instance_id, id, host, port, announced_at) VALUES (?, ?, ?, ?, ?)',
        ).run(instanceId, id, host, port, at)
        return advanceEpoch(db)
      }),
    withdraw: (instanceId) =>
      transact(db, () => {
        const { changes } = db.prepare('DELETE FROM endpoints WHERE instance_id = ?').run(instanceId)
        return changes === 0 ? undefined : advanceEpoch(db)
      }),
  }
}
