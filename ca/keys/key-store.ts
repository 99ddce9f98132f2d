// The CA's private keys by label, wherever they live: encrypted files of the CA's directory, or a PKCS#11 token. Who signs holds a
// SigningKey and never learns which; no key leaves its store but by `root export` of an encrypted file.

import type { SigningKey } from '../certificate/signing-key.js'
import { openFileKeys } from './file-keys.js'

/** The first keys of a home have the bare names; what a rotation makes carries something of its certificate, e.g. `issuing-4f21…`. */
export type KeyLabel = 'root' | 'issuing' | `root-${string}` | `issuing-${string}`

/** What opens keys: a passphrase of files, or the PIN of a token. Null: not given, the key stays closed. */
export interface KeySecrets {
  readonly root: string | null
  readonly issuing: string | null
}

export interface KeyStore {
  /**
   * Makes a new ECDSA P-256 key and keeps it.
   * @throws MeshError CA_KEY_EXISTS | PASSPHRASE_MISSING | PKCS11_*
   */
  create(label: KeyLabel): Promise<SigningKey>
  /**
   * @throws MeshError CA_KEY_MISSING | ROOT_KEY_ABSENT | PASSPHRASE_MISSING | PASSPHRASE_WRONG | STATE_UNREADABLE |
   *   STATE_PERMISSIONS | PKCS11_*
   */
  open(label: KeyLabel): Promise<SigningKey>
  /** Removes the key for good; one that is not there is no error. */
  destroy(label: KeyLabel): Promise<void>
  /** The keys that are here, opened or not. */
  list(): Promise<KeyLabel[]>
  /** Ends sessions with a token; the keys cannot be used afterwards. Idempotent. */
  close(): Promise<void>
}

export interface KeyPlace {
  /** `<home>/ca`, or what is to become it. */
  readonly dir: string
  readonly secrets: KeySecrets
}

/** The keys of a CA's directory. Nothing is opened, nobody is asked, before a key is. */
export function openKeyStore({ dir, secrets }: KeyPlace): Promise<KeyStore> {
  return Promise.resolve(openFileKeys(dir, secrets))
}
