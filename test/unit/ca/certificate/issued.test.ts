import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkIssued } from '../../../../ca/certificate/check-issued.js'
import {
  BACKDATE_MS,
  issuingProfile,
  memberProfile,
  type Profile,
  rootProfile,
  serverProfile,
} from '../../../../ca/certificate/profile.js'
import {
  openSigner,
  type Signer,
  signCertificate,
  signRoot,
  signUnchecked,
} from '../../../../ca/certificate/sign.js'
import { signingKeyOf } from '../../../../ca/certificate/signing-key.js'
import { newKeyPair } from '../../../../ca/keys/key-pair.js'
import { isMeshError } from '../../../../mesh/errors.js'
import { namedId, parseAgentName, parseTrustDomain } from '../../../../mesh/spiffe-id.js'
import { isDevRoot } from '../../../../mesh/trust-bundle.js'

const trustDomain = parseTrustDomain('acme.internal')
const now = Date.parse('2026-11-22T10:00:00.500Z')
const SECOND = Math.floor(now / 1000) * 1000
const query = { trustDomain, dev: false, nonce: 'aabbccdd', now }
const instanceId = '0a0a0a0a-0000-4000-8000-000000000001'
const id = namedId(trustDomain, 'agent', parseAgentName('planner'))

async function twoCas(dev = false): Promise<{ root: Signer; issuing: Signer }> {
  const rootKey = signingKeyOf(newKeyPair().privateKey)
  const root = await openSigner(await signRoot(rootProfile({ ...query, dev }), rootKey), rootKey)
  const pair = newKeyPair()
  const certificate = await signCertificate(issuingProfile({ ...query, dev }, root), pair.spkiDer, root)
  return { root, issuing: await openSigner(certificate, signingKeyOf(pair.privateKey)) }
}

