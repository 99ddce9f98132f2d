// Renewal after expiry: the certificate that a proof by its key stands for. TLS accepts the certificate no more, so all that
// speaks for the member is the key; whether what is found may renew is decided as for every renewal (authority.ts).

import { MeshError } from '../../mesh/errors.js'
import { csrHashOf, verifyRenewalProof } from '../../mesh/renewal-proof.js'
import { caId, meaningOf, type TrustDomain } from '../../mesh/spiffe-id.js'
import { PeerRefused } from '../../mesh/verify-peer.js'
import type { RenewExpiredRequest } from '../../mesh/wire/enrolment.js'
import type { CaStore, Certificate } from '../store/model.js'
import type { Nonces } from './nonces.js'

export interface ByKey {
  readonly store: CaStore
  readonly nonces: Nonces
  readonly trustDomain: TrustDomain
}

/**
 * The stored certificate whose key has signed exactly this request. The nonce is spent.
 * @param checkOften throws when this certificate's instance asks too often
 * @throws MeshError RENEW_PROOF_INVALID | RENEW_NONCE_INVALID | RENEW_TOO_OFTEN | AGENT_SUSPENDED
 */
export async function certificateByKey(
  { store, nonces, trustDomain }: ByKey,
  { serial, csrPem, proof }: RenewExpiredRequest,
  checkOften: (holder: Certificate) => void,
): Promise<Certificate> {
  const certificate = await store.findCertificate(serial)
  if (certificate === undefined || certificate.origin === 'server')
    throw new MeshError('RENEW_PROOF_INVALID', `no member holds a certificate ${serial}`)
  const claims = await verifyRenewalProof(proof, certificate.pem)
  const isForThis =
    claims.ca === caId(trustDomain) && claims.serial === serial && claims.csrHash === csrHashOf(csrPem)
  if (!isForThis) throw new MeshError('RENEW_PROOF_INVALID', `the proof of ${serial} is for something else`)
  // only now: who holds no key of ours cannot fill the memory of what was spent, nor can one who does, also after it was revoked
  checkOften(certificate)
  await checkSuspended(store, certificate)
  nonces.spend(claims.nonce)
  return certificate
}

/** It asks on until it is resumed, and may, as often as it likes: so it costs no nonce, no signature and no row of the audit. */
async function checkSuspended(store: CaStore, { id, instanceId, serial }: Certificate): Promise<void> {
  const meaning = meaningOf(id)
  if (meaning.kind === 'ca' || meaning.kind === 'foreign') return
  const member = await store.findMember(meaning)
  if (member?.state === 'suspended')
    throw new PeerRefused('AGENT_SUSPENDED', `${id} is suspended`, { id, instance: instanceId, serial })
}
