// Certificate requests (PKCS#10, RFC 2986 §4), read strictly. A request proves that its sender holds a key, and that is all it
// is good for: every field of the certificate comes from the profile, so a request that asks for anything is refused.

import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'
import { MeshError } from '../../mesh/errors.js'
import { type Element, NotDer, readChildren, readElements, TAG } from './der.js'

export interface Csr {
  /** SubjectPublicKeyInfo, DER: P-256 or P-384, named curve, uncompressed point. */
  readonly spkiDer: Buffer
  /** SHA-256 of `spkiDer`, lower-case hex. */
  readonly publicKeyHash: string
}

export const CSR_MAX_BYTES = 16_384

const ARMOUR =
  /^-----BEGIN CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE REQUEST-----$/
const VERSION_0 = Buffer.from('020100', 'hex')
const CURVES = new Set(['prime256v1', 'secp384r1'])

/** AlgorithmIdentifiers, DER, of ecdsa-with-SHA256, -SHA384 and -SHA512: no parameters (RFC 5758 §3.2). */
const HASHES = new Map([
  ['300a06082a8648ce3d040302', 'sha256'],
  ['300a06082a8648ce3d040303', 'sha384'],
  ['300a06082a8648ce3d040304', 'sha512'],
])

/**
 * Reads one request in PEM. Its subject is not looked at: names come from the token, the certificate or the operator.
 * @throws MeshError CSR_INVALID (shape, encoding, signature) | CSR_KEY_UNSUPPORTED | CSR_NOT_ALLOWED (attributes: extensions,
 * challenge password)
 */
export function parseCsr(pem: string): Csr {
  const { info, spki, attributes, algorithm, signature } = decode(derOf(pem))
  const key = keyOf(spki)
  const hash = HASHES.get(algorithm.raw.toString('hex'))
  if (hash === undefined) throw invalid('its signature is not ECDSA with SHA-2')
  // first octet of a BIT STRING: how many bits of the last one are unused
  if (signature.content[0] !== 0 || !verify(hash, info.raw, key, signature.content.subarray(1)))
    throw invalid('its signature does not verify')
  if (attributes.content.length > 0) {
    throw new MeshError(
      'CSR_NOT_ALLOWED',
      'certificate request: it asks for attributes (extensions, a challenge password), and the CA grants none',
    )
  }
  return { spkiDer: spki.raw, publicKeyHash: hashOfKey(spki.raw) }
}

/** SHA-256 of a SubjectPublicKeyInfo in DER, lower-case hex. */
export function hashOfKey(spkiDer: Uint8Array): string {
  return createHash('sha256').update(spkiDer).digest('hex')
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

interface Parts {
  readonly info: Element
  readonly spki: Element
  readonly attributes: Element
  readonly algorithm: Element
  readonly signature: Element
}

function decode(der: Buffer): Parts {
  try {
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
    return { info, spki, attributes, algorithm, signature }
  } catch (error) {
    if (error instanceof NotDer) throw invalid(error.message, error)
    throw error
  }
}

function keyOf(spki: Element): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey({ key: spki.raw, format: 'der', type: 'spki' })
  } catch (error) {
    throw new MeshError('CSR_KEY_UNSUPPORTED', 'certificate request: its key cannot be read', {
      cause: error,
    })
  }
  const curve = key.asymmetricKeyDetails?.namedCurve
  // what OpenSSL writes back is the canonical form: compressed points and explicit curve parameters differ from it
  if (
    key.asymmetricKeyType !== 'ec' ||
    curve === undefined ||
    !CURVES.has(curve) ||
    !canonicalOf(key).equals(spki.raw)
  )
    throw new MeshError('CSR_KEY_UNSUPPORTED', 'certificate request: its key is not ECDSA P-256 or P-384')
  return key
}

/** Node keeps the point form it has read; by way of a JWK it is the uncompressed one. */
const canonicalOf = (key: KeyObject): Buffer =>
  createPublicKey({ key: key.export({ format: 'jwk' }), format: 'jwk' }).export({
    format: 'der',
    type: 'spki',
  })

const invalid = (why: string, cause?: unknown): MeshError =>
  new MeshError('CSR_INVALID', `certificate request: ${why}`, { cause })
