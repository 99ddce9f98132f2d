// The CA's private keys at rest: PKCS#8 encrypted under a passphrase, 0600 files in the CA's directory. A passphrase is a
// value handed in; it is never read from the environment or kept.

import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { readSecret, writeSecret } from '../host/files.js'
import { MeshError } from '../mesh/errors.js'

export interface KeyPair {
  readonly privateKey: KeyObject
  /** SubjectPublicKeyInfo. */
  readonly spkiDer: Buffer
}

/** A fresh ECDSA P-256 pair, in memory. */
export function newKeyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { privateKey, spkiDer: publicKey.export({ format: 'der', type: 'spki' }) }
}

/** @throws MeshError PASSPHRASE_MISSING when the passphrase is empty */
export function writeKey(file: string, key: KeyObject, passphrase: string): void {
  if (passphrase === '') throw new MeshError('PASSPHRASE_MISSING', `no passphrase was given for ${file}`)
  writeSecret(
    file,
    key.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase }).toString(),
  )
}

/**
 * Opens a key.
 * @throws MeshError CONFIG_MISSING | STATE_PERMISSIONS | STATE_UNREADABLE | PASSPHRASE_MISSING | PASSPHRASE_WRONG
 */
export function readKey(file: string, passphrase: string): KeyObject {
  const pem = readSecret(file)
  if (
    !/^-----BEGIN ENCRYPTED PRIVATE KEY-----\n[A-Za-z0-9+/=\n]+-----END ENCRYPTED PRIVATE KEY-----\n$/.test(
      pem,
    )
  )
    throw new MeshError('STATE_UNREADABLE', `${file} is not an encrypted private key`)
  if (passphrase === '') throw new MeshError('PASSPHRASE_MISSING', `no passphrase was given for ${file}`)
  try {
    return createPrivateKey({ key: pem, format: 'pem', passphrase })
  } catch (error) {
    throw new MeshError('PASSPHRASE_WRONG', `the passphrase does not open ${file}`, { cause: error })
  }
}
