// The private half of a CA, behind the one interface by which certificates and CRLs get their signatures. Where the key lives
// (an encrypted file, a PKCS#11 token) is its owner's business: nobody who signs ever sees it.

import { createPublicKey, type KeyObject, sign } from 'node:crypto'
import { MeshError } from '../../mesh/errors.js'

export interface SigningKey {
  /** SubjectPublicKeyInfo, DER; P-256. */
  readonly spkiDer: Buffer
  /** ecdsa-with-SHA256 over `data`: ECDSA-Sig-Value in DER (RFC 3279 §2.2.3). */
  sign(data: Uint8Array): Promise<Buffer>
}

/**
 * A key in memory. It signs on the calling thread: 30 us, less than the way to a worker thread costs.
 * @throws MeshError STATE_UNREADABLE when it is not a private ECDSA P-256 key
 */
export function signingKeyOf(key: KeyObject): SigningKey {
  if (key.type !== 'private' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new MeshError('STATE_UNREADABLE', 'the CA key is not an ECDSA P-256 private key')
  return {
    spkiDer: createPublicKey(key).export({ format: 'der', type: 'spki' }),
    sign: (data) => Promise.resolve(sign('sha256', data, key)),
  }
}
