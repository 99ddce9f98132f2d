import 'reflect-metadata'
import { type KeyObject, webcrypto } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  X509Certificate as ParsedCertificate,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { beforeAll, describe, expect, it } from 'vitest'
import { checkIssued } from '../../../../ca/certificate/check-issued.js'
import {
  issuingProfile,
  memberProfile,
  type Profile,
  rootProfile,
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
import { readCertificateDer } from '../../../../mesh/certificate-der.js'
import { namedId, parseAgentName, parseTrustDomain } from '../../../../mesh/spiffe-id.js'

const trustDomain = parseTrustDomain('acme.internal')
const now = Date.parse('2026-11-22T10:00:00.500Z')
const instanceId = '0a0a0a0a-0000-4000-8000-000000000001'
const query = { trustDomain, dev: false, nonce: 'aabbccdd', now }
const { spkiDer } = newKeyPair()

let issuing: Signer
let issuingKey: KeyObject
/** The same key under another name. */
let renamed: Signer
let profile: Profile

beforeAll(async () => {
  const rootKey = signingKeyOf(newKeyPair().privateKey)
  const root = await openSigner(await signRoot(rootProfile(query), rootKey), rootKey)
  const pair = newKeyPair()
  issuingKey = pair.privateKey
  const caOf = async (nonce: string): Promise<Signer> =>
    openSigner(
      await signCertificate(issuingProfile({ ...query, nonce }, root), pair.spkiDer, root),
      signingKeyOf(pair.privateKey),
    )
  issuing = await caOf('aabbccdd')
  renamed = await caOf('11223344')
  const id = namedId(trustDomain, 'agent', parseAgentName('planner'))
  profile = memberProfile({ id, instanceId, ttlMs: 3_600_000, now }, issuing)
})

type Part = 'constraints' | 'usages' | 'extended' | 'names' | 'subjectKey' | 'authorityKey'

/** The leaf of the profile, but for one part of it. */
async function leafWith(
  changes: Partial<Record<Part, Extension[]>> & { serialNumber?: string } = {},
): Promise<Buffer> {
  const publicKey = new PublicKey(new Uint8Array(spkiDer))
  const issuer = new ParsedCertificate(issuing.certificate.raw)
  const { clientAuth, serverAuth } = ExtendedKeyUsage
  const { serialNumber = `4${'a'.repeat(31)}`, ...changed } = changes
  const parts: Record<Part, Extension[]> = {
    constraints: [new BasicConstraintsExtension(false, undefined, true)],
    usages: [new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true)],
    extended: [new ExtendedKeyUsageExtension([clientAuth, serverAuth])],
    names: [
      new SubjectAlternativeNameExtension([
        { type: 'url', value: profile.uri },
        ...profile.dns.map((value) => ({ type: 'dns' as const, value })),
      ]),
    ],
    subjectKey: [await SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto)],
    authorityKey: [
      new AuthorityKeyIdentifierExtension(issuer.getExtension(SubjectKeyIdentifierExtension)?.keyId ?? ''),
    ],
    ...changed,
  }
  const signed = await X509CertificateGenerator.create(
    {
      serialNumber,
      subject: new Name([{ '2.5.4.3': ['planner'] }, { '2.5.4.5': [instanceId] }]),
      issuer: issuer.subjectName,
      notBefore: new Date(profile.notBefore),
      notAfter: new Date(profile.notAfter),
      publicKey,
      signingKey: await webcrypto.subtle.importKey(
        'pkcs8',
        issuingKey.export({ format: 'der', type: 'pkcs8' }),
        { name: 'ECDSA', namedCurve: 'P-256' },
        false,
        ['sign'],
      ),
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: Object.values(parts).flat(),
    },
    webcrypto,
  )
  return Buffer.from(signed.rawData)
}

const check = (leaf: Buffer, issuer = issuing.checked): unknown =>
  checkIssued(leaf, { profile, spkiDer, issuer })
const unreadable = 'the certificate just signed cannot be read'
/** With one bit of one octet turned over. */
function flipped(der: Buffer, at: number): Buffer {
  const copy = Buffer.from(der)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}
const failed = (what: string): unknown =>
  expect.objectContaining({
    code: 'ISSUE_CHECK_FAILED',
    message: `${what} of the certificate just signed is not as meant`,
  })

