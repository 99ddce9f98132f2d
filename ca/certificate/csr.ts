// Certificate requests (PKCS#10, RFC 2986 §4), read strictly. A request proves that its sender holds a key, and that is all it
// is good for: every field of the certificate comes from the profile, so a request that asks for anything else is refused.

import { hash, type KeyObject, verify } from 'node:crypto'
import { type Element, NotDer, readChildren, readElements, TAG } from '../../mesh/der.js'
import { MeshError } from '../../mesh/errors.js'
import { checkAttributes } from './csr-attributes.js'
import type { Profile } from './profile.js'
import { formatKeyKinds, type KeyKind, readPublicKey } from './public-key.js'
import { writeLeafExtensions } from './template.js'

export interface Csr {
  /** SubjectPublicKeyInfo, DER, in the one canonical encoding of its kind. */
  readonly spkiDer: Buffer
  /** SHA-256 of `spkiDer`, lower-case hex. */
  readonly publicKeyHash: string
  readonly kind: KeyKind
}

/** What a request may be. */
export interface CsrRules {
  readonly keys: readonly KeyKind[]
  /** The names that the leaf will carry: the request may repeat what the leaf will say. Null: it may ask for nothing at all. */
  readonly names: Pick<Profile, 'uri' | 'dns' | 'ip'> | null
}

/** Requests of sidecars and collectors, which this program made: two kinds of key, nothing asked for. */
export const CSR_OF_MEMBER: CsrRules = { keys: ['P-256', 'P-384'], names: null }

/**
 * Requests of foreign clients, made by whatever tool they have.
 * @param optedIn kinds of key that the operator allows for this request beyond those that every TLS stack takes
 */
export function csrOfForeignClient(
  names: Pick<Profile, 'uri' | 'dns' | 'ip'>,
  optedIn: readonly 'Ed25519'[],
): CsrRules {
  return { keys: ['P-256', 'P-384', 'RSA', ...optedIn], names }
}

export const CSR_MAX_BYTES = 16_384

const ARMOUR =
  /^-----BEGIN CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE REQUEST-----$/
const VERSION_0 = Buffer.from('020100', 'hex')

/**
 * AlgorithmIdentifiers, DER, with SHA-256, -384 and -512: ECDSA without parameters (RFC 5758 §3.2), RSA PKCS#1 v1.5 with NULL
 * (RFC 4055 §5), and Ed25519, which has a hash of its own (RFC 8410 §3).
 */
const SIGNATURES: Readonly<Record<'EC' | 'RSA' | 'Ed25519', ReadonlyMap<string, string | null>>> = {
  EC: new Map([
    ['300a06082a8648ce3d040302', 'sha256'],
    ['300a06082a8648ce3d040303', 'sha384'],
    ['300a06082a8648ce3d040304', 'sha512'],
  ]),
  RSA: new Map([
    ['300d06092a864886f70d01010b0500', 'sha256'],
    ['300d06092a864886f70d01010c0500', 'sha384'],
    ['300d06092a864886f70d01010d0500', 'sha512'],
  ]),
  Ed25519: new Map([['300506032b6570', null]]),
}

/**
 * Reads one request in PEM. Its subject is not looked at: names come from the token, the certificate or the operator.
 * @throws MeshError CSR_INVALID (shape, encoding, signature) | CSR_KEY_UNSUPPORTED | CSR_NOT_ALLOWED (attributes: extensions,
 * challenge password)
 */
export function parseCsr(pem: string, rules: CsrRules): Csr {
  const der = derOf(pem)
  try {
    return read(der, rules)
  } catch (error) {
    if (error instanceof NotDer) throw invalid(error.message, error)
    throw error
  }
}

/** SHA-256 of a SubjectPublicKeyInfo in DER, lower-case hex. */
export function hashOfKey(spkiDer: Uint8Array): string {
  return hash('sha256', spkiDer)
}

function derOf(pem: string): Buffer {
  if (pem.length > CSR_MAX_BYTES) throw invalid(`larger than ${CSR_MAX_BYTES} bytes`)
  const body = ARMOUR.exec(pem.trim())?.[1]?.replace(/[\r\n]/g, '')
  const der = Buffer.from(body ?? '', 'base64')
  // Buffer.from skips what is not base64: only text that comes back the same was all base64
  if (body === undefined || der.toString('base64') !== body)
    throw invalid('not one CERTIFICATE REQUEST in PEM')
  return der
}

function read(der: Buffer, { keys, names }: CsrRules): Csr {
  const { sequence, bitString, integer, context0 } = TAG
  const [info, algorithm, signature] = readChildren(der, sequence, [sequence, sequence, bitString])
  const [version, subject, spki, attributes] = readChildren(info.raw, sequence, [
    integer,
    sequence,
    sequence,
    context0,
  ])
  if (!version.raw.equals(VERSION_0)) throw new NotDer('a version other than 0')
  readElements(subject.content)
  const { kind, key } = readPublicKey(spki.raw)
  if (!keys.includes(kind))
    throw new MeshError(
      'CSR_KEY_UNSUPPORTED',
      `certificate request: its key is ${formatKeyKinds([kind])}; certified here: ${formatKeyKinds(keys)}`,
    )
  checkSignature(info, { algorithm, signature }, { kind, key })
  checkAttributes(attributes, names === null ? [] : writeLeafExtensions(names, spki.raw))
  // copies: a view would keep the whole request in memory
  return { spkiDer: Buffer.from(spki.raw), publicKeyHash: hashOfKey(spki.raw), kind }
}

/** Proof of possession: the request is signed by the key that it asks to certify. */
function checkSignature(
  info: Element,
  { algorithm, signature }: { algorithm: Element; signature: Element },
  { kind, key }: { kind: KeyKind; key: KeyObject },
): void {
  const digest = SIGNATURES[kind === 'P-256' || kind === 'P-384' ? 'EC' : kind].get(
    algorithm.raw.toString('hex'),
  )
  if (digest === undefined)
    throw invalid(`its signature is not of a kind that goes with ${formatKeyKinds([kind])}`)
  // first octet of a BIT STRING: how many bits of the last one are unused
  if (signature.content[0] !== 0 || !verify(digest, info.raw, key, signature.content.subarray(1)))
    throw invalid('its signature does not verify')
}

const invalid = (why: string, cause?: unknown): MeshError =>
  new MeshError('CSR_INVALID', `certificate request: ${why}`, { cause })
