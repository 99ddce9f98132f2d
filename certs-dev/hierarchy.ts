// A throw-away hierarchy: root (10 years, path length 1), issuing CA (1 year, path length 0) and leaves, as the CA issues them. For
// tests and experiments only: its root carries the mark that every program refuses without --dev.

import 'reflect-metadata'
import { randomUUID, type X509Certificate } from 'node:crypto'
import { KeyUsageFlags } from '@peculiar/x509'
import {
  meaningOf,
  parseSpiffeId,
  parseTrustDomain,
  type SpiffeId,
  type TrustDomain,
} from '../mesh/spiffe-id.js'
import { DEV_ROOT_MARK, parseTrustBundle, type TrustBundle } from '../mesh/trust-bundle.js'
import {
  type Description,
  type KeyKind,
  type KeyPair,
  makeCertificate,
  makeKey,
  type Signer,
} from './make-certificate.js'

export interface Hierarchy {
  readonly trustDomain: TrustDomain
  readonly root: Signer
  readonly issuing: Signer
  readonly bundle: TrustBundle
  /** The root, PEM. */
  readonly rootPem: string
  /** What `now` was when it was made, ms since epoch. */
  readonly madeAt: number
}

/** A leaf with its key. */
export interface Leaf {
  readonly certificate: X509Certificate
  readonly issuing: X509Certificate
  readonly instanceId: string
  /** PKCS#8 PEM; empty when the key was the caller's own. */
  readonly keyPem: string
  /** Leaf, then issuing CA: what a member stores and presents. */
  readonly chainPem: string
}

/** Deviations from the right leaf: any field of its description, its key kind, another signer, a key of the caller's own. */
export interface LeafOptions extends Partial<Description> {
  readonly instanceId?: string
  readonly keyKind?: KeyKind
  readonly signer?: Signer
}

export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
const MINUTE = 60_000
const DAY = 86_400_000
const CA_USAGE = { flags: KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, critical: true }

/** @throws MeshError TRUST_DOMAIN_INVALID */
export async function makeHierarchy(options: {
  trustDomain: string
  /** False: a root without the development mark, to test that only marked ones are refused. */
  dev: boolean
  /** ms since epoch; the real time when absent (TLS knows no other). */
  now?: number
}): Promise<Hierarchy> {
  const trustDomain = parseTrustDomain(options.trustDomain)
  const madeAt = options.now ?? Date.now()
  const name = `${options.dev ? `${DEV_ROOT_MARK} ` : ''}${trustDomain}`
  const root = await makeCa(`${name} root`, { trustDomain, madeAt, days: 3650, pathLength: 1 })
  const issuing = await makeCa(`${name} issuing CA`, {
    trustDomain,
    madeAt,
    days: 365,
    pathLength: 0,
    signer: root,
  })
  const rootPem = root.certificate.toString()
  return { trustDomain, root, issuing, bundle: parseTrustBundle(trustDomain, rootPem), rootPem, madeAt }
}

/**
 * A leaf of the hierarchy: 24 h, back-dated 5 min, unless told otherwise.
 * @throws MeshError SPIFFE_ID_INVALID
 */
export async function issueLeaf(hierarchy: Hierarchy, id: string, options: LeafOptions = {}): Promise<Leaf> {
  const { instanceId = randomUUID(), keyKind = 'P-256', signer = hierarchy.issuing, ...deviations } = options
  const key: KeyPair =
    deviations.publicPem === undefined
      ? await makeKey(keyKind)
      : { privatePem: '', publicPem: deviations.publicPem }
  const right = rightLeaf(parseSpiffeId(id), instanceId, hierarchy.madeAt)
  const certificate = await makeCertificate({ ...right, publicPem: key.publicPem, ...deviations }, signer)
  return {
    certificate,
    issuing: signer.certificate,
    instanceId,
    keyPem: key.privatePem,
    chainPem: certificate.toString() + signer.certificate.toString(),
  }
}

/** What the CA would sign for this identity, all but the key. */
export function rightLeaf(id: SpiffeId, instanceId: string, now: number): Omit<Description, 'publicPem'> {
  const meaning = meaningOf(id)
  const name = 'name' in meaning ? meaning.name : meaning.kind
  return {
    subject: [
      ['CN', name],
      ['serialNumber', instanceId],
    ],
    uris: [id],
    dns: [`${name}.mesh`],
    ips: [],
    notBefore: now - 5 * MINUTE,
    notAfter: now + DAY,
    ca: null,
    keyUsage: { flags: KeyUsageFlags.digitalSignature, critical: true },
    extendedKeyUsage: [CLIENT_AUTH, SERVER_AUTH],
    extensions: [],
  }
}

/** A CA under `signer`, or a root when there is none. */
export async function makeCa(
  name: string,
  options: {
    trustDomain: TrustDomain
    madeAt: number
    days: number
    pathLength: number
    signer?: Signer
    keyKind?: KeyKind
    /** A key that exists, to certify it once more; the signer that comes back then has none. */
    publicPem?: string
  },
): Promise<Signer> {
  const { trustDomain, madeAt, days, pathLength, signer, keyKind = 'P-256' } = options
  const key =
    options.publicPem === undefined
      ? await makeKey(keyKind)
      : { privatePem: '', publicPem: options.publicPem }
  const what: Description = {
    subject: [['CN', name]],
    uris: [`spiffe://${trustDomain}`],
    dns: [],
    ips: [],
    notBefore: madeAt - 5 * MINUTE,
    notAfter: madeAt + days * DAY,
    ca: { pathLength },
    keyUsage: CA_USAGE,
    extendedKeyUsage: null,
    extensions: [],
    publicPem: key.publicPem,
  }
  const certificate = await makeCertificate(what, signer ?? { selfKeyPem: key.privatePem })
  return { certificate, keyPem: key.privatePem }
}
