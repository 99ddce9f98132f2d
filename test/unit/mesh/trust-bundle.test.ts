import { beforeAll, describe, expect, it } from 'vitest'
import { type Hierarchy, issueLeaf, makeHierarchy } from '../../../certs-dev/hierarchy.js'
import { isMeshError } from '../../../mesh/errors.js'
import {
  bundlePem,
  checkNoDevRoot,
  fingerprintOf,
  isDevRoot,
  parseTrustBundle,
  splitPem,
} from '../../../mesh/trust-bundle.js'

let mesh: Hierarchy

beforeAll(async () => {
  mesh = await makeHierarchy({ trustDomain: 'acme.internal', dev: true })
})

const codeOf = (act: () => unknown): string => {
  try {
    act()
  } catch (error) {
    if (isMeshError(error)) return error.code
    throw error
  }
  return 'none'
}

describe('splitPem', () => {
  it('gives certificates in their order, whatever the line ends and the space between', () => {
    const [a, b] = [mesh.rootPem, mesh.issuing.certificate.toString()]
    const text = `\n${a.replaceAll('\n', '\r\n')}\n\n${b.trimEnd()}  `
    expect(splitPem(text).map(fingerprintOf)).toEqual(
      [mesh.root.certificate, mesh.issuing.certificate].map(fingerprintOf),
    )
  })

  it('gives nothing for empty text', () => {
    expect(splitPem(' \n')).toEqual([])
  })

  it.each([
    ['text before', (pem: string) => `subject=CN\n${pem}`],
    ['text after', (pem: string) => `${pem}tail`],
    ['a private key', (pem: string) => pem.replaceAll('CERTIFICATE', 'PRIVATE KEY')],
    ['a block that does not end', (pem: string) => pem.slice(0, -20)],
    ['base64 that is no certificate', (pem: string) => pem.replace(/M[A-Za-z0-9]{30}/, 'AAAA')],
    ['more than 64 certificates', (pem: string) => pem.repeat(65)],
    ['more than 256 KiB', (pem: string) => pem + ' '.repeat(262_144)],
  ])('refuses %s', (_what, spoil) => {
    expect(codeOf(() => splitPem(spoil(mesh.rootPem)))).toBe('PEER_CERT_MALFORMED')
  })
})

describe('a trust bundle', () => {
  it('comes back from its PEM as it was', () => {
    const pem = mesh.rootPem + mesh.rootPem
    expect(bundlePem(parseTrustBundle(mesh.trustDomain, pem))).toBe(pem)
  })

  it('needs a root', () => {
    expect(codeOf(() => parseTrustBundle(mesh.trustDomain, ''))).toBe('PEER_CERT_MALFORMED')
  })

  it('refuses a leaf as a root', async () => {
    const leaf = await issueLeaf(mesh, 'spiffe://acme.internal/agent/a')
    expect(codeOf(() => parseTrustBundle(mesh.trustDomain, leaf.certificate.toString()))).toBe(
      'PEER_CERT_MALFORMED',
    )
  })
})

describe('a development root', () => {
  it('is known by its mark, and only by it', async () => {
    const plain = await makeHierarchy({ trustDomain: 'acme.internal', dev: false })
    expect(isDevRoot(mesh.root.certificate)).toBe(true)
    expect(isDevRoot(plain.root.certificate)).toBe(false)
    expect(codeOf(() => checkNoDevRoot(mesh.bundle))).toBe('DEV_ROOT')
    expect(codeOf(() => checkNoDevRoot(plain.bundle))).toBe('none')
  })
})
