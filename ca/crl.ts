// One certificate revocation list, from the words of the store to a signed list: of an issuing CA, by the serving CA whenever
// something was withdrawn; of a root, by whoever has its key open, at init and at each rotation, good until the issuing CA ends.

import { keyFingerprintOf } from '../mesh/authorities.js'
import { type CrlLine, reasonCodeOf, signCrl, thisUpdateAt } from './certificate/crl.js'
import type { Signer } from './certificate/sign.js'
import type { CrlEntry, RevokedFor, StoredCrl } from './store/model.js'

/** No verifier outside hears more often of us than a leaf lives by default: longer lists would only help who withholds newer ones. */
export const CRL_LIFE_MS = 86_400_000

export interface NewCrl {
  /** Higher than of every list of this issuer before. */
  readonly number: number
  readonly entries: readonly CrlEntry[]
  /** Instants, ms since epoch. */
  readonly now: number
  readonly nextUpdate: number
}

/** @throws MeshError ISSUE_CHECK_FAILED; and what the key throws when it signs */
export async function makeCrl(
  signer: Signer,
  { number, entries, now, nextUpdate }: NewCrl,
): Promise<StoredCrl> {
  const template = {
    number,
    thisUpdate: thisUpdateAt(now),
    nextUpdate: Math.floor(nextUpdate / 1000) * 1000,
    lines: entries.map(lineOf),
  }
  const der = await signCrl(template, signer)
  return {
    issuer: keyFingerprintOf(signer.certificate),
    number,
    publishedAt: now,
    nextUpdate: template.nextUpdate,
    der,
  }
}

export interface NewRootCrl {
  /** Issuing CAs that were withdrawn and have not ended yet. */
  readonly revoked: readonly CrlEntry[]
  /** Number of the root's last list; 0 when it has none. */
  readonly above: number
  readonly now: number
  /** The root's key stays closed until the next rotation: the end of the issuing CA that lives longest. */
  readonly nextUpdate: number
}

/**
 * The list of a root; keep it with `CaStore.saveCrl`. Numbered from the clock as the store's own lists are.
 * @throws MeshError ISSUE_CHECK_FAILED; and what the key throws when it signs
 */
export function signRootCrl(
  root: Signer,
  { revoked, above, now, nextUpdate }: NewRootCrl,
): Promise<StoredCrl> {
  const number = Math.max(above + 1, Math.floor(now / 1000))
  return makeCrl(root, { number, entries: revoked, now, nextUpdate })
}

const lineOf = ({ serial, revokedAt, revokedFor, reason }: CrlEntry): CrlLine => ({
  serial: serial.length % 2 === 0 ? serial : `0${serial}`,
  revokedAt,
  reasonCode: revokedFor === null ? reasonCodeOf(reason) : (REASON_OF[revokedFor] ?? reasonCodeOf(reason)),
})

/** CRLReason of what is not for the operator to say: cessationOfOperation, certificateHold. */
const REASON_OF: Partial<Record<RevokedFor, number>> = { removed: 5, suspended: 6 }
