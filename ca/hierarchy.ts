// Root and issuing CA: made once at init, loaded at serve. The root's key is opened by init alone; serve never asks for it.

import { randomBytes, type X509Certificate } from 'node:crypto'
import path from 'node:path'
import { readState, writeFileAtomic } from '../host/files.js'
import { readCertificate } from '../mesh/certificate.js'
import { isMeshError, MeshError } from '../mesh/errors.js'
import type { TrustDomain } from '../mesh/spiffe-id.js'
import { keyFingerprintOf } from '../mesh/svid.js'
import { isDevRoot, parseTrustBundle, splitPem, type TrustBundle } from '../mesh/trust-bundle.js'
import { issuingProfile, rootProfile } from './certificate/profile.js'
import { openSigner, type Signer, signCertificate, signRoot } from './certificate/sign.js'
import type { KeyStore } from './keys/key-store.js'

/** One CA that signs leaves, with all that a signature needs: taken once for each leaf, because a rotation may come in between. */
export interface IssuingCa {
  readonly issuing: X509Certificate
  /** SHA-256 of its SubjectPublicKeyInfo, lower-case hex: the `issuer` of every serial. */
  readonly issuer: string
  readonly signer: Signer
  /** The root that vouches for it. */
  readonly root: X509Certificate
}

/** What a rotation changes while the CA serves: read anew each time it is needed, never kept. */
export interface Hierarchy {
  readonly trustDomain: TrustDomain
  /** Trusted now; the one that vouches for the current issuing CA first. */
  readonly roots: readonly X509Certificate[]
  /** The roots as a trust bundle; another object only when they are others. */
  readonly bundle: TrustBundle
  /** The current one first, then those that sign no more and have living leaves. */
  readonly issuers: readonly IssuingCa[]
  /** The one that signs now. */
  current(): IssuingCa
}

export interface NewHierarchy {
  readonly dir: string
  readonly trustDomain: TrustDomain
  readonly dev: boolean
  readonly keys: KeyStore
  readonly now: number
}

const FILES = {
  root: 'root.pem',
  issuing: 'issuing.pem',
} as const

/** Makes both CAs and writes them into `dir`, which must be private and new. */
export async function createHierarchy(
  options: NewHierarchy,
): Promise<{ root: X509Certificate; issuing: X509Certificate }> {
  const { dir, trustDomain, dev, keys, now } = options
  const query = { trustDomain, dev, nonce: randomBytes(4).toString('hex'), now }
  const profile = rootProfile(query)
  const rootKey = await keys.create('root')
  const root = await signRoot(profile, rootKey)
  const signer = await openSigner(root, rootKey)
  const { spkiDer } = await keys.create('issuing')
  const issuing = await signCertificate(issuingProfile(query, profile), spkiDer, signer)
  writeFileAtomic(path.join(dir, FILES.root), root.toString(), 0o644)
  writeFileAtomic(path.join(dir, FILES.issuing), issuing.toString(), 0o644)
  return { root, issuing }
}

export interface StoredHierarchy {
  readonly dir: string
  readonly trustDomain: TrustDomain
  readonly keys: KeyStore
  readonly dev: boolean
  readonly now: number
}

/**
 * Loads what init made and checks that it belongs together.
 * @throws MeshError CONFIG_MISSING | STATE_UNREADABLE | DEV_ROOT | CA_EXPIRED, and those of opening a key
 */
export async function openHierarchy(options: StoredHierarchy): Promise<Hierarchy> {
  const { dir, trustDomain, keys, dev, now } = options
  const root = readOne(path.join(dir, FILES.root))
  const issuing = readOne(path.join(dir, FILES.issuing))
  if (isDevRoot(root) && !dev)
    throw new MeshError('DEV_ROOT', `${path.join(dir, FILES.root)} is a development root`)
  checkAuthority(root, root, { file: FILES.root, trustDomain, now })
  checkAuthority(issuing, root, { file: FILES.issuing, trustDomain, now })
  const signer = await openSigner(issuing, await keys.open('issuing'))
  const bundle = parseTrustBundle(trustDomain, root.toString())
  const only: IssuingCa = { issuing, issuer: keyFingerprintOf(issuing), signer, root }
  return { trustDomain, roots: [root], bundle, issuers: [only], current: () => only }
}

function readOne(file: string): X509Certificate {
  const pem = readState(file)
  try {
    const [certificate, ...more] = splitPem(pem)
    if (certificate !== undefined && more.length === 0) return certificate
  } catch (error) {
    if (!isMeshError(error)) throw error
    throw new MeshError('STATE_UNREADABLE', `${file} is not a certificate`, { cause: error })
  }
  throw new MeshError('STATE_UNREADABLE', `${file} does not hold exactly one certificate`)
}

function checkAuthority(
  certificate: X509Certificate,
  signedBy: X509Certificate,
  expected: { file: string; trustDomain: TrustDomain; now: number },
): void {
  const { file, trustDomain, now } = expected
  const says = readCertificate(certificate)
  if (!certificate.checkIssued(signedBy) || !certificate.verify(signedBy.publicKey))
    throw new MeshError('STATE_UNREADABLE', `${file} was not signed by the root of this home`)
  if (!says.isCa || says.uris.join() !== `spiffe://${trustDomain}`)
    throw new MeshError('STATE_UNREADABLE', `${file} is not a CA of trust domain ${trustDomain}`)
  if (now > says.notAfter)
    throw new MeshError('CA_EXPIRED', `${file} expired at ${new Date(says.notAfter).toISOString()}`)
  if (now < says.notBefore)
    throw new MeshError(
      'STATE_UNREADABLE',
      `${file} is valid from ${new Date(says.notBefore).toISOString()}`,
      {
        hint: 'set the clock of this host',
      },
    )
}
