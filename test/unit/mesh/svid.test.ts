import 'reflect-metadata'
import { createHash, createPublicKey } from 'node:crypto'
import { Extension, SubjectAlternativeNameExtension } from '@peculiar/x509'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Hierarchy, issueLeaf, makeHierarchy } from '../../../certs-dev/hierarchy.js'
import { makeWrongLeaves } from '../../../certs-dev/wrong-leaves.js'
import { isMeshError } from '../../../mesh/errors.js'
import { parseSvid, partyOf } from '../../../mesh/svid.js'

const ID = 'spiffe://acme.internal/agent/planner'

let mesh: Hierarchy

beforeAll(async () => {
  mesh = await makeHierarchy({ trustDomain: 'acme.internal', dev: true })
})

describe('parseSvid', () => {
  it('names the issuer by the hash of its public key', async () => {
    const { certificate, issuing } = await issueLeaf(mesh, ID)
    const spki = createPublicKey(issuing.publicKey.export({ type: 'spki', format: 'pem' }))
    const hash = createHash('sha256')
      .update(spki.export({ type: 'spki', format: 'der' }))
      .digest('hex')
    expect(parseSvid(certificate, issuing).issuer).toBe(hash)
  })

  it('gives serial and fingerprint as the whole project writes them', async () => {
    const { certificate, issuing } = await issueLeaf(mesh, ID)
    const svid = parseSvid(certificate, issuing)
    expect(svid.serial).toBe(certificate.serialNumber.toLowerCase())
    expect(svid.fingerprint).toBe(certificate.fingerprint256.replaceAll(':', '').toLowerCase())
    expect(svid.notAfter).toBe(Date.parse(certificate.validTo))
    expect(svid.notBefore).toBe(Date.parse(certificate.validFrom))
  })

  it('reads the instance from the subject, and nothing that is no UUID', async () => {
    const right = await issueLeaf(mesh, ID)
    expect(parseSvid(right.certificate, right.issuing).instanceId).toBe(right.instanceId)
    for (const subject of [[], [['CN', 'planner']], [['serialNumber', 'not-a-uuid']]] as const) {
      const leaf = await issueLeaf(mesh, ID, { subject })
      expect(parseSvid(leaf.certificate, leaf.issuing).instanceId).toBeNull()
    }
  })

  it('is the party of a ledger record', async () => {
    const { certificate, issuing, instanceId } = await issueLeaf(mesh, ID)
    const svid = parseSvid(certificate, issuing)
    expect(partyOf(svid)).toEqual({ id: ID, instance: instanceId, serial: svid.serial })
  })

  it('counts URI names on the extension: a DNS name that looks like one is none', async () => {
    const dns = ['planner.mesh', 'URI:spiffe.acme.internal']
    const leaf = await issueLeaf(mesh, ID, { dns })
    expect(parseSvid(leaf.certificate, leaf.issuing).id).toBe(ID)
    const forged = await issueLeaf(mesh, ID, { uris: [], dns: [`a, URI:${ID}`] })
    expect(codeOf(() => parseSvid(forged.certificate, forged.issuing))).toBe('PEER_SAN_INVALID')
  })

  it('refuses an extension that stands twice, though the second would be right', async () => {
    const second = new SubjectAlternativeNameExtension([{ type: 'url', value: ID }])
    const leaf = await issueLeaf(mesh, ID, { extensions: [second] })
    expect(codeOf(() => parseSvid(leaf.certificate, leaf.issuing))).toBe('PEER_CERT_MALFORMED')
  })

  it('refuses a critical extension that nobody here understands, and passes over others', async () => {
    const empty = Uint8Array.of(0x05, 0x00)
    const critical = await issueLeaf(mesh, ID, {
      extensions: [new Extension('1.3.6.1.4.1.99999.1', true, empty)],
    })
    expect(codeOf(() => parseSvid(critical.certificate, critical.issuing))).toBe('PEER_CERT_MALFORMED')
    const harmless = await issueLeaf(mesh, ID, {
      extensions: [new Extension('1.3.6.1.4.1.99999.1', false, empty)],
    })
    expect(parseSvid(harmless.certificate, harmless.issuing).id).toBe(ID)
  })

  it('refuses what has not the form of a leaf, each with its code', async () => {
    const form = new Set(['PEER_SAN_INVALID', 'PEER_USAGE_INVALID', 'PEER_KEY_UNSUPPORTED', 'PEER_IS_CA'])
    const wrong = (await makeWrongLeaves(mesh, 'planner')).filter(({ code }) => form.has(code))
    expect(wrong.length).toBeGreaterThan(10)
    const codes = wrong.map(({ leaf }) => codeOf(() => parseSvid(leaf.certificate, leaf.issuing)))
    expect(codes).toEqual(wrong.map(({ code }) => code))
  })
})

function codeOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (isMeshError(error)) return error.code
    throw error
  }
  return 'none'
}
