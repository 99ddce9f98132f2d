// Join tokens: only the hash of the secret is kept. Redeeming is one conditional UPDATE, so that a token has one winner.

import type { Sqlite } from '../../host/sqlite.js'
import { MeshError } from '../../mesh/errors.js'
import { findMember, unknown } from './members.js'
import type { CaStore, Member, MemberKey } from './model.js'
import { memberOf, transact } from './rows.js'

interface TokenRow {
  kind: string
  name: string
  registration: string
  expires_at: number
  redeemed_at: number | null
  cancelled_at: number | null
}

/** A spent token is remembered this long, to be told from an unknown one. */
const REMEMBERED_MS = 86_400_000

export function storeTokens(db: Sqlite): Pick<CaStore, 'addToken' | 'redeemToken'> {
  return {
    addToken: ({ secretHash, kind, name, registration, createdAt, expiresAt }) =>
      transact(db, () => {
        db.prepare('DELETE FROM tokens WHERE expires_at < ?').run(createdAt - REMEMBERED_MS)
        db.prepare(
          `INSERT INTO tokens (secret_hash, kind, name, registration, created_at, expires_at)
           VALUES (?, ?, ?, ?, ?, ?)`,
        ).run(secretHash, kind, name, registration, createdAt, expiresAt)
      }),
    redeemToken: (attempt) => transact(db, () => redeem(db, attempt)),
  }
}

function redeem(db: Sqlite, attempt: MemberKey & { secretHash: string; now: number }): Member {
  const { secretHash, kind, name, now } = attempt
  const won = db
    .prepare(
      `UPDATE tokens SET redeemed_at = ? WHERE secret_hash = ? AND kind = ? AND name = ?
         AND redeemed_at IS NULL AND cancelled_at IS NULL AND expires_at > ? RETURNING registration`,
    )
    .get(now, secretHash, kind, name, now) as { registration: string } | undefined
  if (won === undefined) throw whyNot(db, attempt)
  const member = findMember(db, attempt)
  if (member?.registration !== won.registration) throw unknown(attempt)
  if (member.state === 'revoked') throw new MeshError('AGENT_REVOKED', `${kind} ${name} was revoked`)
  if (member.suspended_at !== null) throw new MeshError('AGENT_SUSPENDED', `${kind} ${name} is suspended`)
  return memberOf(member)
}

function whyNot(
  db: Sqlite,
  { secretHash, kind, name, now }: MemberKey & { secretHash: string; now: number },
): MeshError {
  const token = db.prepare('SELECT * FROM tokens WHERE secret_hash = ?').get(secretHash) as
    | TokenRow
    | undefined
  if (token === undefined) return new MeshError('JOIN_TOKEN_INVALID', 'the join token is not known here')
  if (token.kind !== kind || token.name !== name)
    return new MeshError('JOIN_TOKEN_OTHER_NAME', `the join token was not minted for ${kind} ${name}`)
  if (token.redeemed_at !== null)
    return new MeshError('JOIN_TOKEN_SPENT', `the join token for ${kind} ${name} was used already`)
  if (token.cancelled_at !== null)
    return new MeshError('AGENT_REVOKED', `${kind} ${name} was revoked, and its join tokens with it`)
  return token.expires_at <= now
    ? new MeshError('JOIN_TOKEN_EXPIRED', `the join token for ${kind} ${name} has expired`)
    : new MeshError('JOIN_TOKEN_INVALID', 'the join token is not known here')
}
