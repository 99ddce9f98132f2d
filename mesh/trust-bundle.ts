// Trust bundles: the roots of one trust domain, and PEM files split into certificates. A bundle answers "whom may this trust
// domain's IDs chain to" and nothing else; it never merges with another domain's (SPIFFE Trust Domain and Bundle §4).

import { createHash, X509Certificate } from 'node:crypto'
import { type Authorities, openAuthorities } from './authorities.js'
import { MeshError } from './errors.js'
import type { TrustDomain } from './spiffe-id.js'

export interface TrustBundle {
  readonly trustDomain: TrustDomain
  /** At least one; CA certificates. */
  readonly roots: readonly X509Certificate[]
  /** Issuing CAs that the domain's CA named, the one that signs now first. Not trusted: only offered to the judge, and shown to peers. */
  readonly issuing: readonly X509Certificate[]
  /** New roots signed by old ones, for peers that only know those. */
  readonly crosses: readonly X509Certificate[]
  /** What was read already, of the roots and below them. */
  readonly authorities: Authorities
}

const MAX_PEM_BYTES = 262_144
const MAX_CERTIFICATES = 64
const BLOCK = /-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+?)-----END CERTIFICATE-----/y
const BETWEEN = /\s*/y

/** The mark of a development root: its subject's common name begins with it. */
export const DEV_ROOT_MARK = 'TROTH DEV'

/**
 * Splits PEM text into certificates, in their order. Nothing but CERTIFICATE blocks and white space may be there.
 * @throws MeshError PEER_CERT_MALFORMED
 * @see RFC 7468 §5
 */
export function splitPem(pem: string): X509Certificate[] {
  if (pem.length > MAX_PEM_BYTES)
    throw new MeshError('PEER_CERT_MALFORMED', `PEM text is longer than ${MAX_PEM_BYTES} bytes`)
  const certificates: X509Certificate[] = []
  let at = skipSpace(pem, 0)
  while (at < pem.length) {
    BLOCK.lastIndex = at
    const base64 = BLOCK.exec(pem)?.[1]
    if (base64 === undefined)
      throw new MeshError('PEER_CERT_MALFORMED', `PEM text holds something else than certificates at ${at}`)
    if (certificates.length === MAX_CERTIFICATES)
      throw new MeshError('PEER_CERT_MALFORMED', `PEM text holds more than ${MAX_CERTIFICATES} certificates`)
    certificates.push(parseDer(Buffer.from(base64, 'base64')))
    at = skipSpace(pem, BLOCK.lastIndex)
  }
  return certificates
}

/**
 * The bundle of a trust domain.
 * @throws MeshError PEER_CERT_MALFORMED when there is no root, or one that is no CA certificate
 */
export function parseTrustBundle(trustDomain: TrustDomain, rootsPem: string): TrustBundle {
  const roots = splitPem(rootsPem)
  if (roots.length === 0)
    throw new MeshError('PEER_CERT_MALFORMED', `the trust bundle of ${trustDomain} holds no root`)
  for (const root of roots) {
    if (!root.ca)
      throw new MeshError(
        'PEER_CERT_MALFORMED',
        `the trust bundle of ${trustDomain} holds a certificate that is no CA`,
      )
  }
  return { trustDomain, roots, issuing: [], crosses: [], authorities: openAuthorities(roots) }
}

/**
 * The bundle with what goes beside the roots.
 * @throws MeshError PEER_CERT_MALFORMED
 */
export function besideRoots(
  bundle: TrustBundle,
  beside: { readonly issuingPem: string; readonly crossPem: string },
): TrustBundle {
  return { ...bundle, issuing: splitPem(beside.issuingPem), crosses: splitPem(beside.crossPem) }
}

/** SHA-256 of the DER, lower-case hex. */
export function fingerprintOf(certificate: X509Certificate): string {
  return createHash('sha256').update(certificate.raw).digest('hex')
}

/** True when the root says of itself that it is for development only: programs refuse it without --dev. */
export function isDevRoot(root: X509Certificate): boolean {
  return root.subject.split('\n').some((line) => line.startsWith(`CN=${DEV_ROOT_MARK}`))
}

/**
 * Keeps development roots out of where nobody asked for them.
 * @throws MeshError DEV_ROOT
 */
export function checkNoDevRoot(bundle: TrustBundle): void {
  if (bundle.roots.some(isDevRoot))
    throw new MeshError('DEV_ROOT', `the root of ${bundle.trustDomain} is a development root`)
}

/** The roots as PEM, one after the other. */
export function bundlePem(bundle: TrustBundle): string {
  return joinPem(bundle.roots)
}

/** Certificates as PEM, one after the other. */
export function joinPem(certificates: readonly X509Certificate[]): string {
  return certificates.map((certificate) => certificate.toString()).join('')
}

function parseDer(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der)
  } catch (error) {
    throw new MeshError('PEER_CERT_MALFORMED', 'a certificate cannot be parsed', { cause: error })
  }
}

function skipSpace(pem: string, from: number): number {
  BETWEEN.lastIndex = from
  BETWEEN.exec(pem)
  return BETWEEN.lastIndex
}
