import 'reflect-metadata'
import { execFileSync } from 'node:child_process'
import { createPublicKey, generateKeyPairSync, type KeyObject, type X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { KeyUsageFlags } from '@peculiar/x509'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  CLIENT_AUTH,
  type Hierarchy,
  issueLeaf,
  type Leaf,
  makeCa,
  makeHierarchy,
} from '../../../certs-dev/hierarchy.js'
import {
  type Description,
  makeCertificate,
  makeKey,
  type Signer,
} from '../../../certs-dev/make-certificate.js'
import { makeWrongLeaves, type WrongLeaf } from '../../../certs-dev/wrong-leaves.js'
import { keyFingerprintOf } from '../../../mesh/authorities.js'
import { MeshError } from '../../../mesh/errors.js'
import { revocationsOf, withRevokedIssuers } from '../../../mesh/revocation.js'
import { parseSpiffeId } from '../../../mesh/spiffe-id.js'
import { parseTrustBundle, splitPem } from '../../../mesh/trust-bundle.js'
import { PeerRefused, type Question, verifyPeer } from '../../../mesh/verify-peer.js'

const TD = 'acme.internal'
const ID = parseSpiffeId(`spiffe://${TD}/agent/planner`)
const DAY = 86_400_000

let mesh: Hierarchy
let good: Leaf
let wrong: WrongLeaf[]

beforeAll(async () => {
  mesh = await makeHierarchy({ trustDomain: TD, dev: true })
  good = await issueLeaf(mesh, ID)
  wrong = await makeWrongLeaves(mesh, 'planner')
})

const ask = (leaf: Leaf, about: Partial<Question> = {}): Question => ({
  chain: splitPem(leaf.chainPem),
  tlsAuthorized: true,
  bundles: new Map([[mesh.trustDomain, mesh.bundle]]),
  revocations: revocationsOf([], []),
  expected: { kinds: ['agent'] },
  now: mesh.madeAt,
  ...about,
})

/** A public key of that modulus; nobody need have the other half to be refused. */
const rsaOf = (modulus: Buffer): KeyObject =>
  createPublicKey({ key: { kty: 'RSA', n: modulus.toString('base64url'), e: 'AQAB' }, format: 'jwk' })

function refusal(question: Question): MeshError {
  try {
    verifyPeer(question)
  } catch (error) {
    if (error instanceof MeshError) return error
    throw error
  }
  throw new Error('the judge accepted it')
}

describe('a right leaf', () => {
  it('is accepted with its identity, instance and issuer', () => {
    const svid = verifyPeer(ask(good))
    expect(svid.id).toBe(ID)
    expect(svid.instanceId).toBe(good.instanceId)
    expect(svid.serial).toBe(good.certificate.serialNumber.toLowerCase())
    expect(svid.issuer).toMatch(/^[0-9a-f]{64}$/)
    expect(svid.notAfter).toBe(Math.floor((mesh.madeAt + DAY) / 1000) * 1000)
  })

  it('is accepted when the root is presented too, in any order', () => {
    const [leaf, issuing] = splitPem(good.chainPem)
    const chain = [leaf!, mesh.root.certificate, issuing!]
    expect(verifyPeer(ask(good, { chain })).id).toBe(ID)
  })

  it('is accepted where exactly it is awaited', () => {
    expect(verifyPeer(ask(good, { expected: { exactly: ID } })).id).toBe(ID)
  })

  it('is accepted with a P-384 key', async () => {
    expect(verifyPeer(ask(await issueLeaf(mesh, ID, { keyKind: 'P-384' }))).id).toBe(ID)
  })

  it('takes a leaf of a foreign client with an Ed25519 key, or an RSA key of a fair size', async () => {
    for (const keyKind of ['Ed25519', 'RSA'] as const)
      expect(verifyPeer(ask(await issueLeaf(mesh, ID, { keyKind }))).id).toBe(ID)
  })

  it.each([
    ['an RSA key of 1024 bits', () => generateKeyPairSync('rsa', { modulusLength: 1024 })],
    ['an RSA key of 2047 bits', () => generateKeyPairSync('rsa', { modulusLength: 2047 })],
    [
      'an RSA key of exponent 3',
      () => generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }),
    ],
    ['an RSA key of 4104 bits', () => ({ publicKey: rsaOf(Buffer.alloc(513, 0xff)) })],
    ['an Ed448 key', () => generateKeyPairSync('ed448')],
  ])('refuses a leaf with %s', async (_what, make) => {
    const publicPem = make().publicKey.export({ type: 'spki', format: 'pem' }).toString()
    expect(refusal(ask(await issueLeaf(mesh, ID, { publicPem }))).code).toBe('PEER_KEY_UNSUPPORTED')
  })

  it('passes openssl verify -x509_strict as client and as server', () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'troth-'))
    try {
      writeFileSync(path.join(dir, 'root.pem'), mesh.rootPem)
      writeFileSync(path.join(dir, 'chain.pem'), good.chainPem)
      writeFileSync(path.join(dir, 'issuing.pem'), good.issuing.toString())
      for (const purpose of ['sslclient', 'sslserver']) {
        const args = ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', 'root.pem']
        const said = execFileSync('openssl', [...args, '-untrusted', 'issuing.pem', 'chain.pem'], {
          cwd: dir,
        })
        expect(said.toString()).toContain('OK')
      }
    } finally {
      rmSync(dir, { recursive: true })
    }
  })
})

