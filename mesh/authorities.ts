// What is remembered of the CA certificates of one trust bundle, so that a judgement parses the leaf alone. It makes judgements
// faster and never decides one: what is known is what reading the same bytes again would say.

import { hash, type X509Certificate } from 'node:crypto'
import { type Certificate, readCertificate } from './certificate.js'

/** One certificate of a path with what it says. */
export interface Link {
  readonly certificate: X509Certificate
  readonly says: Certificate
  /** SHA-256 of the SubjectPublicKeyInfo, lower-case hex: names a CA by its key. */
  readonly keyFingerprint: string
}

export interface Authorities {
  /** The roots of the bundle, in order. @throws MeshError PEER_CERT_MALFORMED */
  roots(): readonly Link[]
  /** The certificate read, or as it was read before. @throws MeshError PEER_CERT_MALFORMED */
  read(certificate: X509Certificate): Link
  /** Remembers a CA certificate that a root vouches for: only those, so that no stranger fills the memory. */
  remember(link: Link): void
}

/** Issuing CAs at once: the present one, the last one, and a few for meshes with several. The oldest is forgotten. */
const MAX_KNOWN = 8

export function openAuthorities(roots: readonly X509Certificate[]): Authorities {
  const known = new Map<string, Link>()
  let rootLinks: readonly Link[] | undefined
  return {
    roots() {
      rootLinks ??= roots.map(linkOf)
      return rootLinks
    },
    read: (certificate) => known.get(certificate.fingerprint256) ?? linkOf(certificate),
    remember(link) {
      const { fingerprint256 } = link.certificate
      if (known.has(fingerprint256)) return
      const [oldest] = known.keys()
      if (known.size === MAX_KNOWN && oldest !== undefined) known.delete(oldest)
      known.set(fingerprint256, link)
    },
  }
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
