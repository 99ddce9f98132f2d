// The trust bundle as other SPIFFE implementations read it: a JWK set with one entry for each root (SPIFFE Trust Domain and Bundle §4,
// X509-SVID §6.1). It is public: no door asks for a certificate to give it away.

import type { X509Certificate } from 'node:crypto'

/** GET /v1/bundle at the CA's public door and its admin wire. */
export const BUNDLE_PATH = '/v1/bundle'

/**
 * How often a consumer looks again, in seconds. Also what a rotation waits out several times before it signs with a new root
 * (SPIFFE Trust Domain and Bundle §4.1.2).
 */
export const BUNDLE_REFRESH_SECONDS = 300

export interface SpiffeBundle {
  readonly keys: readonly BundleKey[]
  readonly spiffe_sequence: number
  readonly spiffe_refresh_hint: number
}

interface BundleKey {
  readonly use: 'x509-svid'
  readonly kty: string
  readonly crv: string
  readonly x: string
  readonly y: string
  /** Exactly one certificate: base64 (not base64url) DER. */
  readonly x5c: readonly [string]
}

/** @param sequence rises whenever the roots are others */
export function spiffeBundle(roots: readonly X509Certificate[], sequence: number): SpiffeBundle {
  return { keys: roots.map(keyOf), spiffe_sequence: sequence, spiffe_refresh_hint: BUNDLE_REFRESH_SECONDS }
}

/** Without `kid`, which X.509 entries must not have. */
function keyOf(root: X509Certificate): BundleKey {
  const { kty = '', crv = '', x = '', y = '' } = root.publicKey.export({ format: 'jwk' })
  return { use: 'x509-svid', kty, crv, x, y, x5c: [root.raw.toString('base64')] }
}
