// What outsiders are told, kept so that it only ever moves forward: the numbers of the certificate revocation lists (RFC 5280 §5.2.3)
// and the sequence of the trust bundle (SPIFFE Trust Domain and Bundle §4.1.1). Both start from the clock, in seconds: after a
// restore from a backup they go on above what had been published since.

import type { Sqlite } from '../../host/sqlite.js'
import { foreignEntries } from './claims.js'
import type { CaStore, CrlEntry, StoredCrl } from './model.js'
import { transact } from './rows.js'

/** A verifier's clock may be this slow: a certificate counts as alive that much longer. */
const SLOW_CLOCK_MS = 300_000

export function storeCrls(db: Sqlite): Pick<CaStore, 'crls' | 'beginCrl' | 'saveCrl' | 'bundleSequence'> {
  return {
    crls: () =>
      transact(
        db,
        () =>
          db
            .prepare(
              `SELECT issuer, number, published_at AS "publishedAt", next_update AS "nextUpdate", der FROM crls
               WHERE der IS NOT NULL ORDER BY issuer`,
            )
            .all() as StoredCrl[],
      ),
    beginCrl: (issuer, now) => transact(db, () => beginCrl(db, issuer, now)),
    saveCrl: (crl) => transact(db, () => saveCrl(db, crl)),
    bundleSequence: (content, now) => transact(db, () => bundleSequence(db, content, now)),
  }
}

/** Rises by at least one, whatever the clock does. */
const next = (last: number, now: number): number => Math.max(last + 1, Math.floor(now / 1000))

function beginCrl(db: Sqlite, issuer: string, now: number): { number: number; entries: CrlEntry[] } {
  const last = db
    .prepare('SELECT number, published_at AS "publishedAt" FROM crls WHERE issuer = ?')
    .get(issuer) as { number: number; publishedAt: number | null } | undefined
  const number = next(last?.number ?? 0, now)
  if (last === undefined) db.prepare('INSERT INTO crls (issuer, number) VALUES (?, ?)').run(issuer, number)
  else db.prepare('UPDATE crls SET number = ? WHERE issuer = ?').run(number, issuer)
  const alive = (last?.publishedAt ?? 0) - SLOW_CLOCK_MS
  const known = db
    .prepare(
      `SELECT serial, revoked_at AS "revokedAt", revoked_for AS "revokedFor",
         revoked_reason AS "reason" FROM certificates
       WHERE issuer = ? AND revoked_at IS NOT NULL AND not_after >= ? ORDER BY revoked_at, serial`,
    )
    .all(issuer, alive) as CrlEntry[]
  return { number, entries: [...known, ...foreignEntries(db, issuer, alive)] }
}

function saveCrl(db: Sqlite, { issuer, number, publishedAt, nextUpdate, der }: StoredCrl): void {
  db.prepare(
    `INSERT INTO crls (issuer, number, published_at, next_update, der) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (issuer) DO UPDATE SET number = excluded.number, published_at = excluded.published_at,
       next_update = excluded.next_update, der = excluded.der WHERE excluded.number >= crls.number`,
  ).run(issuer, number, publishedAt, nextUpdate, der)
}

function bundleSequence(db: Sqlite, content: string, now: number): number {
  const known = db.prepare('SELECT sequence, content FROM trust_bundle').get() as
    | { sequence: number; content: string }
    | undefined
  if (known?.content === content) return known.sequence
  const sequence = next(known?.sequence ?? 0, now)
  db.prepare(
    `INSERT INTO trust_bundle (one, sequence, content) VALUES (1, ?, ?)
     ON CONFLICT (one) DO UPDATE SET sequence = excluded.sequence, content = excluded.content`,
  ).run(sequence, content)
  return sequence
}
