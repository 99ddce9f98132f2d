import { X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Hierarchy, issueLeaf, type Leaf, makeCa, makeHierarchy } from '../../../certs-dev/hierarchy.js'
import { keyFingerprintOf } from '../../../mesh/authorities.js'
import { revocationsOf, withRevokedIssuers } from '../../../mesh/revocation.js'
import { parseSpiffeId, type TrustDomain } from '../../../mesh/spiffe-id.js'
import { parseTrustBundle, splitPem, type TrustBundle } from '../../../mesh/trust-bundle.js'
import { type Question, verifyAgain, verifyPeer } from '../../../mesh/verify-peer.js'

const DAY = 86_400_000
const ID = parseSpiffeId('spiffe://acme.internal/agent/planner')

let mesh: Hierarchy
let leaf: Leaf
beforeAll(async () => {
  mesh = await makeHierarchy({ trustDomain: 'acme.internal', dev: true })
  leaf = await issueLeaf(mesh, ID)
})

const freshBundles = (): ReadonlyMap<TrustDomain, TrustBundle> =>
  new Map([[mesh.trustDomain, parseTrustBundle(mesh.trustDomain, mesh.rootPem)]])

function ask(of: Leaf = leaf, about: Partial<Question> = {}): Question {
  return {
    chain: splitPem(of.chainPem),
    tlsAuthorized: true,
    bundles: freshBundles(),
    revocations: revocationsOf([], []),
    expected: { kinds: ['agent'] },
    now: mesh.madeAt,
    ...about,
  }
}

const derOf = ({ certificate }: Leaf): Buffer => certificate.raw

describe('a leaf that was led to a root before', () => {
  it('is taken for the same peer without its chain', () => {
    const question = ask()
    const svid = verifyPeer(question)
    const proven = verifyAgain(derOf(leaf), question)
    expect(proven?.svid).toEqual(svid)
    expect(proven?.path[0].certificate.subject).toBe(leaf.certificate.subject)
  })

  it('is a stranger until then, and to every other bundle', () => {
    const question = ask()
    expect(verifyAgain(derOf(leaf), question)).toBeUndefined()
    verifyPeer(question)
    expect(verifyAgain(derOf(leaf), { ...question, bundles: freshBundles() })).toBeUndefined()
  })

  it('is no longer known when its trust domain is trusted by other roots', async () => {
    const question = ask()
    verifyPeer(question)
    const twin = await makeHierarchy({ trustDomain: 'acme.internal', dev: true })
    const bundles = new Map([[mesh.trustDomain, parseTrustBundle(mesh.trustDomain, twin.rootPem)]])
    expect(verifyAgain(derOf(leaf), { ...question, bundles })).toBeUndefined()
  })

  it('is left to the whole judgement when TLS, time, the wanted kind or name stands against it', () => {
    const question = ask()
    const svid = verifyPeer(question)
    const again = (about: Partial<Question>): unknown => verifyAgain(derOf(leaf), { ...question, ...about })
    expect(again({})).toBeDefined()
    expect(again({ tlsAuthorized: false })).toBeUndefined()
    expect(again({ now: svid.notAfter })).toBeDefined()
    expect(again({ now: svid.notAfter + 1 })).toBeUndefined()
    expect(again({ now: svid.notBefore - 1 })).toBeUndefined()
    expect(again({ expected: { kinds: ['operator'] } })).toBeUndefined()
    const other = parseSpiffeId('spiffe://acme.internal/agent/tickets')
    expect(again({ expected: { exactly: other } })).toBeUndefined()
  })

  it('is left to the whole judgement when it was withdrawn, or a CA above it, or that CA has expired', async () => {
    const issuing = await makeCa('issuing for a day', {
      trustDomain: mesh.trustDomain,
      madeAt: mesh.madeAt,
      pathLength: 0,
      signer: mesh.root,
      days: 1,
    })
    const long = { notBefore: mesh.madeAt - 30 * DAY, notAfter: mesh.madeAt + 30 * DAY }
    const below = await issueLeaf(mesh, ID, { signer: issuing, ...long })
    const question = ask(below)
    const { issuer, serial } = verifyPeer(question)
    const again = (about: Partial<Question>): unknown => verifyAgain(derOf(below), { ...question, ...about })
    expect(again({})).toBeDefined()
    expect(again({ now: mesh.madeAt + 2 * DAY })).toBeUndefined()
    const revoked = { issuer, serial, id: ID, expiresAt: mesh.madeAt + 30 * DAY }
    expect(again({ revocations: revocationsOf([], [revoked]) })).toBeUndefined()
    expect(again({ revocations: revocationsOf([ID], []) })).toBeUndefined()
    const issuers = [keyFingerprintOf(issuing.certificate)]
    expect(again({ revocations: withRevokedIssuers(question.revocations, issuers) })).toBeUndefined()
  })

  it('is not another certificate that differs in one byte, wherever', () => {
    const question = ask()
    verifyPeer(question)
    const der = derOf(leaf)
    for (let at = 0; at < der.length; at++) {
      const changed = Buffer.from(der)
      changed[at] = (changed[at] ?? 0) ^ 1
      expect(verifyAgain(changed, question)).toBeUndefined()
    }
    expect(verifyAgain(der, question)).toBeDefined()
  })

  it('is not remembered when it was refused', () => {
    const question = ask()
    const refused: Partial<Question>[] = [
      { tlsAuthorized: false },
      { revocations: revocationsOf([ID], []) },
      { chain: [leaf.certificate] },
    ]
    for (const about of refused) expect(() => verifyPeer({ ...question, ...about })).toThrow()
    expect(verifyAgain(derOf(leaf), question)).toBeUndefined()
  })

  it('is forgotten when many others came since: what is remembered is bounded', () => {
    const question = ask()
    verifyPeer(question)
    const authorities = question.bundles.get(mesh.trustDomain)?.authorities
    const proven = authorities?.proven(derOf(leaf))
    if (authorities === undefined || proven === undefined) throw new Error('it was not remembered')
    const others = Array.from({ length: 256 }, (_, nth) => {
      const raw = Buffer.from(`certificate ${nth}`)
      const certificate = Object.create(X509Certificate.prototype, { raw: { value: raw } }) as X509Certificate
      return { ...proven, path: [{ ...proven.path[0], certificate }] as const }
    })
    for (const other of others) authorities.rememberProven(other)
    expect(verifyAgain(derOf(leaf), question)).toBeUndefined()
    const known = others.filter(({ path }) => authorities.proven(path[0].certificate.raw) !== undefined)
    expect(known).toHaveLength(256)
  })
})
