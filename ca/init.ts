// Makes the CA of a home, once: keys, certificates, database. It is built aside and moved into place, so there is a whole CA or none.

import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import type { Clock } from '../host/clock.js'
import { makePrivateDir, writeSecret } from '../host/files.js'
import { MeshError } from '../mesh/errors.js'
import type { TrustDomain } from '../mesh/spiffe-id.js'
import { fingerprintOf } from '../mesh/trust-bundle.js'
import { createHierarchy, recordFirst } from './hierarchy.js'
import { onTokens, writeKeyChoice } from './keys/key-choice.js'
import { type KeyStore, openKeyStore } from './keys/key-store.js'
import { parseHost } from './place.js'
import { createCaStore, openCaStore } from './store.js'

/** PKCS#11 tokens that are to hold keys. */
export interface Tokens {
  /** Path of the module. */
  readonly module: string
  /** Label of the token with the keys of issuing CAs. */
  readonly issuingToken: string
  /** Label of the token with the root's key; null: an encrypted file. */
  readonly rootToken: string | null
}

export interface InitOptions {
  readonly home: string
  readonly trustDomain: TrustDomain
  /** Host that tokens and the server certificate carry. */
  readonly address: string
  readonly dev: boolean
  /** What opens the keys: a passphrase, or the PIN of the token that is to hold it. */
  readonly passphrases: { readonly root: string; readonly issuing: string }
  /** Null: encrypted files hold the keys. */
  readonly tokens: Tokens | null
  readonly clock: Clock
}

export interface InitedCa {
  /** `<home>/ca` */
  readonly dir: string
  /** SHA-256 of the root's DER, lower-case hex. */
  readonly rootFingerprint: string
  /** Instants, ms since epoch. */
  readonly rootNotAfter: number
  readonly issuingNotAfter: number
}

/**
 * Makes `<home>/ca`: `root.pem`, `issuing.pem`, their keys, `ca.db`, and with dev also `passphrase` (of the issuing key) and `root-passphrase`.
 * @throws MeshError CONFIG_EXISTS | CONFIG_INVALID | PASSPHRASE_MISSING | PKCS11_*
 */
export async function initCa(options: InitOptions): Promise<InitedCa> {
  const { home, trustDomain, dev, passphrases } = options
  const address = parseHost(options.address)
  const dir = path.join(home, 'ca')
  if (existsSync(dir) && readdirSync(dir).length > 0)
    throw new MeshError('CONFIG_EXISTS', `${dir} exists already`)
  makePrivateDir(home)
  const aside = mkdtempSync(path.join(home, 'ca.new-'))
  try {
    if (options.tokens !== null) writeKeyChoice(aside, onTokens(options.tokens))
    const { root, issuing, rootCrl } = await makeKeysAndCertificates(options, aside)
    const db = path.join(aside, 'ca.db')
    createCaStore(db, { trustDomain, address })
    const store = openCaStore(db)
    await recordFirst(aside, store)
    await store.saveCrl(rootCrl)
    await store.close()
    if (dev) {
      writeSecret(path.join(aside, 'passphrase'), `${passphrases.issuing}\n`)
      writeSecret(path.join(aside, 'root-passphrase'), `${passphrases.root}\n`)
    }
    renameSync(aside, dir)
    return {
      dir,
      rootFingerprint: fingerprintOf(root),
      rootNotAfter: Date.parse(root.validTo),
      issuingNotAfter: Date.parse(issuing.validTo),
    }
  } catch (error) {
    rmSync(aside, { recursive: true, force: true })
    throw error
  }
}

async function makeKeysAndCertificates(
  { trustDomain, dev, passphrases, clock }: InitOptions,
  dir: string,
): ReturnType<typeof createHierarchy> {
  const keys = await openKeyStore({ dir, secrets: passphrases, dev })
  try {
    return await createHierarchy({ dir, trustDomain, dev, keys, now: clock.now() })
  } catch (error) {
    await destroyAll(keys)
    throw error
  } finally {
    await keys.close()
  }
}

/** Nothing is left on a token either; what went wrong first is what is told. */
async function destroyAll(keys: KeyStore): Promise<void> {
  try {
    for (const usage of ['root', 'issuing'] as const)
      for (const label of await keys.list(usage)) await keys.destroy(label)
  } catch {
    // the token that failed is asked in vain
  }
}
