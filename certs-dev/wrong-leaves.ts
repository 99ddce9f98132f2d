// Leaves that must be refused, each wrong in one way, with the code that its refusal must carry. The mistakes are those that common
// validators let through or confuse, and those an attacker would try.

import 'reflect-metadata'
import { KeyUsageFlags } from '@peculiar/x509'
import type { MeshErrorCode } from '../mesh/errors.js'
import { CLIENT_AUTH, type Hierarchy, issueLeaf, type Leaf, makeHierarchy, SERVER_AUTH } from './hierarchy.js'
import { makeCertificate, makeKey } from './make-certificate.js'

export interface WrongLeaf {
  /** Kebab-case; names the file. */
  readonly name: string
  /** The refusal's code where agents are awaited; where one exact identity is awaited, PEER_KIND_WRONG is PEER_UNEXPECTED. */
  readonly code: MeshErrorCode
  readonly leaf: Leaf
}

const DAY = 86_400_000
const MINUTE = 60_000

/** All of them, for the agent `name` of the hierarchy. */
export async function makeWrongLeaves(hierarchy: Hierarchy, name: string): Promise<WrongLeaf[]> {
  const made: WrongLeaf[] = []
  for (const [wrong, code, make] of RECIPES)
    made.push({
      name: wrong,
      code,
      leaf: await make(hierarchy, `spiffe://${hierarchy.trustDomain}/agent/${name}`),
    })
  return made
}

type Recipe = readonly [
  name: string,
  code: MeshErrorCode,
  make: (hierarchy: Hierarchy, id: string) => Promise<Leaf>,
]

const RECIPES: readonly Recipe[] = [
  [
    'expired',
    'PEER_CERT_EXPIRED',
    (h, id) => issueLeaf(h, id, { notBefore: h.madeAt - 2 * DAY, notAfter: h.madeAt - MINUTE }),
  ],
  [
    'not-yet-valid',
    'PEER_CERT_NOT_YET_VALID',
    (h, id) => issueLeaf(h, id, { notBefore: h.madeAt + DAY, notAfter: h.madeAt + 2 * DAY }),
  ],
  [
    'two-uri-sans',
    'PEER_SAN_INVALID',
    (h, id) => issueLeaf(h, id, { uris: [id, `spiffe://${h.trustDomain}/agent/other`] }),
  ],
  ['no-san', 'PEER_SAN_INVALID', (h, id) => issueLeaf(h, id, { uris: [], dns: [] })],
  ['no-uri-san', 'PEER_SAN_INVALID', (h, id) => issueLeaf(h, id, { uris: [] })],
  ['malformed-spiffe-id', 'PEER_SAN_INVALID', (h, id) => issueLeaf(h, id, { uris: [`${id}/../admin`] })],
  [
    'upper-case-scheme',
    'PEER_SAN_INVALID',
    (h, id) => issueLeaf(h, id, { uris: [id.replace('spiffe', 'SPIFFE')] }),
  ],
  [
    'other-trust-domain',
    'PEER_TRUST_DOMAIN',
    async (h, id) => {
      const other = await makeHierarchy({ trustDomain: 'other.example', dev: true, now: h.madeAt })
      return issueLeaf(other, id.replace(h.trustDomain, other.trustDomain))
    },
  ],
  [
    'foreign-root',
    'PEER_CHAIN_UNTRUSTED',
    async (h, id) =>
      issueLeaf(await makeHierarchy({ trustDomain: h.trustDomain, dev: true, now: h.madeAt }), id),
  ],
  ['wrong-kind', 'PEER_KIND_WRONG', (h) => issueLeaf(h, `spiffe://${h.trustDomain}/ca`)],
  [
    'server-auth-only',
    'PEER_USAGE_INVALID',
    (h, id) => issueLeaf(h, id, { extendedKeyUsage: [SERVER_AUTH] }),
  ],
  [
    'client-auth-only',
    'PEER_USAGE_INVALID',
    (h, id) => issueLeaf(h, id, { extendedKeyUsage: [CLIENT_AUTH] }),
  ],
  ['no-extended-key-usage', 'PEER_USAGE_INVALID', (h, id) => issueLeaf(h, id, { extendedKeyUsage: null })],
  ['no-key-usage', 'PEER_USAGE_INVALID', (h, id) => issueLeaf(h, id, { keyUsage: null })],
  [
    'key-usage-not-critical',
    'PEER_USAGE_INVALID',
    (h, id) => issueLeaf(h, id, { keyUsage: { flags: KeyUsageFlags.digitalSignature, critical: false } }),
  ],
  [
    'leaf-that-signs',
    'PEER_USAGE_INVALID',
    (h, id) =>
      issueLeaf(h, id, {
        keyUsage: { flags: KeyUsageFlags.digitalSignature | KeyUsageFlags.keyCertSign, critical: true },
      }),
  ],
  ['ca-as-leaf', 'PEER_IS_CA', (h) => Promise.resolve(caAsLeaf(h))],
  ['self-signed', 'PEER_CHAIN_UNTRUSTED', selfSigned],
  ['issued-by-a-leaf', 'PEER_CHAIN_UNTRUSTED', issuedByLeaf],
  ['p521', 'PEER_KEY_UNSUPPORTED', (h, id) => issueLeaf(h, id, { keyKind: 'P-521' })],
]

/** The issuing CA itself, presented as an identity. */
function caAsLeaf({ issuing, root }: Hierarchy): Leaf {
  return {
    certificate: issuing.certificate,
    issuing: root.certificate,
    instanceId: '',
    keyPem: issuing.keyPem,
    chainPem: issuing.certificate.toString() + root.certificate.toString(),
  }
}

async function selfSigned(hierarchy: Hierarchy, id: string): Promise<Leaf> {
  const right = await issueLeaf(hierarchy, id)
  const key = await makeKey('P-256')
  const certificate = await makeCertificate(
    {
      subject: [['CN', 'self']],
      uris: [id],
      dns: [],
      ips: [],
      notBefore: hierarchy.madeAt - 5 * MINUTE,
      notAfter: hierarchy.madeAt + DAY,
      ca: null,
      keyUsage: { flags: KeyUsageFlags.digitalSignature, critical: true },
      extendedKeyUsage: [CLIENT_AUTH, SERVER_AUTH],
      extensions: [],
      publicPem: key.publicPem,
    },
    { selfKeyPem: key.privatePem },
  )
  const chainPem = certificate.toString()
  return { ...right, certificate, issuing: certificate, keyPem: key.privatePem, chainPem }
}

/** A right agent signs a leaf of another name with its own key. */
async function issuedByLeaf(hierarchy: Hierarchy, id: string): Promise<Leaf> {
  const agent = await issueLeaf(hierarchy, `spiffe://${hierarchy.trustDomain}/agent/forger`)
  const forged = await issueLeaf(hierarchy, id, { signer: agent })
  return { ...forged, chainPem: forged.certificate.toString() + agent.chainPem }
}