describe('a leaf just signed', () => {
  it('is let out when all of it is as meant', async () => {
    const leaf = await leafWith()
    expect(() => check(leaf)).not.toThrow()
  })

  it('is kept back when another key signed it under the name of the CA', async () => {
    const key = signingKeyOf(newKeyPair().privateKey)
    const leaf = await signUnchecked(profile, spkiDer, { ...issuing, key })
    expect(() => check(leaf)).toThrow(failed('the signature'))
  })

  it('is kept back when the CA’s key signed it under another name', async () => {
    const leaf = await leafWith()
    expect(() => check(leaf, renamed.checked)).toThrow(failed('the issuer'))
  })

  it.each(['01', `3${'f'.repeat(31)}`, `4${'a'.repeat(29)}`])(
    'is kept back with serial %s',
    async (serialNumber) => {
      const leaf = await leafWith({ serialNumber })
      expect(() => check(leaf)).toThrow(failed('the serial'))
    },
  )

  it.each<[string, Parameters<typeof leafWith>[0], string]>([
    ['is a CA', { constraints: [new BasicConstraintsExtension(true, 0, true)] }, 'the usages'],
    [
      'may be taken for a CA',
      { constraints: [new BasicConstraintsExtension(false, undefined, false)] },
      'the usages',
    ],
    [
      'may sign certificates',
      { usages: [new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyCertSign, true)] },
      'the usages',
    ],
    [
      'has usages that may be overlooked',
      { usages: [new KeyUsagesExtension(KeyUsageFlags.digitalSignature, false)] },
      'the usages',
    ],
    [
      'is for one end only',
      { extended: [new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth])] },
      'the usages',
    ],
    [
      'names another key as its issuer’s',
      { authorityKey: [new AuthorityKeyIdentifierExtension('00'.repeat(20))] },
      'the key identifiers',
    ],
    ['does not name its own key', { subjectKey: [] }, 'the extensions'],
    ['has no name', { names: [] }, 'the names'],
  ])('is kept back when it %s', async (_what, changes, what) => {
    const leaf = await leafWith(changes)
    expect(() => check(leaf)).toThrow(failed(what))
  })

  it('is kept back when it says anything more', async () => {
    const usages = new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true)
    const leaf = await leafWith({ usages: [usages, new Extension('1.2.3.4', false, new Uint8Array([5, 0]))] })
    expect(() => check(leaf)).toThrow(failed('the extensions'))
  })

  it('is kept back when it is for another key, or outlives its issuer at either end', async () => {
    const leaf = await leafWith()
    const other = newKeyPair().spkiDer
    expect(() => checkIssued(leaf, { profile, spkiDer: other, issuer: issuing.checked })).toThrow(
      failed('the key'),
    )
    const { checked } = issuing
    for (const end of [{ notAfter: profile.notAfter - 1000 }, { notBefore: profile.notBefore + 1000 }])
      expect(() => check(leaf, { ...checked, ...end })).toThrow(failed('the validity'))
  })

  it('is kept back when an extension is critical that need not be', async () => {
    const names = [
      { type: 'url' as const, value: profile.uri },
      ...profile.dns.map((value) => ({ type: 'dns' as const, value })),
    ]
    const leaf = await leafWith({ names: [new SubjectAlternativeNameExtension(names, true)] })
    expect(() => check(leaf)).toThrow(failed('the extensions'))
  })

  it('is kept back when what stands outside of the signature is another', async () => {
    const leaf = await leafWith()
    const { signature } = readCertificateDer(leaf)
    const bits = leaf.length - signature.length - 1
    const algorithm = leaf.lastIndexOf(Buffer.from('300a06082a8648ce3d040302', 'hex'))
    expect(() => check(flipped(leaf, algorithm + 11))).toThrow(failed('the algorithm'))
    expect(() => check(flipped(leaf, bits))).toThrow(unreadable)
  })

  it('is kept back when it is of another version, or a criticality is not spelled as DER does', async () => {
    const leaf = await leafWith()
    const critical = leaf.indexOf(Buffer.from('0101ff', 'hex'))
    const version = leaf.indexOf(Buffer.from('a003020102', 'hex'))
    for (const at of [critical + 2, version + 4]) expect(() => check(flipped(leaf, at))).toThrow(unreadable)
  })
})
