// The short reader against the full one: whatever bytes the short one reads, the full one reads to the same.

import 'reflect-metadata'
import { KeyUsageFlags } from '@peculiar/x509'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { issueLeaf, makeHierarchy } from '../../certs-dev/hierarchy.js'
import { makeWrongLeaves } from '../../certs-dev/wrong-leaves.js'
import { readFully } from '../../mesh/full-certificate.js'
import { readPlain } from '../../mesh/plain-certificate.js'

const RUNS = { seed: 20_261_123, numRuns: process.env['SLOW'] === undefined ? 400 : 100_000 }
const OTHERS: Parameters<typeof issueLeaf>[2][] = [
  { keyKind: 'P-384' },
  { uris: [] },
  { uris: ['spiffe://acme.internal/agent/a', 'spiffe://acme.internal/agent/b'] },
  { ips: ['127.0.0.1', '::1'] },
  { ca: { pathLength: null } },
  { ca: { pathLength: 0 } },
  { keyUsage: null },
  { keyUsage: { flags: KeyUsageFlags.digitalSignature | KeyUsageFlags.cRLSign, critical: false } },
  { extendedKeyUsage: null },
  { extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'] },
  { subject: [['CN', 'Größe']] },
  { notAfter: Date.parse('2050-01-01T00:00:00Z') },
]

let right: Buffer[]
let others: Buffer[]

beforeAll(async () => {
  const mesh = await makeHierarchy({ trustDomain: 'acme.internal', dev: true })
  const id = 'spiffe://acme.internal/agent/planner'
  const leaf = await issueLeaf(mesh, id)
  right = [leaf.certificate, leaf.issuing, mesh.root.certificate].map(({ raw }) => raw)
  const leaves = await Promise.all(OTHERS.map((options) => issueLeaf(mesh, id, options)))
  const wrong = (await makeWrongLeaves(mesh, 'planner')).map(({ leaf }) => leaf)
  others = [...leaves, ...wrong].map(({ certificate }) => certificate.raw)
})

/** True when the short reader read it. */
function agrees(der: Buffer): boolean {
  const plain = readPlain(der)
  if (plain !== undefined) expect(plain).toEqual(readFully(der))
  return plain !== undefined
}

describe('the short reader of certificates', () => {
  it('reads what the CA of a mesh gives as the full one does', () => {
    expect(right.map(agrees)).toEqual([true, true, true])
  })

  it('reads other leaves as the full one does, or leaves them to it', () => {
    const read = others.map(agrees)
    expect(read.filter(Boolean).length).toBeGreaterThan(8)
  })

  it('says nothing else than the full one when an octet is another', () => {
    const octet = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 0x7f, 0x80, 0x81, 0x82, 0xff))
    fc.assert(
      fc.property(fc.nat(2), fc.nat(), octet, (which, at, value) => {
        const der = Buffer.from(right[which] ?? Buffer.alloc(0))
        der[at % der.length] = value
        agrees(der)
      }),
      RUNS,
    )
  })

  it('reads no certificate that is cut short or has something behind it', () => {
    for (const der of right) {
      for (let end = 0; end < der.length; end += 7) expect(readPlain(der.subarray(0, end))).toBeUndefined()
      expect(readPlain(Buffer.concat([der, Buffer.of(0)]))).toBeUndefined()
    }
  })
})
