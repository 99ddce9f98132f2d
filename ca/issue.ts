// From a checked request to a leaf that may be handed out: profile, signature, second reading. Nothing is recorded here, so
// nothing that leaves here has been promised to anybody.

import { MeshError } from '../mesh/errors.js'
import { formatPem } from '../mesh/pem.js'
import type { SpiffeId } from '../mesh/spiffe-id.js'
import type { Checked } from './certificate/check-issued.js'
import type { Csr } from './certificate/csr.js'
import { memberProfile } from './certificate/profile.js'
import { signChecked } from './certificate/sign.js'
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

/** @throws MeshError CA_EXPIRED | CLOCK_SKEW | ISSUE_CHECK_FAILED */
export async function issueMemberLeaf(ca: IssuingCa, wanted: MemberLeaf): Promise<NewCertificate> {
  const { id, instanceId, csr, origin, now } = wanted
  const leaf = await signChecked(memberProfile(wanted, ca.signer), csr.spkiDer, ca.signer)
  // the profile might be another's
  if (leaf.uri !== id || leaf.subjectSerialNumber !== instanceId)
    throw new MeshError('ISSUE_CHECK_FAILED', `the certificate just signed for ${id} reads as another`)
  const { publicKeyHash } = csr
  return recordOf(leaf, { id, instanceId, issuer: ca.issuer, origin, issuedAt: now, publicKeyHash })
}

export interface Issued {
  readonly id: SpiffeId
  readonly instanceId: string
  readonly issuer: string
  readonly origin: Origin
  readonly issuedAt: number
  readonly publicKeyHash: string
}

/** What the store keeps of a leaf, as it was read from its bytes. */
export function recordOf({ der, serial, notBefore, notAfter }: Checked, issued: Issued): NewCertificate {
  return { ...issued, serial, notBefore, notAfter, pem: formatPem('CERTIFICATE', der) }
}
