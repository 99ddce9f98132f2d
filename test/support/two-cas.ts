// A root and an issuing CA in memory, as init makes them, for tests of what they sign.

import { issuingProfile, rootProfile } from '../../ca/certificate/profile.js'
import { openSigner, type Signer, signCertificate, signRoot } from '../../ca/certificate/sign.js'
import { signingKeyOf } from '../../ca/certificate/signing-key.js'
import type { Hierarchy, IssuingCa } from '../../ca/hierarchy.js'
import { newKeyPair } from '../../ca/keys/key-pair.js'
import { keyFingerprintOf } from '../../mesh/authorities.js'
import { parseTrustDomain } from '../../mesh/spiffe-id.js'
import { parseTrustBundle } from '../../mesh/trust-bundle.js'

export interface TwoCas {
  readonly root: Signer
  readonly issuing: Signer
  readonly hierarchy: Hierarchy
}

export async function twoCas(now: number): Promise<TwoCas> {
  const trustDomain = parseTrustDomain('acme.internal')
  const query = { trustDomain, dev: true, nonce: 'aabbccdd', now }
  const rootKey = signingKeyOf(newKeyPair().privateKey)
  const root = await openSigner(await signRoot(rootProfile(query), rootKey), rootKey)
  const key = signingKeyOf(newKeyPair().privateKey)
  const certificate = await signCertificate(issuingProfile(query, root), key.spkiDer, root)
  const issuing = await openSigner(certificate, key)
  const only: IssuingCa = {
    issuing: certificate,
    issuer: keyFingerprintOf(certificate),
    signer: issuing,
    root: root.certificate,
  }
  const roots = [root.certificate]
  const bundle = parseTrustBundle(trustDomain, root.certificate.toString())
  const hierarchy: Hierarchy = {
    trustDomain,
    roots,
    bundle,
    issuers: [only],
    revokedIssuers: [],
    authorities: [],
    current: () => only,
  }
  return { root, issuing, hierarchy }
}
