// Our writer against the library that wrote certificates before it: for any profile, both say the same.

import 'reflect-metadata'
import { generateKeyPairSync, X509Certificate as NodeCertificate } from 'node:crypto'
import { isIPv6 } from 'node:net'
import { X509Certificate } from '@peculiar/x509'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { certificateByLibrary, libraryKey } from '../../bench/issuance/library-path.js'
import { checkIssued } from '../../ca/certificate/check-issued.js'
import { type Profile, rootProfile } from '../../ca/certificate/profile.js'
import { openSigner, type Signer, signRoot } from '../../ca/certificate/sign.js'
import { signingKeyOf } from '../../ca/certificate/signing-key.js'
import { writeCertificate, writeName, writeTemplate } from '../../ca/certificate/template.js'
import { readCertificate } from '../../mesh/certificate.js'
import { parseTrustDomain } from '../../mesh/spiffe-id.js'

const RUNS = { seed: 20_261_122, numRuns: process.env['SLOW'] === undefined ? 40 : 3000 }
const FAR = Date.parse('2199-12-31T23:59:59Z')
const DAY = 86_400_000

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const spkis = [
  pair.publicKey,
  generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey,
  generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey,
  generateKeyPairSync('ed25519').publicKey,
].map((key) => key.export({ format: 'der', type: 'spki' }))

let ca: Signer

beforeAll(async () => {
  const key = signingKeyOf(pair.privateKey)
  const trustDomain = parseTrustDomain('acme.internal')
  const profile = rootProfile({ trustDomain, dev: true, nonce: 'aabbccdd', now: 0 })
  ca = await openSigner(await signRoot({ ...profile, notBefore: 0, notAfter: FAR }, key), key)
})

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/)
const seconds = (most: number): fc.Arbitrary<number> =>
  fc.integer({ min: 0, max: Math.floor(most / 1000) }).map((count) => count * 1000)
const edges = fc.constantFrom('2049-12-31T23:59:59Z', '2050-01-01T00:00:00Z').map((text) => Date.parse(text))
/** Without what the library takes for the syntax of RFC 4514, and unescapes: PrintableString and beyond it. */
const value = fc.oneof(
  label,
  fc.stringMatching(/^[A-Za-z0-9_@*&.:'()?/-]{1,30}( [A-Za-z0-9_@*&.:'()?/-]{1,30})?$/),
)
const attribute = fc.constantFrom('CN' as const, 'O' as const)

const profiles: fc.Arbitrary<Profile> = fc.record({
  usage: fc.constantFrom('leaf', 'issuing', 'root'),
  subject: fc
    .tuple(fc.array(fc.record({ attribute, value }), { minLength: 1, maxLength: 3 }), fc.uuid())
    .map(([names, uuid]) => [...names, { attribute: 'serialNumber' as const, value: uuid }]),
  notBefore: fc.oneof(seconds(FAR - DAY), edges),
  notAfter: fc.constant(FAR),
  uri: fc.tuple(label, label).map(([domain, name]) => `spiffe://${domain}/agent/${name}`),
  dns: fc.array(label, { maxLength: 3 }),
  ip: fc.array(fc.oneof(fc.ipV4(), fc.ipV6()), { maxLength: 3 }),
})
const serials = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((octets) => Buffer.from([((octets[0] ?? 0) & 0x3f) | 0x40, ...octets.subarray(1)]))

/** The library loses the last four octets of `::10.0.0.1`, so it gets such an address in hex. */
const inHexGroups = (profile: Profile): Profile => ({
  ...profile,
  ip: profile.ip.map((address) =>
    isIPv6(address) ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address,
  ),
})

/** Everything that a certificate says, in one order. */
function meaningOf(der: Buffer): unknown {
  const read = new X509Certificate(new Uint8Array(der))
  const node = new NodeCertificate(der)
  return {
    serial: read.serialNumber,
    subject: read.subjectName.toJSON(),
    issuerDer: Buffer.from(read.issuerName.toArrayBuffer()).toString('hex'),
    validity: [read.notBefore, read.notAfter],
    key: Buffer.from(read.publicKey.rawData).toString('hex'),
    algorithm: read.signatureAlgorithm,
    extensions: read.extensions
      .map(({ type, critical, value: octets }) => [type, critical, octetsOf(type, octets)])
      .sort(),
    node: [
      node.serialNumber,
      node.subject,
      node.issuer,
      node.subjectAltName,
      node.ca,
      node.validFrom,
      node.validTo,
    ],
  }
}

/** Purposes of an extended key usage have no order. */
function octetsOf(type: string, octets: ArrayBuffer): string {
  const hex = Buffer.from(octets).toString('hex')
  return type === '2.5.29.37' ? (hex.match(/06082b0601050507030[12]/g) ?? []).sort().join() : hex
}

describe('a certificate of any profile', () => {
  it('says what the library makes it say, and passes the check', async () => {
    const key = await libraryKey(pair.privateKey)
    const run = async (profile: Profile, serial: Buffer, spkiDer: Buffer): Promise<void> => {
      const isRoot = profile.usage === 'root'
      const its = isRoot ? (spkis[0] ?? spkiDer) : spkiDer
      const issuer = isRoot ? { subjectDer: writeName(profile.subject), keyId: null } : ca.issuer
      const tbs = writeTemplate({ profile, spkiDer: its, issuer, serial })
      const der = writeCertificate(tbs, await ca.key.sign(tbs))
      const signer = { certificateDer: isRoot ? null : ca.certificate.raw, key }
      const library = await certificateByLibrary(inHexGroups(profile), its, { signer, serial })
      expect(meaningOf(der)).toEqual(meaningOf(library))
      const checked = checkIssued(der, { profile, spkiDer: its, issuer: isRoot ? null : ca.checked })
      const other = readCertificate(new NodeCertificate(der))
      expect([checked.serial, checked.uri, checked.notBefore, checked.notAfter]).toEqual([
        other.serial,
        other.uris[0],
        other.notBefore,
        other.notAfter,
      ])
      expect(checked.subjectSerialNumber).toBe(other.subjectSerialNumber)
    }
    await fc.assert(fc.asyncProperty(profiles, serials, fc.constantFrom(...spkis), run), RUNS)
  })

  it('is kept back when any bit of it is another', async () => {
    const profile: Profile = {
      usage: 'leaf',
      subject: [{ attribute: 'CN', value: 'planner' }],
      notBefore: DAY,
      notAfter: FAR,
      uri: 'spiffe://acme.internal/agent/planner',
      dns: ['planner.mesh'],
      ip: ['10.0.0.1', '2001:db8::1'],
    }
    const [spkiDer = Buffer.alloc(0)] = spkis
    const tbs = writeTemplate({ profile, spkiDer, issuer: ca.issuer, serial: Buffer.alloc(16, 0x41) })
    const der = writeCertificate(tbs, await ca.key.sign(tbs))
    const meant = { profile, spkiDer, issuer: ca.checked }
    expect(() => checkIssued(der, meant)).not.toThrow()
    fc.assert(
      fc.property(fc.nat({ max: der.length * 8 - 1 }), (bit) => {
        const other = Buffer.from(der)
        other[bit >> 3] = (other[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        expect(() => checkIssued(other, meant)).toThrow(
          expect.objectContaining({ code: 'ISSUE_CHECK_FAILED' }),
        )
      }),
      { ...RUNS, numRuns: RUNS.numRuns * 10 },
    )
  })
})
