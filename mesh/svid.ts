// X509-SVIDs: what makes a certificate the identity of a peer (X509-SVID §2 to §5), checked on the parsed extensions and never
// on Node's strings. A leaf that passes here is well formed; whether it is trusted is for verify-peer.ts alone.

import type { X509Certificate } from 'node:crypto'
import type { Party } from './audit-record.js'
import { keyFingerprintOf } from './authorities.js'
import { type Certificate, readCertificate } from './certificate.js'
import { MeshError } from './errors.js'
import { parseSpiffeId, type SpiffeId } from './spiffe-id.js'
import { fingerprintOf } from './trust-bundle.js'

export interface Svid {
  readonly id: SpiffeId
  /** Lower-case hex, as Node's X509Certificate gives it. */
  readonly serial: string
  /** SHA-256 of the issuing CA's SubjectPublicKeyInfo, lower-case hex. */
  readonly issuer: string
  /** The UUID in the subject's serialNumber; null in certificates of other meshes. */
  readonly instanceId: string | null
  /** Instants, ms since epoch, whole seconds. */
  readonly notBefore: number
  readonly notAfter: number
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string
}

/** A leaf is back-dated by this much, so that a slow clock takes it at once: it was issued that long after its notBefore. */
export const LEAF_BACKDATE_MS = 300_000

const CURVES = new Set(['prime256v1', 'secp384r1'])
const FOREIGN_KEYS = new Set(['ed25519', 'rsa'])
const RSA_BITS = { least: 2048, most: 4096 } as const
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * The SVID that a leaf is, by what it says of itself. Trust is not judged here.
 *
 * @param issuing the certificate that signed it; only its key is read
 * @throws MeshError PEER_KEY_UNSUPPORTED | PEER_IS_CA | PEER_SAN_INVALID | PEER_USAGE_INVALID | PEER_CERT_MALFORMED
 * @see X509-SVID §5
 */
export function parseSvid(leaf: X509Certificate, issuing: X509Certificate): Svid {
  return svidOf(leaf, readCertificate(leaf), keyFingerprintOf(issuing))
}

/**
 * As `parseSvid`, of a leaf that was read already.
 * @param issuer names the CA that signed it, by its key
 * @throws MeshError as `parseSvid`
 */
export function svidOf(leaf: X509Certificate, certificate: Certificate, issuer: string): Svid {
  const id = readLeafId(leaf, certificate)
  const { serial, subjectSerialNumber, notBefore, notAfter } = certificate
  return {
    id,
    serial,
    issuer,
    instanceId: subjectSerialNumber !== null && UUID.test(subjectSerialNumber) ? subjectSerialNumber : null,
    notBefore,
    notAfter,
    fingerprint: fingerprintOf(leaf),
  }
}

/**
 * The identity a leaf claims, when it has the form of an X509-SVID leaf.
 * @throws MeshError PEER_KEY_UNSUPPORTED | PEER_IS_CA | PEER_SAN_INVALID | PEER_USAGE_INVALID
 */
export function readLeafId(leaf: X509Certificate, certificate: Certificate): SpiffeId {
  checkLeafKey(leaf)
  if (certificate.isCa || leaf.ca)
    throw new MeshError('PEER_IS_CA', 'the peer showed a CA certificate as its identity')
  const id = readOneId(certificate.uris)
  checkLeafUsage(certificate)
  return id
}

/**
 * The key of a CA: ECDSA on P-256 or P-384.
 * @throws MeshError PEER_KEY_UNSUPPORTED
 */
export function checkKey(certificate: X509Certificate): void {
  const kind = kindOfKey(certificate)
  if (!CURVES.has(kind))
    throw new MeshError('PEER_KEY_UNSUPPORTED', `a key of kind ${kind} is neither ECDSA P-256 nor P-384`)
}

/**
 * The key of a leaf: as a CA's, or what the CA gives to foreign clients besides: Ed25519, RSA from 2048 to 4096 bits with
 * exponent 65537. Sidecars never have those, but a foreign client calls agents like anybody.
 */
function checkLeafKey(leaf: X509Certificate): void {
  const kind = kindOfKey(leaf)
  if (!CURVES.has(kind) && !FOREIGN_KEYS.has(kind))
    throw new MeshError(
      'PEER_KEY_UNSUPPORTED',
      `a key of kind ${kind} is not ECDSA P-256 or P-384, Ed25519, or RSA from 2048 to 4096 bits`,
    )
}

/** Curve, or `ed25519`, or `rsa` for one as it should be; else words for messages that are in neither set. */
function kindOfKey(certificate: X509Certificate): string {
  try {
    const { asymmetricKeyType = 'unknown', asymmetricKeyDetails: details = {} } = certificate.publicKey
    if (asymmetricKeyType !== 'rsa') return details.namedCurve ?? asymmetricKeyType
    const { modulusLength = 0, publicExponent = 0n } = details
    const isSized = modulusLength >= RSA_BITS.least && modulusLength <= RSA_BITS.most
    return isSized && publicExponent === 65_537n
      ? 'rsa'
      : `rsa (${modulusLength} bits, exponent ${publicExponent.toString()})`
  } catch {
    return 'unknown'
  }
}

/** True when the extended key usages allow both ends of mutual TLS. */
export function hasBothUsages(extendedKeyUsage: readonly string[]): boolean {
  return extendedKeyUsage.includes(SERVER_AUTH) && extendedKeyUsage.includes(CLIENT_AUTH)
}

/** The SVID as one end of a call in the ledger. */
export function partyOf(svid: Svid): Party {
  return { id: svid.id, instance: svid.instanceId, serial: svid.serial }
}

function readOneId(uris: readonly string[]): SpiffeId {
  const [uri, ...more] = uris
  if (uri === undefined || more.length > 0)
    throw new MeshError(
      'PEER_SAN_INVALID',
      `the certificate has ${uris.length} URI names; an SVID has exactly one`,
    )
  try {
    return parseSpiffeId(uri)
  } catch (error) {
    throw new MeshError('PEER_SAN_INVALID', 'the URI name of the certificate is not a SPIFFE ID', {
      cause: error,
    })
  }
}

function checkLeafUsage({ keyUsage, extendedKeyUsage }: Certificate): void {
  const refuse = (why: string): never => {
    throw new MeshError('PEER_USAGE_INVALID', `the certificate is no X509-SVID leaf: ${why}`)
  }
  if (keyUsage === null || !keyUsage.critical) refuse('it has no critical key usage')
  else if (keyUsage.keyCertSign || keyUsage.crlSign) refuse('its key may sign certificates')
  else if (!keyUsage.digitalSignature) refuse('its key may not sign')
  if (extendedKeyUsage === null || !hasBothUsages(extendedKeyUsage))
    refuse('its extended key usage is not both clientAuth and serverAuth')
}
