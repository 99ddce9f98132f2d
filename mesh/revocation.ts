// What is withdrawn: whole identities and single certificates. A value that is replaced, never edited, so that a judgement sees
// one consistent set. Serial numbers only mean something beside their issuer (RFC 5280 §4.1.2.2).

import type { SpiffeId } from './spiffe-id.js'
import type { Svid } from './svid.js'
import type { RevokedSerial } from './wire/feed.js'

export interface Revocations {
  /** Identities of which no certificate is accepted. */
  readonly ids: ReadonlySet<SpiffeId>
  /** Keyed `${issuer}:${serial}`. */
  readonly serials: ReadonlyMap<string, RevokedSerial>
  /** Issuing CAs (SHA-256 of their keys) of which no certificate is accepted: whoever holds a stolen key may sign any name and serial. */
  readonly issuers: ReadonlySet<string>
}

/** True when the identity, this certificate, or the CA that signed it is withdrawn. Three look-ups at most. */
export function covers(revocations: Revocations, svid: Pick<Svid, 'id' | 'issuer' | 'serial'>): boolean {
  return revocations.issuers.has(svid.issuer) || isNamed(revocations, svid)
}

/** True when the identity or this certificate is withdrawn: its holder cannot mend that by renewing. */
export function isNamed(revocations: Revocations, svid: Pick<Svid, 'id' | 'issuer' | 'serial'>): boolean {
  const { ids, serials } = revocations
  return ids.has(svid.id) || (serials.size > 0 && serials.has(keyOf(svid)))
}

export function revocationsOf(ids: readonly SpiffeId[], serials: readonly RevokedSerial[]): Revocations {
  return {
    ids: new Set(ids),
    serials: new Map(serials.map((each) => [keyOf(each), each])),
    issuers: new Set(),
  }
}

/** The set with these withdrawn as well. */
export function withRevoked(
  revocations: Revocations,
  ids: readonly SpiffeId[],
  serials: readonly RevokedSerial[],
): Revocations {
  return {
    ids: new Set([...revocations.ids, ...ids]),
    serials: new Map([...revocations.serials, ...serials.map((each) => [keyOf(each), each] as const)]),
    issuers: revocations.issuers,
  }
}

/** The set with all that these issuing CAs signed. */
export function withRevokedIssuers(revocations: Revocations, issuers: readonly string[]): Revocations {
  return { ...revocations, issuers: new Set([...revocations.issuers, ...issuers]) }
}

/** The set without the identity; its single certificates stay withdrawn. */
export function withRestored(revocations: Revocations, id: SpiffeId): Revocations {
  const ids = new Set(revocations.ids)
  ids.delete(id)
  return { ...revocations, ids }
}

const keyOf = ({ issuer, serial }: Pick<Svid, 'issuer' | 'serial'>): string => `${issuer}:${serial}`
