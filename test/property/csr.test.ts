// Whatever a request says: it is refused with a code, or the leaf is the one that a plain request for the same key gets.

import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { csrOfForeignClient, parseCsr } from '../../ca/certificate/csr.js'
import { memberNames, rootProfile } from '../../ca/certificate/profile.js'
import { openSigner, type Signer, signRoot } from '../../ca/certificate/sign.js'
import { signingKeyOf } from '../../ca/certificate/signing-key.js'
import { writeLeafExtensions } from '../../ca/certificate/template.js'
import { issueMemberLeaf } from '../../ca/issue.js'
import { readCertificateDer } from '../../mesh/certificate-der.js'
import * as der from '../../mesh/der-writer.js'
import { MeshError } from '../../mesh/errors.js'
import { parseTrustDomain } from '../../mesh/spiffe-id.js'
import {
  attribute,
  attributesOf,
  buildCsr,
  extension,
  extensionRequest,
  nameOf,
  OWNER,
} from '../support/csr-corpus.js'
import { pemOf } from '../support/hostile-csr.js'

const RUNS = { seed: 20_261_122, numRuns: process.env['SLOW'] === undefined ? 300 : 10_000 }
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const names = memberNames(OWNER)
const own = writeLeafExtensions(names, pair.publicKey.export({ format: 'der', type: 'spki' }))
const now = Date.parse('2026-11-22T10:00:00Z')

let signer: Signer

beforeAll(async () => {
  const key = signingKeyOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
  const profile = rootProfile({
    trustDomain: parseTrustDomain('acme.internal'),
    dev: true,
    nonce: '00000000',
    now,
  })
  signer = await openSigner(await signRoot(profile, key), key)
})

/** Everything that is signed but the serial, which is random; `refused` and the code otherwise. */
async function leafFor(request: Buffer): Promise<string> {
  try {
    const csr = parseCsr(pemOf(request), csrOfForeignClient(names, []))
    const { certificate } = signer
    const ca = { issuing: certificate, root: certificate, issuer: 'the issuer', signer }
    const wanted = { id: OWNER, instanceId: '0a0a0a0a-0000-4000-8000-000000000001', ttlMs: 3_600_000 }
    const { pem, serial } = await issueMemberLeaf(ca, { ...wanted, csr, origin: 'issue', now })
    const bytes = Buffer.from(pem.split('\n').slice(1, -2).join(''), 'base64')
    return readCertificateDer(bytes).tbsDer.toString('hex').replace(serial, 'serial')
  } catch (error) {
    if (error instanceof MeshError) return `refused: ${error.code}`
    throw error
  }
}

const oids = fc.constantFrom(
  '2.5.29.14',
  '2.5.29.15',
  '2.5.29.17',
  '2.5.29.19',
  '2.5.29.37',
  '2.5.29.30',
  '1.2.3.4',
)
const octets = fc.uint8Array({ maxLength: 40 }).map((each) => Buffer.from(each))
const generalName = fc
  .tuple(
    fc.constantFrom(1, 2, 6, 7),
    fc.oneof(fc.constantFrom(OWNER, 'planner.mesh', 'admin.mesh'), fc.string()),
  )
  .map(([tag, text]) => der.implicit(tag, Buffer.from(text)))
const extensions = fc.oneof(
  fc.constantFrom(...own),
  fc.tuple(oids, octets, fc.boolean()).map(([id, value, critical]) => extension(id, value, critical)),
  fc.array(generalName, { maxLength: 3 }).map((each) => extension('2.5.29.17', der.sequence(...each))),
)
const attributes = fc.oneof(
  fc.array(extensions, { maxLength: 3 }).map((each) => extensionRequest(...each)),
  fc.tuple(oids, octets).map(([id, value]) => attribute(id, der.octetString(value))),
)
const requests = fc
  .record({
    subject: fc.oneof(fc.string().map(nameOf), octets.map(der.sequence)),
    asked: fc.array(attributes, { maxLength: 2 }),
  })
  .map(({ subject, asked }) => buildCsr(pair, { subject, tail: attributesOf(...asked) }))

describe('any certificate request', () => {
  it('influences nothing in the leaf but its public key', async () => {
    const plain = await leafFor(buildCsr(pair))
    expect(plain).toContain('serial')
    const seen = new Set<string>()
    await fc.assert(
      fc.asyncProperty(requests, async (request) => {
        const outcome = await leafFor(request)
        seen.add(outcome === plain ? 'accepted' : outcome)
        if (!outcome.startsWith('refused: CSR_')) expect(outcome).toBe(plain)
      }),
      RUNS,
    )
    // the generator reaches both sides
    expect([...seen].sort()).toEqual(['accepted', 'refused: CSR_INVALID', 'refused: CSR_NOT_ALLOWED'])
  })
})
