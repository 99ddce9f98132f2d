import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, expect, it } from 'vitest'
import { type Hierarchy, issueLeaf, type Leaf, makeHierarchy } from '../../certs-dev/hierarchy.js'
import { MeshError } from '../../mesh/errors.js'
import { covers, revocationsOf, withRevoked } from '../../mesh/revocation.js'
import { parseSpiffeId } from '../../mesh/spiffe-id.js'
import { verifyPeer } from '../../mesh/verify-peer.js'

const RUNS = process.env['SLOW'] === undefined ? 300 : 10_000

let mesh: Hierarchy
let leaf: Leaf

beforeAll(async () => {
  mesh = await makeHierarchy({ trustDomain: 'acme.internal', dev: true })
  leaf = await issueLeaf(mesh, 'spiffe://acme.internal/agent/planner')
})

/** The judge's answer to a chain of DER bytes; `malformed` when Node cannot even parse one. */
function judge(ders: readonly Buffer[]): string {
  let chain: X509Certificate[]
  try {
    chain = ders.map((der) => new X509Certificate(der))
  } catch {
    return 'malformed'
  }
  try {
    return verifyPeer({
      chain,
      tlsAuthorized: true,
      bundles: new Map([[mesh.trustDomain, mesh.bundle]]),
      revocations: revocationsOf([], []),
      expected: { kinds: ['agent'] },
      now: mesh.madeAt,
    }).id
  } catch (error) {
    if (error instanceof MeshError) return error.code
    throw error
  }
}

it('no chain with a flipped bit is accepted, and none makes the judge throw anything but its codes', () => {
  const ders = [leaf.certificate.raw, leaf.issuing.raw]
  expect(judge(ders)).toBe('spiffe://acme.internal/agent/planner')
  fc.assert(
    fc.property(fc.nat(1), fc.nat(), fc.nat(7), (which, at, bit) => {
      const spoiled = ders.map((der) => Buffer.from(der))
      const target = spoiled[which]!
      target[at % target.length]! ^= 1 << bit
      expect(judge(spoiled)).not.toMatch(/^spiffe:/)
    }),
    { numRuns: RUNS },
  )
})

it('withdrawing in any order and any split gives the same answers', () => {
  const id = fc.integer({ min: 0, max: 5 }).map((n) => parseSpiffeId(`spiffe://acme.internal/agent/a${n}`))
  const serial = fc.record({
    id,
    issuer: fc.constantFrom('a'.repeat(64), 'b'.repeat(64)),
    serial: fc.constantFrom('01', '02', '03'),
    expiresAt: fc.constant(1),
  })
  fc.assert(
    fc.property(fc.array(id), fc.array(serial), fc.nat(10), serial, (ids, serials, split, asked) => {
      const whole = revocationsOf(ids, serials)
      const first = revocationsOf(ids.slice(split), serials.slice(split))
      const parts = withRevoked(first, ids.slice(0, split), serials.slice(0, split))
      expect(covers(parts, asked)).toBe(covers(whole, asked))
    }),
    { numRuns: RUNS },
  )
})