describe('certificates of the CA', () => {
  it('back-dates a leaf by five minutes, counts its life from now, and never beyond its issuer', () => {
    const issuer = { notBefore: 0, notAfter: SECOND + 7_200_000 }
    const leaf = memberProfile({ id, instanceId, ttlMs: 3_600_000, now }, issuer)
    expect([leaf.notBefore, leaf.notAfter]).toEqual([SECOND - BACKDATE_MS, SECOND + 3_600_000])
    const long = memberProfile({ id, instanceId, ttlMs: 86_400_000, now }, { ...issuer, notBefore: SECOND })
    expect([long.notBefore, long.notAfter]).toEqual([SECOND, issuer.notAfter])
  })

  it('signs nothing when the issuer is at its end', () => {
    const issuer = { notBefore: 0, notAfter: SECOND + 59_000 }
    expect(() => memberProfile({ id, instanceId, ttlMs: 3_600_000, now }, issuer)).toThrow(
      expect.objectContaining({ code: 'CA_EXPIRED' }),
    )
  })

  it('signs nothing by a clock that was set back to before its issuer', () => {
    const issuer = { notBefore: SECOND + 1000, notAfter: SECOND + 7_200_000 }
    expect(() => memberProfile({ id, instanceId, ttlMs: 3_600_000, now }, issuer)).toThrow(
      expect.objectContaining({ code: 'CLOCK_SKEW' }),
    )
  })

  it('gives collectors and operators another DNS name than agents, and nobody localhost', () => {
    const issuer = { notBefore: 0, notAfter: SECOND + 7_200_000 }
    const collector = namedId(trustDomain, 'collector', parseAgentName('planner'))
    expect(memberProfile({ id: collector, instanceId, ttlMs: 1e6, now }, issuer).dns).toEqual([
      'planner.collector.mesh',
    ])
    const server = serverProfile(
      { trustDomain, hosts: ['localhost', 'ca.lan', '10.0.0.5', '::1'], ttlMs: 1e6, now },
      issuer,
    )
    expect([server.uri, server.dns, server.ip]).toEqual([
      'spiffe://acme.internal/ca',
      ['ca.lan'],
      ['10.0.0.5', '::1'],
    ])
  })

  it('marks a development root, and only that', async () => {
    expect(isDevRoot((await twoCas(true)).root.certificate)).toBe(true)
    expect(isDevRoot((await twoCas(false)).root.certificate)).toBe(false)
  })

  it('passes openssl verify in its strict mode as client and as server', async () => {
    const { root, issuing } = await twoCas()
    const { spkiDer } = newKeyPair()
    const wanted = { id, instanceId, ttlMs: 3_600_000, now: Date.now() }
    const leaf = await signCertificate(memberProfile(wanted, issuing), spkiDer, issuing)
    const dir = mkdtempSync(path.join(tmpdir(), 'ossl-'))
    try {
      const file = (name: string, pem: string): string => {
        writeFileSync(path.join(dir, name), pem)
        return path.join(dir, name)
      }
      const chain = [
        '-CAfile',
        file('root.pem', root.certificate.toString()),
        '-untrusted',
        file('issuing.pem', issuing.certificate.toString()),
        file('leaf.pem', leaf.toString()),
      ]
      for (const purpose of ['sslclient', 'sslserver'])
        expect(
          execFileSync('openssl', [
            'verify',
            '-x509_strict',
            '-purpose',
            purpose,
            '-no_check_time',
            ...chain,
          ]).toString(),
        ).toContain('OK')
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })

  it('has serials of 16 bytes that are positive and never repeat', async () => {
    const { issuing } = await twoCas()
    const { spkiDer } = newKeyPair()
    const profile = memberProfile({ id, instanceId, ttlMs: 3_600_000, now }, issuing)
    const serials = new Set<string>()
    for (let count = 0; count < 32; count += 1)
      serials.add((await signCertificate(profile, spkiDer, issuing)).serialNumber.toLowerCase())
    expect(serials.size).toBe(32)
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9a-f]{31}$/)
  })

  it('lets out a leaf that is as meant, and none that differs in anything', async () => {
    const { root, issuing } = await twoCas()
    const { spkiDer } = newKeyPair()
    const profile = memberProfile({ id, instanceId, ttlMs: 3_600_000, now }, issuing)
    const leaf = await signUnchecked(profile, spkiDer, issuing)
    const issuer = issuing.checked
    expect(() => checkIssued(leaf, { profile, spkiDer, issuer })).not.toThrow()
    const changed = (changes: Partial<Profile>): Profile => ({ ...profile, ...changes })
    const wrong = [
      { profile: changed({ uri: 'spiffe://acme.internal/agent/admin' }), spkiDer, issuer },
      { profile: changed({ dns: ['other.mesh'] }), spkiDer, issuer },
      { profile: changed({ ip: ['127.0.0.1'] }), spkiDer, issuer },
      { profile: changed({ notAfter: profile.notAfter + 1000 }), spkiDer, issuer },
      { profile: changed({ notBefore: profile.notBefore - 1000 }), spkiDer, issuer },
      { profile: changed({ subject: [{ attribute: 'CN', value: 'planner' }] }), spkiDer, issuer },
      { profile, spkiDer: newKeyPair().spkiDer, issuer },
      { profile, spkiDer, issuer: root.checked },
      { profile, spkiDer, issuer: (await twoCas()).issuing.checked },
    ]
    for (const meant of wrong)
      expect(() => checkIssued(leaf, meant)).toThrow(expect.objectContaining({ code: 'ISSUE_CHECK_FAILED' }))
    const ca = await signUnchecked({ ...profile, usage: 'issuing' }, spkiDer, issuing)
    expect(() => checkIssued(ca, { profile, spkiDer, issuer })).toThrow(
      expect.objectContaining({ code: 'ISSUE_CHECK_FAILED' }),
    )
  })

  it('refuses a key that is not the certificate’s', async () => {
    const { issuing } = await twoCas()
    const other = signingKeyOf(newKeyPair().privateKey)
    const liar = { spkiDer: issuing.key.spkiDer, sign: (data: Uint8Array) => other.sign(data) }
    for (const key of [other, liar])
      await expect(openSigner(issuing.certificate, key)).rejects.toSatisfy((error: unknown) =>
        isMeshError(error, 'STATE_UNREADABLE'),
      )
  })
})
