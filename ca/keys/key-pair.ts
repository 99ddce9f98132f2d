// A fresh key pair in memory: the CA's own server key, which lives as long as the process. CA keys are made by their key store.

import { generateKeyPairSync, type KeyObject } from 'node:crypto'

export interface KeyPair {
  readonly privateKey: KeyObject
  /** SubjectPublicKeyInfo. */
  readonly spkiDer: Buffer
}

/** ECDSA P-256. */
export function newKeyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { privateKey, spkiDer: publicKey.export({ format: 'der', type: 'spki' }) }
}
