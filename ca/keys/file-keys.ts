// Keys as files of the CA's directory: `<label>.key.pem`, PKCS#8 encrypted under a passphrase (encrypted-key.ts), 0600. A passphrase
// is a value handed in; it is never read from the environment, and never written.

import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { readSecret, writeSecret } from '../../host/files.js'
import { MeshError } from '../../mesh/errors.js'
import { type SigningKey, signingKeyOf } from '../certificate/signing-key.js'
import { decryptKey, encryptKey, SCRYPT, SCRYPT_DEV, type ScryptCost } from './encrypted-key.js'
import type { KeyLabel, KeyPlace, KeySecrets, KeyStore } from './key-store.js'

const LABEL = /^(root|issuing)(-[0-9a-f]{1,40})?$/
const FILE = /^((root|issuing)(-[0-9a-f]{1,40})?)\.key\.pem$/

export function openFileKeys({ dir, secrets, dev }: KeyPlace): KeyStore {
  const cost = dev ? SCRYPT_DEV : SCRYPT
  return {
    create: async (label) => await create(fileOf(dir, label), secretFor(label, secrets), cost),
    open: async (label) => {
      const file = fileOf(dir, label)
      if (!existsSync(file)) throw absent(label, file)
      return await openKeyFile(file, secretFor(label, secrets))
    },
    destroy: (label) => {
      rmSync(fileOf(dir, label), { force: true })
      return Promise.resolve()
    },
    reaches: () => true,
    list: (usage) =>
      Promise.resolve(
        readdirSync(dir)
          .sort()
          .flatMap((name) => (FILE.exec(name)?.[1] as KeyLabel | undefined) ?? [])
          .filter((label) => label.startsWith(usage)),
      ),
    close: () => Promise.resolve(),
  }
}

/** @throws RangeError for a label that no file may have */
export function fileOf(dir: string, label: KeyLabel): string {
  if (!LABEL.test(label)) throw new RangeError(`not a label of a key: ${label}`)
  return path.join(dir, `${label}.key.pem`)
}

/**
 * Opens one key file, wherever it lies. One of an older release (PBKDF2) is encrypted anew.
 * @throws MeshError CONFIG_MISSING | STATE_PERMISSIONS | STATE_UNREADABLE | PASSPHRASE_MISSING | PASSPHRASE_WRONG
 */
export async function openKeyFile(file: string, passphrase: string | null): Promise<SigningKey> {
  const pem = readSecret(file)
  if (passphrase === null || passphrase === '') throw notGiven(file)
  const { pkcs8Der, kdf } = await decryptKey(pem, passphrase, file)
  const key = readPkcs8(pkcs8Der, file)
  const signing = signingKeyOf(key)
  if (kdf === 'pbkdf2') writeSecret(file, await encryptKey(pkcs8Der, passphrase, SCRYPT))
  return signing
}

async function create(file: string, passphrase: string | null, cost: ScryptCost): Promise<SigningKey> {
  if (existsSync(file)) throw new MeshError('CA_KEY_EXISTS', `${file} exists already`)
  if (passphrase === null || passphrase === '') throw notGiven(file)
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  writeSecret(file, await encryptKey(privateKey.export({ format: 'der', type: 'pkcs8' }), passphrase, cost))
  return signingKeyOf(privateKey)
}

/** What came out of a wrong passphrase may by chance end like a padded text, but it is no key. */
function readPkcs8(der: Buffer, file: string): KeyObject {
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  } catch (error) {
    throw new MeshError('PASSPHRASE_WRONG', `the passphrase does not open ${file}`, { cause: error })
  }
}

const secretFor = (label: KeyLabel, { root, issuing }: KeySecrets): string | null =>
  label.startsWith('root') ? root : issuing

const notGiven = (file: string): MeshError =>
  new MeshError('PASSPHRASE_MISSING', `no passphrase was given for ${file}`)

const absent = (label: KeyLabel, file: string): MeshError =>
  label.startsWith('root')
    ? new MeshError('ROOT_KEY_ABSENT', `${file} is not here`)
    : new MeshError('CA_KEY_MISSING', `${file} does not exist`)
