// The proof by which a member renews although its certificate has expired and TLS accepts it no more: a JWS (RFC 7515, compact)
// by the old key over what is asked for, of whom, and a number that the CA gave for this one attempt. The header says an
// algorithm and a type, nothing else: a proof that brings its own key, or another algorithm than the key's, is no proof.

import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { CompactSign, compactVerify, decodeProtectedHeader } from 'jose'
import { MeshError } from './errors.js'
import { integer, readJson, record, text, word } from './parse.js'
import { parseSpiffeId, type SpiffeId } from './spiffe-id.js'

/** What one proof is for; it holds for nothing else. */
export interface RenewalClaims {
  /** The CA that is asked. */
  readonly ca: SpiffeId
  /** Of the certificate whose key signs. */
  readonly serial: string
  /** The CA's, single use. */
  readonly nonce: string
  /** SHA-256 of the certificate request's DER, lower-case hex. */
  readonly csrHash: string
}

/** Tells this proof from every other JWS that the key might sign (RFC 8725 §3.11). */
const TYPE = 'troth-renewal+jws'
const VERSION = 1
const ALGORITHMS: ReadonlyMap<string | undefined, string> = new Map([
  ['prime256v1', 'ES256'],
  ['secp384r1', 'ES384'],
])

const READ_CLAIMS = record({
  v: integer(VERSION, VERSION),
  ca: word(parseSpiffeId),
  serial: text(40),
  nonce: text(128),
  csr: text(64),
})

/** SHA-256 of a PKCS#10 request's DER, lower-case hex. */
export function csrHashOf(csrPem: string): string {
  const body = csrPem.replaceAll(/-----[A-Z ]+-----/g, '')
  return createHash('sha256').update(Buffer.from(body, 'base64')).digest('hex')
}

/**
 * @param keyPem PKCS#8 of the certificate that renews
 * @returns the compact serialization
 */
export function signRenewalProof(claims: RenewalClaims, keyPem: string): Promise<string> {
  const key = createPrivateKey(keyPem)
  const { ca, serial, nonce, csrHash: csr } = claims
  const payload = Buffer.from(JSON.stringify({ v: VERSION, ca, serial, nonce, csr }))
  return new CompactSign(payload).setProtectedHeader({ alg: algorithmOf(key), typ: TYPE }).sign(key)
}

/**
 * What the holder of that key has signed.
 * @param keyPem the public key, or a certificate with it
 * @throws MeshError RENEW_PROOF_INVALID
 */
export async function verifyRenewalProof(proof: string, keyPem: string): Promise<RenewalClaims> {
  const key = createPublicKey(keyPem)
  const payload = await verifiedPayload(proof, key)
  const { ca, serial, nonce, csr } = readJson(payload, READ_CLAIMS, 'renewal proof', 'RENEW_PROOF_INVALID')
  return { ca, serial, nonce, csrHash: csr }
}

async function verifiedPayload(proof: string, key: KeyObject): Promise<Buffer> {
  try {
    const { alg: _alg, typ, ...more } = decodeProtectedHeader(proof)
    if (typ !== TYPE || Object.keys(more).length > 0) throw new Error('the header is not that of a renewal')
    const { payload } = await compactVerify(proof, key, { algorithms: [algorithmOf(key)] })
    return Buffer.from(payload)
  } catch (error) {
    throw new MeshError('RENEW_PROOF_INVALID', 'the proof is not signed by the key of the certificate', {
      cause: error,
    })
  }
}

/** The one algorithm that fits the key (RFC 7518 §3.4). @throws MeshError RENEW_PROOF_INVALID */
function algorithmOf(key: KeyObject): string {
  const algorithm = ALGORITHMS.get(key.asymmetricKeyDetails?.namedCurve)
  if (algorithm === undefined)
    throw new MeshError('RENEW_PROOF_INVALID', 'only ECDSA keys on P-256 and P-384 renew after expiry')
  return algorithm
}