describe('a wrong leaf', () => {
  it('is refused with the code of what is wrong with it, even if TLS were satisfied', () => {
    const codes = wrong.map(({ name, leaf }) => [name, refusal(ask(leaf)).code])
    expect(codes).toEqual(wrong.map(({ name, code }) => [name, code]))
  })

  it('is refused with the same code when TLS refuses it as well', () => {
    const codes = wrong
      .filter(({ name }) => name !== 'wrong-kind')
      .map(({ name, leaf }) => [name, refusal(ask(leaf, { tlsAuthorized: false })).code])
    expect(codes).toEqual(
      wrong.filter(({ name }) => name !== 'wrong-kind').map(({ name, code }) => [name, code]),
    )
  })
})

/** A CA of the trust domain that differs from the right one in what is given; its own root without a signer. */
async function oddCa(changes: Partial<Description>, signer?: Signer): Promise<Signer> {
  const key = await makeKey('P-256')
  const what: Description = {
    subject: [['CN', 'odd']],
    uris: [],
    dns: [],
    ips: [],
    notBefore: mesh.madeAt - 60_000,
    notAfter: mesh.madeAt + DAY,
    ca: { pathLength: 0 },
    keyUsage: { flags: KeyUsageFlags.keyCertSign, critical: true },
    extendedKeyUsage: null,
    extensions: [],
    publicPem: key.publicPem,
    ...changes,
  }
  const certificate = await makeCertificate(what, signer ?? { selfKeyPem: key.privatePem })
  return { certificate, keyPem: key.privatePem }
}

