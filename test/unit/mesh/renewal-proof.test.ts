import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { CompactSign } from 'jose'
import { describe, expect, it } from 'vitest'
import { signRenewalProof, verifyRenewalProof } from '../../../mesh/renewal-proof.js'
import { caId, parseTrustDomain } from '../../../mesh/spiffe-id.js'

const claims = {
  ca: caId(parseTrustDomain('acme.internal')),
  serial: '4a01',
  nonce: 'n',
  csrHash: 'c'.repeat(64),
}
const pemOf = (key: KeyObject, type: 'pkcs8' | 'spki'): string =>
  key.export({ format: 'pem', type }).toString()

describe('a proof for a renewal by key', () => {
  it.each(['P-256', 'P-384'])('is signed and read with %s', async (namedCurve) => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve })
    const proof = await signRenewalProof(claims, pemOf(privateKey, 'pkcs8'))
    expect(await verifyRenewalProof(proof, pemOf(publicKey, 'spki'))).toEqual(claims)
  })

  it('is by an ECDSA key: with those of foreign clients nobody renews after expiry', async () => {
    const payload = Buffer.from(JSON.stringify({ v: 1, ...claims, csr: claims.csrHash }))
    const keys = [
      { alg: 'RS256', pair: generateKeyPairSync('rsa', { modulusLength: 2048 }) },
      { alg: 'EdDSA', pair: generateKeyPairSync('ed25519') },
    ]
    for (const { alg, pair } of keys) {
      const signing = new CompactSign(payload).setProtectedHeader({ alg, typ: 'troth-renewal+jws' })
      await expect(
        verifyRenewalProof(await signing.sign(pair.privateKey), pemOf(pair.publicKey, 'spki')),
      ).rejects.toMatchObject({ code: 'RENEW_PROOF_INVALID' })
    }
  })
})
