// The CA's private keys by label, wherever they live: encrypted files of the CA's directory, or a PKCS#11 token. Who signs holds a
// SigningKey and never learns which; no key leaves its store but by `root export` of an encrypted file.

import type { SigningKey } from '../certificate/signing-key.js'
import { openFileKeys } from './file-keys.js'
import { readKeyChoice } from './key-choice.js'
import { openTokenKeys } from './pkcs11-keys.js'
import { openToken } from './pkcs11-token.js'

/** The first keys of a home have the bare names; what a rotation makes carries something of its certificate, e.g. `issuing-4f21…`. */
export type KeyLabel = 'root' | 'issuing' | `root-${string}` | `issuing-${string}`

/** Each may have a token of its own. */
export type KeyUsage = 'root' | 'issuing'

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
  /** Removes the key for good; one that is not there is no error. @throws MeshError PASSPHRASE_MISSING | PKCS11_* */
  destroy(label: KeyLabel): Promise<void>
  /** False when the key lies on a token whose PIN was not given: it can be neither looked for nor destroyed. */
  reaches(label: KeyLabel): boolean
  /** The keys of roots, or of issuing CAs, that are here, opened or not. @throws MeshError PASSPHRASE_MISSING | PKCS11_* */
  list(usage: KeyUsage): Promise<KeyLabel[]>
  /** Ends sessions with a token; the keys cannot be used afterwards. Idempotent. */
  close(): Promise<void>
}

export interface KeyPlace {
  /** `<home>/ca`, or what is to become it. */
  readonly dir: string
  readonly secrets: KeySecrets
  /** A development home: keys in files are encrypted with less work. */
  readonly dev: boolean
}

/**
 * The keys of a CA's directory. Nobody is asked for anything before a key is opened.
 * @throws MeshError STATE_UNREADABLE | PKCS11_UNAVAILABLE | PKCS11_MODULE_MISSING | PKCS11_TOKEN_MISSING
 */
export async function openKeyStore(place: KeyPlace): Promise<KeyStore> {
  const { dir, secrets } = place
  const files = openFileKeys(place)
  const choice = readKeyChoice(dir)
  if (choice === null) return files
  const { module, prefix, issuingToken, rootToken } = choice
  const onToken = async (token: string, pin: string | null): Promise<KeyStore> =>
    openTokenKeys(await openToken({ module, token }, pin), prefix)
  const issuing = await onToken(issuingToken, secrets.issuing)
  const root = rootToken === null ? files : await onToken(rootToken, secrets.root)
  const storeOf = (label: KeyLabel): KeyStore => (isRoot(label) ? root : issuing)
  return {
    create: (label) => storeOf(label).create(label),
    open: (label) => storeOf(label).open(label),
    destroy: (label) => storeOf(label).destroy(label),
    reaches: (label) =>
      isRoot(label) ? rootToken === null || secrets.root !== null : secrets.issuing !== null,
    list: (usage) => storeOf(usage).list(usage),
    close: async () => {
      await root.close()
      await issuing.close()
    },
  }
}

const isRoot = (label: KeyLabel): boolean => label.startsWith('root')
