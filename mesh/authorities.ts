// What is remembered of the certificates of one trust bundle: its CAs, so that a judgement parses the leaf alone, and leaves that were led
// to a root, for peers that connect again and again. It makes judgements faster and never decides one: what is known is what reading and
// verifying the same bytes again would say.

import { hash, type X509Certificate } from 'node:crypto'
import { type Certificate, readCertificate } from './certificate.js'
import type { Svid } from './svid.js'

/** One certificate of a path with what it says. */
export interface Link {
  readonly certificate: X509Certificate
  readonly says: Certificate
  /** SHA-256 of the SubjectPublicKeyInfo, lower-case hex: names a CA by its key. */
  readonly keyFingerprint: string
}

/** A leaf and how it leads to a root of the bundle, signature by signature. Nothing here says that it is valid now, or was not revoked. */
export interface Proven {
  readonly svid: Svid
  /** Leaf first, root last. */
  readonly path: readonly [Link, ...Link[]]
}

export interface Authorities {
  /** The roots of the bundle, in order. @throws MeshError PEER_CERT_MALFORMED */
  roots(): readonly Link[]
  /** The certificate read, or as it was read before. @throws MeshError PEER_CERT_MALFORMED */
  read(certificate: X509Certificate): Link
  /** Remembers a CA certificate that a root vouches for: only those, so that no stranger fills the memory. */
  remember(link: Link): void
  /** What was proved of exactly this leaf; undefined when nothing was, or it is forgotten. */
  proven(leafDer: Buffer): Proven | undefined
  /** Remembers a leaf that a root vouches for: only those, so that no stranger fills the memory. */
  rememberProven(proven: Proven): void
}

/** Issuing CAs at once: the present one, the last one, and a few for meshes with several. The oldest is forgotten. */
const MAX_KNOWN = 8
/** Leaves at once, some 8 KB each. The oldest is forgotten. */
const MAX_PROVEN = 256

export function openAuthorities(roots: readonly X509Certificate[]): Authorities {
  const known = new Map<string, Link>()
  // by their whole bytes: nothing else is theirs
  const leaves = new Map<string, Proven>()
  let rootLinks: readonly Link[] | undefined
  return {
    roots() {
      rootLinks ??= roots.map(linkOf)
      return rootLinks
    },
    read: (certificate) => known.get(certificate.fingerprint256) ?? linkOf(certificate),
    remember(link) {
      const { fingerprint256 } = link.certificate
      if (!known.has(fingerprint256)) keepNewest(known, MAX_KNOWN, fingerprint256, link)
    },
    proven: (leafDer) => leaves.get(leafDer.toString('latin1')),
    rememberProven(proven) {
      const bytes = proven.path[0].certificate.raw.toString('latin1')
      if (!leaves.has(bytes)) keepNewest(leaves, MAX_PROVEN, bytes, proven)
    },
  }
}

function keepNewest<T>(kept: Map<string, T>, max: number, key: string, value: T): void {
  const [oldest] = kept.keys()
  if (kept.size === max && oldest !== undefined) kept.delete(oldest)
  kept.set(key, value)
}

/** @throws MeshError PEER_CERT_MALFORMED */
export const linkOf = (certificate: X509Certificate): Link => new ReadLink(certificate)

class ReadLink implements Link {
  readonly certificate: X509Certificate
  readonly says: Certificate
  #keyFingerprint: string | undefined

  constructor(certificate: X509Certificate) {
    this.certificate = certificate
    this.says = readCertificate(certificate)
  }

  get keyFingerprint(): string {
    this.#keyFingerprint ??= keyFingerprintOf(this.certificate)
    return this.#keyFingerprint
  }
}

/** As a link's, of a certificate that is not read for it. */
export const keyFingerprintOf = ({ publicKey }: X509Certificate): string =>
  hash('sha256', publicKey.export({ type: 'spki', format: 'der' }))
