// From a checked request to a leaf that may be handed out: profile, signature, second reading. Nothing is recorded here, so
// nothing that leaves here has been promised to anybody.

import type { X509Certificate } from 'node:crypto'
import { MeshError } from '../mesh/errors.js'
import type { SpiffeId } from '../mesh/spiffe-id.js'
import { parseSvid } from '../mesh/svid.js'
import { checkIssued } from './certificate/check-issued.js'
import { type Csr, hashOfKey } from './certificate/csr.js'
import { memberProfile, type Profile } from './certificate/profile.js'
import { signCertificate } from './certificate/sign.js'
import type { IssuingCa } from './hierarchy.js'
import type { NewCertificate, Origin } from './store/model.js'

export interface MemberLeaf {
  readonly id: SpiffeId
  readonly instanceId: string
  readonly ttlMs: number
  readonly csr: Csr
  readonly origin: Origin
  readonly now: number
}

/** @throws MeshError CA_EXPIRED | ISSUE_CHECK_FAILED */
export async function issueMemberLeaf(ca: IssuingCa, wanted: MemberLeaf): Promise<NewCertificate> {
  const { csr, origin, instanceId, now } = wanted
  const profile = memberProfile(wanted, ca.signer)
  const leaf = await signLeaf(ca, profile, csr.spkiDer)
  const svid = parseSvid(leaf, ca.issuing)
  if (svid.id !== wanted.id || svid.instanceId !== instanceId || svid.issuer !== ca.issuer)
    throw new MeshError('ISSUE_CHECK_FAILED', `the certificate just signed for ${wanted.id} reads as another`)
  return recordOf(leaf, { ...wanted, issuer: ca.issuer, origin, issuedAt: now, spkiDer: csr.spkiDer })
}

/** Signs, and reads again what was signed. @throws MeshError ISSUE_CHECK_FAILED */
export async function signLeaf(
  ca: Pick<IssuingCa, 'signer' | 'issuing'>,
  profile: Profile,
  spkiDer: Uint8Array,
): Promise<X509Certificate> {
  const leaf = await signCertificate(profile, spkiDer, ca.signer)
  checkIssued(leaf, { profile, spkiDer, issuer: ca.issuing })
  return leaf
}

export interface Issued {
  readonly id: SpiffeId
  readonly instanceId: string
  readonly issuer: string
  readonly origin: Origin
  readonly issuedAt: number
  readonly spkiDer: Uint8Array
}

/** What the store keeps of a leaf. */
export function recordOf(leaf: X509Certificate, issued: Issued): NewCertificate {
  const { id, instanceId, issuer, origin, issuedAt, spkiDer } = issued
  return {
    serial: leaf.serialNumber.toLowerCase(),
    issuer,
    id,
    instanceId,
    publicKeyHash: hashOfKey(spkiDer),
    origin,
    notBefore: Date.parse(leaf.validFrom),
    notAfter: Date.parse(leaf.validTo),
    issuedAt,
    pem: leaf.toString(),
  }
}
