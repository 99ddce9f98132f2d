// What anybody may have: revocation lists, the certificates of roots and issuing CAs, the trust bundle. All of it is signed or public
// already, so it goes over plain HTTP as well (RFC 5280 §8 warns of loops where a list is fetched over TLS). Bytes come from
// memory; nothing is signed for a request.

import { createHash, type X509Certificate } from 'node:crypto'
import type { Document, Request, Route } from '../host/http-server.js'
import { keyFingerprintOf } from '../mesh/authorities.js'
import { MeshError } from '../mesh/errors.js'
import { fingerprintOf } from '../mesh/trust-bundle.js'
import { BUNDLE_PATH, BUNDLE_REFRESH_SECONDS, spiffeBundle } from '../mesh/wire/spiffe-bundle.js'
import type { CrlPublisher } from './crl-publisher.js'
import type { Hierarchy } from './hierarchy.js'
import type { CaStore, StoredCrl } from './store/model.js'

export interface PublishedOptions {
  readonly store: CaStore
  readonly hierarchy: Hierarchy
  readonly crls: CrlPublisher
  readonly now: () => number
}

/** A cache may answer this long with a list that a revocation has just replaced. */
const LIST_MAX_AGE_SECONDS = 60
/** A certificate never changes; which one is `root` or `issuing` does, at a rotation. */
const CERTIFICATE_MAX_AGE_SECONDS = 300

/**
 * `/crl/<issuer>.crl` and `/crt/<issuer>.crt`, both DER. `<issuer>` is the SHA-256 of the CA's SubjectPublicKeyInfo in hex, or `root` or
 * `issuing` for the ones that sign now.
 */
export function plainRoutes(options: PublishedOptions): Route[] {
  return [
    ...readable('/crl/:file', (request) => crlDocument(findCrl(options, nameOf(request, 'crl')))),
    ...readable('/crt/:file', (request) => certificateDocument(options, nameOf(request, 'crt'))),
  ]
}

/** The same, and the trust bundle. Over TLS without a client certificate (SPIFFE Federation §5.2.2.3). */
export function publishedRoutes(options: PublishedOptions): Route[] {
  return [...plainRoutes(options), ...readable(BUNDLE_PATH, () => bundleDocument(options))]
}

/** @throws MeshError NOT_FOUND | CRL_NONE */
export function findCrl({ crls, hierarchy }: PublishedOptions, name: string): StoredCrl {
  const certificate = findAuthority(hierarchy, name)
  const issuer = certificate === undefined ? name : keyFingerprintOf(certificate)
  const crl = crls.find(issuer)
  if (crl !== undefined) return crl
  if (certificate === undefined) throw new MeshError('NOT_FOUND', `no CA ${name} is known here`)
  throw new MeshError(
    'CRL_NONE',
    `there is no revocation list of ${certificate.subject.replaceAll('\n', ', ')}`,
  )
}

/** Undefined also for a CA that is no longer in use; its last list may still be there. */
function findAuthority(hierarchy: Hierarchy, name: string): X509Certificate | undefined {
  const { root, issuing } = hierarchy.current()
  if (name === 'root') return root
  if (name === 'issuing') return issuing
  const all = [...hierarchy.roots, ...hierarchy.issuers.map((each) => each.issuing)]
  return all.find((each) => keyFingerprintOf(each) === name)
}

function certificateDocument({ hierarchy }: PublishedOptions, name: string): Document {
  const certificate = findAuthority(hierarchy, name)
  if (certificate === undefined) throw new MeshError('NOT_FOUND', `no CA ${name} is known here`)
  return {
    bytes: certificate.raw,
    type: 'application/pkix-cert',
    tag: fingerprintOf(certificate),
    modifiedAt: Date.parse(certificate.validFrom),
    maxAgeSeconds: CERTIFICATE_MAX_AGE_SECONDS,
  }
}

const crlDocument = ({ der, issuer, number, publishedAt }: StoredCrl): Document => ({
  bytes: der,
  type: 'application/pkix-crl',
  tag: `${issuer.slice(0, 16)}-${number}`,
  modifiedAt: publishedAt,
  maxAgeSeconds: LIST_MAX_AGE_SECONDS,
})

async function bundleDocument({ store, hierarchy, now }: PublishedOptions): Promise<Document> {
  const { roots } = hierarchy
  const content = roots.map(fingerprintOf).sort().join(' ')
  const bundle = spiffeBundle(roots, await store.bundleSequence(content, now()))
  const bytes = Buffer.from(`${JSON.stringify(bundle)}\n`)
  return {
    bytes,
    type: 'application/json',
    tag: createHash('sha256').update(bytes).digest('hex'),
    modifiedAt: null,
    maxAgeSeconds: BUNDLE_REFRESH_SECONDS,
  }
}

function readable(path: string, answer: Route['answer']): Route[] {
  return [
    { method: 'GET', path, answer },
    { method: 'HEAD', path, answer },
  ]
}

/** @throws MeshError NOT_FOUND when the file does not end so */
function nameOf({ params }: Request, ending: 'crl' | 'crt'): string {
  const file = params['file'] ?? ''
  const name = /^(root|issuing|[0-9a-f]{64})\.(crl|crt)$/.exec(file)
  if (name?.[1] === undefined || name[2] !== ending) throw new MeshError('NOT_FOUND', `no such file: ${file}`)
  return name[1]
}