describe('the judge', () => {
  it('refuses a peer without a certificate', () => {
    expect(refusal(ask(good, { chain: [] })).code).toBe('PEER_NO_CERTIFICATE')
  })

  it('refuses a right chain that TLS did not accept', () => {
    expect(refusal(ask(good, { tlsAuthorized: false })).code).toBe('PEER_CHAIN_UNTRUSTED')
  })

  it('refuses a leaf without its issuing CA', () => {
    expect(refusal(ask(good, { chain: [good.certificate] })).code).toBe('PEER_CHAIN_UNTRUSTED')
  })

  it('refuses more than four certificates', () => {
    const [leaf, issuing] = splitPem(good.chainPem)
    const chain = [leaf!, issuing!, issuing!, issuing!, mesh.root.certificate]
    expect(refusal(ask(good, { chain })).code).toBe('PEER_CHAIN_UNTRUSTED')
  })

  it('refuses where another identity is awaited, and names the peer', () => {
    const error = refusal(ask(good, { expected: { exactly: parseSpiffeId(`spiffe://${TD}/agent/tickets`) } }))
    expect(error.code).toBe('PEER_UNEXPECTED')
    expect(error).toBeInstanceOf(PeerRefused)
    expect(error).toMatchObject({ peer: { id: ID } })
  })

  it('refuses an identity that was revoked, whatever its serial', () => {
    expect(refusal(ask(good, { revocations: revocationsOf([ID], []) })).code).toBe('PEER_REVOKED')
  })

  it('refuses a serial that was revoked, of that issuer only', () => {
    const { serial, issuer } = verifyPeer(ask(good))
    const revoked = { serial, issuer, id: ID, expiresAt: mesh.madeAt + DAY }
    expect(refusal(ask(good, { revocations: revocationsOf([], [revoked]) })).code).toBe('PEER_REVOKED')
    const elsewhere = revocationsOf([], [{ ...revoked, issuer: '0'.repeat(64) }])
    expect(verifyPeer(ask(good, { revocations: elsewhere })).id).toBe(ID)
  })

  it('judges at the given instant: the last second is good, the next is not', () => {
    const { notAfter, notBefore } = verifyPeer(ask(good))
    expect(verifyPeer(ask(good, { now: notAfter })).id).toBe(ID)
    expect(refusal(ask(good, { now: notAfter + 1 })).code).toBe('PEER_CERT_EXPIRED')
    expect(refusal(ask(good, { now: notBefore - 1 })).code).toBe('PEER_CERT_NOT_YET_VALID')
  })

  it('refuses a leaf that outlives its expired issuing CA', async () => {
    const leaf = await issueLeaf(mesh, ID, { notAfter: mesh.madeAt + 800 * DAY })
    expect(refusal(ask(leaf, { now: mesh.madeAt + 400 * DAY })).code).toBe('PEER_CERT_EXPIRED')
  })

  it('judges an ID by the bundle of its own trust domain, though another trusted root signed it', async () => {
    const other = await makeHierarchy({ trustDomain: 'other.example', dev: true })
    const leaf = await issueLeaf(other, ID)
    const bundles = new Map([
      [mesh.trustDomain, mesh.bundle],
      [other.trustDomain, other.bundle],
    ])
    expect(refusal(ask(leaf, { bundles })).code).toBe('PEER_CHAIN_UNTRUSTED')
  })

  it('refuses a CA below an issuing CA: the path length is spent', async () => {
    const made = { trustDomain: mesh.trustDomain, madeAt: mesh.madeAt, days: 1, pathLength: 0 }
    const sub = await makeCa('sub', { ...made, signer: mesh.issuing })
    const leaf = await issueLeaf(mesh, ID, { signer: sub })
    const chain = [...splitPem(leaf.chainPem), mesh.issuing.certificate]
    expect(refusal(ask(leaf, { chain })).code).toBe('PEER_CHAIN_UNTRUSTED')
  })

  it.each(['RSA', 'Ed25519', 'P-521'] as const)('refuses an issuing CA whose key is %s', async (keyKind) => {
    const made = { trustDomain: mesh.trustDomain, madeAt: mesh.madeAt, days: 1, pathLength: 0 }
    const issuing = await makeCa('odd', { ...made, signer: mesh.root, keyKind })
    expect(refusal(ask(await issueLeaf(mesh, ID, { signer: issuing }))).code).toBe('PEER_CHAIN_UNTRUSTED')
  })

  it('refuses an issuing CA that belongs to another trust domain', async () => {
    const { trustDomain } = await makeHierarchy({ trustDomain: 'other.example', dev: true })
    const made = { trustDomain, madeAt: mesh.madeAt, days: 1, pathLength: 0 }
    const issuing = await makeCa('lent', { ...made, signer: mesh.root })
    expect(refusal(ask(await issueLeaf(mesh, ID, { signer: issuing }))).code).toBe('PEER_CHAIN_UNTRUSTED')
  })

  it('judges by that one bundle also where no CA says whose it is', async () => {
    const root = await oddCa({ ca: { pathLength: null } })
    const leaf = await issueLeaf(mesh, ID, { signer: root })
    const { trustDomain } = await makeHierarchy({ trustDomain: 'other.example', dev: true })
    const other = parseTrustBundle(trustDomain, root.certificate.toString())
    const own = parseTrustBundle(mesh.trustDomain, root.certificate.toString())
    expect(verifyPeer(ask(leaf, { bundles: new Map([[mesh.trustDomain, own]]) })).id).toBe(ID)
    const bundles = new Map([
      [mesh.trustDomain, mesh.bundle],
      [trustDomain, other],
    ])
    expect(refusal(ask(leaf, { bundles })).code).toBe('PEER_CHAIN_UNTRUSTED')
  })

  it.each<[string, Partial<Description>]>([
    ['limited to other usages', { extendedKeyUsage: [CLIENT_AUTH] }],
    ['whose key may sign lists only', { keyUsage: { flags: KeyUsageFlags.cRLSign, critical: true } }],
    [
      'whose key usage may be overlooked',
      { keyUsage: { flags: KeyUsageFlags.keyCertSign, critical: false } },
    ],
    ['without a key usage', { keyUsage: null }],
    ['that is no CA', { ca: null }],
  ])('refuses an issuing CA %s', async (_what, changes) => {
    const right = await issueLeaf(mesh, ID, { signer: await oddCa({}, mesh.root) })
    expect(verifyPeer(ask(right)).id).toBe(ID)
    const leaf = await issueLeaf(mesh, ID, { signer: await oddCa(changes, mesh.root) })
    expect(refusal(ask(leaf)).code).toBe('PEER_CHAIN_UNTRUSTED')
  })

  it('refuses a CA of the same name and key identifier whose key did not sign', async () => {
    const twin = await makeHierarchy({ trustDomain: TD, dev: true })
    const chain = [good.certificate, twin.issuing.certificate, twin.root.certificate]
    const bundles = new Map([[mesh.trustDomain, parseTrustBundle(mesh.trustDomain, twin.rootPem)]])
    expect(refusal(ask(good, { chain, bundles })).code).toBe('PEER_CHAIN_UNTRUSTED')
  })
})

