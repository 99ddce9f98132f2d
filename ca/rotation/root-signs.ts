// What the root's key signs for a rotation: the new issuing CA, and when the root itself is replaced its successor and the cross
// certificate. Runs where the root's key is opened (the command, on the CA's host), never in the serving CA; private keys stay in their
// store, only certificates go on.

import { randomBytes, X509Certificate } from 'node:crypto'
import { isMeshError, MeshError } from '../../mesh/errors.js'
import { DEV_ROOT_MARK, isDevRoot } from '../../mesh/trust-bundle.js'
import type { ToSign } from '../../mesh/wire/rotation.js'
import { issuingProfile, type Profile, rootProfile } from '../certificate/profile.js'
import { openSigner, type Signer, signCertificate, signRoot } from '../certificate/sign.js'
import type { SigningKey } from '../certificate/signing-key.js'
import { signRootCrl } from '../crl.js'
import type { KeyLabel, KeyStore } from '../keys/key-store.js'
import type { StoredCrl } from '../store/model.js'

/** What a rotation is handed. Certificates of a root rotation are null in that of an issuing CA. */
export interface SignedByRoot {
  readonly issuing: X509Certificate
  readonly root: X509Certificate | null
  /** The new root's key signed by the old root; null also when the old root has no life left to give. */
  readonly cross: X509Certificate | null
  /** Of the root that signed the issuing CA, and of the root before. */
  readonly crls: readonly StoredCrl[]
}

export interface RootAtWork {
  readonly asked: ToSign
  /** Opens the present root's key. */
  readonly openRoot: () => Promise<SigningKey>
  /** Keeps the next root's key. */
  readonly keys: KeyStore
  readonly now: number
}

/** @throws MeshError CA_EXPIRED, and those of opening and making keys */
export async function signByRoot({ asked, openRoot, keys, now }: RootAtWork): Promise<SignedByRoot> {
  const present = new X509Certificate(asked.rootPem)
  const signer = await openSigner(present, await openRoot())
  const issuingSpki = Buffer.from(asked.issuingSpki, 'base64')
  const query = {
    trustDomain: asked.trustDomain,
    dev: isDevRoot(present),
    nonce: randomBytes(4).toString('hex'),
    now,
  }
  const crlOf = (root: Signer, nextUpdate: number): Promise<StoredCrl> =>
    signRootCrl(root, {
      revoked:
        root === signer
          ? asked.revoked.map((each) => ({ ...each, reason: 'keyCompromise', revokedFor: null }))
          : [],
      above: 0,
      now,
      nextUpdate,
    })
  if (asked.kind === 'issuing') {
    const issuing = await signCertificate(issuingProfile(query, signer), issuingSpki, signer)
    return { issuing, root: null, cross: null, crls: [await crlOf(signer, Date.parse(issuing.validTo))] }
  }
  const key = await nextRootKey(keys, asked.rootLabel)
  // the same name: the cross certificate is then the root's own next key, which path lengths do not count (RFC 5280 §4.2.1.9)
  const profile = { ...rootProfile(query), subject: subjectOf(present) }
  const root = await signRoot(profile, key)
  const next = await openSigner(root, key)
  const cross = await crossOf(profile, key, signer)
  const issuing = await signCertificate(issuingProfile(query, next), issuingSpki, next)
  const crls = [await crlOf(next, Date.parse(issuing.validTo))]
  if (signer.notAfter > now) crls.push(await crlOf(signer, signer.notAfter))
  return { issuing, root, cross, crls }
}

/** Made once: a command that was killed after it finds it again. */
async function nextRootKey(keys: KeyStore, label: KeyLabel): Promise<SigningKey> {
  try {
    return await keys.create(label)
  } catch (error) {
    if (!isMeshError(error, 'CA_KEY_EXISTS')) throw error
    return keys.open(label)
  }
}

async function crossOf(profile: Profile, key: SigningKey, old: Signer): Promise<X509Certificate | null> {
  const notBefore = Math.max(profile.notBefore, old.notBefore)
  const notAfter = Math.min(profile.notAfter, old.notAfter)
  if (notAfter <= profile.notBefore) return null
  return signCertificate({ ...profile, notBefore, notAfter }, key.spkiDer, old)
}

/** The subject as a profile says it: what this CA writes into roots, and nothing else. */
function subjectOf(root: X509Certificate): Profile['subject'] {
  return root.subject.split('\n').map((line) => {
    const [, attribute, value = ''] = /^(CN|O)=(.+)$/.exec(line) ?? []
    if (attribute !== 'CN' && attribute !== 'O')
      throw new MeshError('STATE_UNREADABLE', `the root's name is not one of ${DEV_ROOT_MARK} or Troth`)
    return { attribute, value }
  })
}
