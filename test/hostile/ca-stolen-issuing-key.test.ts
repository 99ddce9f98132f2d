import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { memberProfile } from '../../ca/certificate/profile.js'
import { openSigner } from '../../ca/certificate/sign.js'
import { signingKeyOf } from '../../ca/certificate/signing-key.js'
import { writeCertificate, writeTemplate } from '../../ca/certificate/template.js'
import { makeKey } from '../../member/identity/csr.js'
import { parseSpiffeId } from '../../mesh/spiffe-id.js'
import { csrOf } from '../support/expired-member.js'
import { codeOf, PASSPHRASES, startCa, type TestCa, type TestMember } from '../support/running-ca.js'

/** A leaf of the same name and serial as the member's, by the CA's own issuing key, for another key. */
async function forge(ca: TestCa, member: TestMember): Promise<Pick<TestMember, 'keyPem' | 'chainPem'>> {
  const file = (name: string): string => readFileSync(path.join(ca.home, 'ca', name), 'utf8')
  const issuing = new X509Certificate(file('issuing.pem'))
  const stolen = createPrivateKey({ key: file('issuing.key.pem'), passphrase: PASSPHRASES.issuing })
  const signer = await openSigner(issuing, signingKeyOf(stolen))
  const keyPem = await makeKey()
  const spkiDer = createPublicKey(keyPem).export({ type: 'spki', format: 'der' })
  const id = parseSpiffeId('spiffe://acme.internal/agent/planner')
  const { instanceId } = member
  const profile = memberProfile({ id, instanceId, ttlMs: 3_600_000, now: Date.now() }, signer)
  const { issuer } = signer
  const tbs = writeTemplate({ profile, spkiDer, issuer, serial: Buffer.from(member.serial, 'hex') })
  const leaf = new X509Certificate(writeCertificate(tbs, await signer.key.sign(tbs)))
  return { keyPem, chainPem: leaf.toString() + issuing.toString() }
}

it('a certificate minted with a stolen issuing key under a known serial opens no member door', async () => {
  await using ca = await startCa()
  const member = await ca.enrol('planner')
  const forged = await forge(ca, member)
  const leaf = new X509Certificate(forged.chainPem)
  expect([leaf.serialNumber.toLowerCase(), leaf.subjectAltName]).toEqual([
    member.serial,
    member.leaf.subjectAltName,
  ])
  const reply = await ca.member(forged, 'POST', '/v1/renew', { csrPem: await csrOf(member) })
  expect(codeOf(reply)).toBe('PEER_FORGED')
  await expect(ca.feed(forged)).rejects.toMatchObject({ code: 'PEER_FORGED' })
  expect(
    codeOf(await ca.member(member, 'POST', '/v1/renew', { csrPem: await csrOf(member) })),
  ).toBeUndefined()
})