describe('while a root is replaced', () => {
  /** The next root of the mesh, under the name of the present one; its key signed by the present one; an issuing CA below it. */
  const nextRoot = async (): Promise<{ root: Signer; cross: X509Certificate; issuing: Signer }> => {
    const name = subjectOf(mesh.root.certificate)
    const about = { trustDomain: mesh.trustDomain, madeAt: mesh.madeAt, pathLength: 1, days: 3650 }
    const root = await makeCa(name, about)
    const publicPem = root.certificate.publicKey.export({ type: 'spki', format: 'pem' }).toString()
    const cross = await makeCa(name, { ...about, signer: mesh.root, publicPem })
    const issuing = await makeCa(`${name} issuing CA 2`, { ...about, days: 365, pathLength: 0, signer: root })
    return { root, cross: cross.certificate, issuing }
  }

  it('accepts a leaf of the new hierarchy by either root, by the old one only with the cross certificate', async () => {
    const next = await nextRoot()
    const leaf = await issueLeaf(mesh, ID, { signer: next.issuing })
    const crossed = [...splitPem(leaf.chainPem), next.cross]
    const newOnly = parseTrustBundle(mesh.trustDomain, next.root.certificate.toString())
    expect(verifyPeer(ask(leaf, { chain: crossed })).id).toBe(ID)
    expect(refusal(ask(leaf)).code).toBe('PEER_CHAIN_UNTRUSTED')
    const bundles = new Map([[mesh.trustDomain, newOnly]])
    expect(verifyPeer(ask(leaf, { bundles })).id).toBe(ID)
    expect(verifyPeer(ask(leaf, { bundles, chain: crossed })).id).toBe(ID)
    expect(refusal(ask(good, { bundles })).code).toBe('PEER_CHAIN_UNTRUSTED')
  })

  it('lets an issuing CA have nobody below it, not even under its own name', async () => {
    const name = subjectOf(mesh.issuing.certificate)
    const about = { trustDomain: mesh.trustDomain, madeAt: mesh.madeAt, pathLength: 0, days: 100 }
    const below = await makeCa(name, { ...about, signer: mesh.issuing })
    const leaf = await issueLeaf(mesh, ID, { signer: below })
    const chain = [...splitPem(leaf.chainPem), mesh.issuing.certificate]
    expect(refusal(ask(leaf, { chain })).code).toBe('PEER_CHAIN_UNTRUSTED')
  })
})

describe('a withdrawn issuing CA', () => {
  const withdrawn = (issuer: string) => withRevokedIssuers(revocationsOf([], []), [issuer])

  it('is refused with all it signed, and its peers are not', async () => {
    const revocations = withdrawn(verifyPeer(ask(good)).issuer)
    expect(refusal(ask(good, { revocations })).code).toBe('PEER_REVOKED')
    const issuing = await makeCa('issuing CA 2', {
      trustDomain: mesh.trustDomain,
      madeAt: mesh.madeAt,
      days: 365,
      pathLength: 0,
      signer: mesh.root,
    })
    const other = await issueLeaf(mesh, ID, { signer: issuing })
    expect(verifyPeer(ask(other, { revocations })).id).toBe(ID)
  })

  it('is refused wherever it stands in the path', () => {
    const revocations = withdrawn(keyFingerprintOf(mesh.root.certificate))
    expect(refusal(ask(good, { revocations })).code).toBe('PEER_REVOKED')
  })
})

const subjectOf = (certificate: X509Certificate): string => certificate.subject.replace(/^CN=/, '')
