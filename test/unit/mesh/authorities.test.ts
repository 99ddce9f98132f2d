import type { X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Hierarchy, issueLeaf, makeCa, makeHierarchy } from '../../../certs-dev/hierarchy.js'
import { type Authorities, keyFingerprintOf, linkOf, openAuthorities } from '../../../mesh/authorities.js'
import { isMeshError } from '../../../mesh/errors.js'
import { revocationsOf, withRevokedIssuers } from '../../../mesh/revocation.js'
import { parseSpiffeId } from '../../../mesh/spiffe-id.js'
import { parseTrustBundle, splitPem } from '../../../mesh/trust-bundle.js'
import { type Question, verifyPeer } from '../../../mesh/verify-peer.js'

const DAY = 86_400_000
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

function codeOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (isMeshError(error)) return error.code
    throw error
  }
  return 'no error'
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

  it('is judged anew each time: its dates, and whether it was withdrawn', async () => {
    const days = { trustDomain: mesh.trustDomain, madeAt: mesh.madeAt, pathLength: 0, signer: mesh.root }
    const issuing = await makeCa('issuing for a day', { ...days, days: 1 })
    const whole = { notBefore: mesh.madeAt - 30 * DAY, notAfter: mesh.madeAt + 30 * DAY }
    const { chainPem } = await issueLeaf(mesh, ID, { signer: issuing, ...whole })
    const question = { ...(await ask(mesh)), chain: splitPem(chainPem) }
    expect(verifyPeer(question).id).toBe(ID)
    const { authorities } = question.bundles.get(mesh.trustDomain) ?? mesh.bundle
    expect(isKnown(authorities, issuing.certificate)).toBe(true)

    const late = { ...question, now: mesh.madeAt + 2 * DAY }
    const early = { ...question, now: mesh.madeAt - DAY }
    const revocations = withRevokedIssuers(question.revocations, [keyFingerprintOf(issuing.certificate)])
    expect(codeOf(() => verifyPeer(late))).toBe('PEER_CERT_EXPIRED')
    expect(codeOf(() => verifyPeer(early))).toBe('PEER_CERT_NOT_YET_VALID')
    expect(codeOf(() => verifyPeer({ ...question, revocations }))).toBe('PEER_REVOKED')
    expect(verifyPeer(question).id).toBe(ID)
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
