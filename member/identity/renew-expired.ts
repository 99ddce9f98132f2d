// Renewal by the key alone, for a certificate that TLS accepts no more: after a long sleep, or after a suspension was lifted. The CA
// proves itself by TLS, this member by a JWS over the request, the CA's number for this attempt, the CA and the old serial.

import { csrHashOf, signRenewalProof } from '../../mesh/renewal-proof.js'
import { caId } from '../../mesh/spiffe-id.js'
import type { Enrolment } from '../../mesh/wire/enrolment.js'
import { type CaPeer, fetchRenewNonce, postRenewExpired } from './ca-client.js'
import type { Identity } from './credentials.js'

/** @throws MeshError the CA's refusal, CA_UNREACHABLE | CA_IDENTITY_WRONG | CLOCK_SKEW | WIRE_MALFORMED */
export async function renewByKey(
  peer: CaPeer,
  { svid, keyPem }: Identity,
  csrPem: string,
  signal: AbortSignal,
): Promise<Enrolment> {
  const { nonce } = await fetchRenewNonce(peer, signal)
  const { serial } = svid
  const claims = { ca: caId(peer.bundle.trustDomain), serial, nonce, csrHash: csrHashOf(csrPem) }
  const proof = await signRenewalProof(claims, keyPem)
  return postRenewExpired(peer, { serial, csrPem, proof }, signal)
}
