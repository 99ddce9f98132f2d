// A member whose certificate has expired by the CA's clock, and what it sends to renew by its key; a test bends one thing of it.

import { createPrivateKey, randomUUID } from 'node:crypto'
import { CompactSign } from 'jose'
import { makeKeyAndCsr } from '../../member/identity/csr.js'
import { csrHashOf, type RenewalClaims, signRenewalProof } from '../../mesh/renewal-proof.js'
import { caId } from '../../mesh/spiffe-id.js'
import { READ_RENEW_NONCE, type RenewExpiredRequest } from '../../mesh/wire/enrolment.js'
import { answerOf, type Reply, type TestCa, type TestMember, TRUST_DOMAIN } from './running-ca.js'

export const HOUR = 3_600_000

export async function nonceOf(ca: TestCa): Promise<string> {
  return answerOf(await ca.public('GET', '/v1/renew-expired'), READ_RENEW_NONCE).nonce
}

export const csrOf = async (member: Pick<TestMember, 'name'>): Promise<string> =>
  (await makeKeyAndCsr({ commonName: member.name, instanceId: randomUUID() })).csrPem

export interface Bent {
  readonly claims?: Partial<RenewalClaims>
  /** Signs in the place of the member's own. */
  readonly keyPem?: string
  readonly request?: Partial<RenewExpiredRequest>
}

/** What an honest member sends, with what the test bends. */
export async function renewalOf(
  ca: TestCa,
  member: TestMember,
  { claims = {}, keyPem = member.keyPem, request = {} }: Bent = {},
): Promise<RenewExpiredRequest> {
  const csrPem = request.csrPem ?? (await csrOf(member))
  const honest = {
    ca: caId(TRUST_DOMAIN),
    serial: member.serial,
    nonce: await nonceOf(ca),
    csrHash: csrHashOf(csrPem),
  }
  const proof = await signRenewalProof({ ...honest, ...claims }, keyPem)
  return { serial: member.serial, csrPem, proof, ...request }
}

export const renewByKey = async (ca: TestCa, member: TestMember, bent: Bent = {}): Promise<Reply> =>
  ca.public('POST', '/v1/renew-expired', await renewalOf(ca, member, bent))

/** A proof with another header, over honest claims. */
export async function proofWithHeader(
  ca: TestCa,
  member: TestMember,
  header: { alg: string; [more: string]: unknown },
): Promise<RenewExpiredRequest> {
  const request = await renewalOf(ca, member)
  const [, payload = ''] = request.proof.split('.')
  const proof = await new CompactSign(Buffer.from(payload, 'base64url'))
    .setProtectedHeader({ typ: 'troth-renewal+jws', ...header })
    .sign(createPrivateKey(member.keyPem))
  return { ...request, proof }
}
