import type { X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Hierarchy, issueLeaf, makeCa, makeHierarchy } from '../../../certs-dev/hierarchy.js'
import { type Authorities, linkOf, openAuthorities } from '../../../mesh/authorities.js'
import { revocationsOf } from '../../../mesh/revocation.js'
import { parseSpiffeId } from '../../../mesh/spiffe-id.js'
import { parseTrustBundle, splitPem } from '../../../mesh/trust-bundle.js'
import { type Question, verifyPeer } from '../../../mesh/verify-peer.js'

const TD = 'acme.internal'
const ID = parseSpiffeId(`spiffe://${TD}/agent/planner`)

let mesh: Hierarchy
beforeAll(async () => {
  mesh = await makeHierarchy({ trustDomain: TD, dev: true })
})

/** What is read anew each time is another object. */
function isKnown(authorities: Authorities, certificate: X509Certificate): boolean {
  const [first, second] = [authorities.read(certificate), authorities.read(certificate)]
  return first === second
}

async function ask(hierarchy: Hierarchy): Promise<Question> {
  const { chainPem } = await issueLeaf(hierarchy, ID)
  return {
    chain: splitPem(chainPem),
    tlsAuthorized: true,
    bundles: new Map([[mesh.trustDomain, parseTrustBundle(mesh.trustDomain, mesh.rootPem)]]),
    revocations: revocationsOf([], []),
    expected: { exactly: ID },
    now: mesh.madeAt,
  }
}

describe('what is known of the CAs of a bundle', () => {
  it('is the issuing CA of who was judged, and a later judgement comes to the same', async () => {
    const question = await ask(mesh)
    const { authorities } = question.bundles.get(mesh.trustDomain) ?? mesh.bundle
    expect(isKnown(authorities, mesh.issuing.certificate)).toBe(false)
    const first = verifyPeer(question)
    expect(isKnown(authorities, mesh.issuing.certificate)).toBe(true)
    expect(verifyPeer(question)).toEqual(first)
    expect(authorities.roots()).toBe(authorities.roots())
  })

  it('is nothing that no root vouches for', async () => {
    const twin = await makeHierarchy({ trustDomain: TD, dev: true })
    const question = await ask(twin)
    expect(() => verifyPeer(question)).toThrow('no root')
    const { authorities } = question.bundles.get(mesh.trustDomain) ?? mesh.bundle
    expect(isKnown(authorities, twin.issuing.certificate)).toBe(false)
    expect(isKnown(authorities, twin.root.certificate)).toBe(false)
  })

  it('is bounded: the oldest is forgotten', async () => {
    const made = { trustDomain: mesh.trustDomain, madeAt: mesh.madeAt, days: 1, pathLength: 0 }
    const authorities = openAuthorities([mesh.root.certificate])
    const issuing = await Promise.all(
      Array.from({ length: 9 }, (_, nth) => makeCa(`issuing ${nth}`, { ...made, signer: mesh.root })),
    )
    for (const { certificate } of issuing) authorities.remember(linkOf(certificate))
    expect(issuing.map(({ certificate }) => isKnown(authorities, certificate))).toEqual([
      false,
      ...Array<boolean>(8).fill(true),
    ])
  })
})
