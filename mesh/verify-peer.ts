// THE ONE JUDGE of peers, used by both ends of every connection. Unknown means no. It builds leaf -> issuing -> root itself, against the
// bundle of the leaf's own trust domain only, and beside that demands that TLS was satisfied; neither is enough alone
// (RFC 5280 §6.1, X509-SVID §5, SPIFFE Federation §7.3). Pure: the caller brings chain, world and time.

import type { X509Certificate } from 'node:crypto'
import type { Party } from './audit-record.js'
import { type Link, linkOf, type Proven } from './authorities.js'
import type { Certificate } from './certificate.js'
import { MeshError, type MeshErrorCode, type MeshErrorOptions } from './errors.js'
import { covers, type Revocations } from './revocation.js'
import { type Meaning, meaningOf, type SpiffeId, type TrustDomain, trustDomainOf } from './spiffe-id.js'
import { checkKey, hasBothUsages, partyOf, readLeafId, type Svid, svidOf } from './svid.js'
import type { TrustBundle } from './trust-bundle.js'

/** Whom a door awaits: one identity, or any of some kinds. */
export type Expected = { readonly exactly: SpiffeId } | { readonly kinds: readonly Meaning['kind'][] }

export interface Question {
  /** As presented, leaf first; the rest may be in any order and may include the root. Empty: none was presented. */
  readonly chain: readonly X509Certificate[]
  /** What TLS itself found (`socket.authorized`). */
  readonly tlsAuthorized: boolean
  readonly bundles: ReadonlyMap<TrustDomain, TrustBundle>
  readonly revocations: Revocations
  readonly expected: Expected
  /** Instant of the judgement, ms since epoch. */
  readonly now: number
}

/** A refusal of a peer whose certificate was proved to be from its trust domain: the ledger may name it. */
export class PeerRefused extends MeshError {
  readonly peer: Party

  constructor(code: MeshErrorCode, message: string, peer: Party, options: MeshErrorOptions = {}) {
    super(code, message, options)
    this.peer = peer
  }
}

/** Leaf, issuing CA, one more CA at most, root. */
const MAX_CHAIN = 4

/**
 * Judges a peer's certificate chain.
 *
 * @returns the peer's identity, good until `notAfter` or the next change of the revocations
 * @throws MeshError PEER_NO_CERTIFICATE | PEER_CERT_MALFORMED | PEER_KEY_UNSUPPORTED | PEER_IS_CA | PEER_SAN_INVALID |
 *   PEER_USAGE_INVALID | PEER_TRUST_DOMAIN | PEER_CHAIN_UNTRUSTED: who the peer is was not proved
 * @throws PeerRefused PEER_CERT_EXPIRED | PEER_CERT_NOT_YET_VALID | PEER_REVOKED | PEER_KIND_WRONG | PEER_UNEXPECTED
 */
export function verifyPeer(question: Question): Svid {
  const { chain, bundles } = question
  const [first, ...others] = chain
  if (first === undefined) throw new MeshError('PEER_NO_CERTIFICATE', 'the peer showed no certificate')
  if (chain.length > MAX_CHAIN) throw untrusted(`it has more than ${MAX_CHAIN} certificates`)

  const leaf = linkOf(first)
  const id = readLeafId(first, leaf.says)
  const trustDomain = trustDomainOf(id)
  const bundle = bundles.get(trustDomain)
  if (bundle === undefined)
    throw new MeshError('PEER_TRUST_DOMAIN', `trust domain ${trustDomain} is not trusted here`)

  const { authorities } = bundle
  const path = findPath(
    [leaf],
    others.map((each) => authorities.read(each)),
    authorities.roots(),
  )
  const issuing = path?.[1]
  if (path === undefined || issuing === undefined) throw untrusted(`no root of ${trustDomain} vouches for it`)
  for (const link of path.slice(1)) checkSigner(link, trustDomain)
  for (const link of path.slice(1, -1)) authorities.remember(link)
  const proven = { svid: svidOf(first, leaf.says, issuing.keyFingerprint), path }
  checkProven(proven, question)
  authorities.rememberProven(proven)
  return proven.svid
}

/**
 * Judges a peer by its leaf alone, when exactly this leaf was led to a root of the same bundle before: a signature that held once holds for
 * ever. All that time, revocation and TLS may change is asked anew.
 *
 * @param leafDer as presented
 * @returns undefined when it was not, or when anything stands against the peer now: `verifyPeer` has to say, with the chain
 */
export function verifyAgain(leafDer: Buffer, question: Omit<Question, 'chain'>): Proven | undefined {
  for (const { authorities } of question.bundles.values()) {
    const proven = authorities.proven(leafDer)
    if (proven === undefined) continue
    try {
      checkProven(proven, question)
      return proven
    } catch (error) {
      if (!(error instanceof MeshError)) throw error
    }
  }
  return undefined
}

/** What may change from one connection to the next, of a leaf that a root vouches for. @throws PeerRefused, or PEER_CHAIN_UNTRUSTED */
function checkProven({ svid, path }: Proven, question: Omit<Question, 'chain'>): void {
  const { tlsAuthorized, revocations, expected, now } = question
  for (const { says } of path) checkValidity(says, svid, now)
  if (!tlsAuthorized) throw untrusted('TLS did not accept it')
  if (covers(revocations, svid) || isByRevoked(path, revocations))
    throw new PeerRefused('PEER_REVOKED', `${svid.id} was revoked`, partyOf(svid))
  checkExpected(svid, expected)
}

/** True when any CA of the path is withdrawn, by its key or its certificate: a stolen key may have made itself another below it. */
function isByRevoked(path: readonly Link[], { issuers, serials }: Revocations): boolean {
  if (issuers.size === 0 && serials.size === 0) return false
  return path.slice(1).some(({ keyFingerprint, says }, index) => {
    const signer = path[index + 2]
    return (
      issuers.has(keyFingerprint) ||
      (signer !== undefined && serials.has(`${signer.keyFingerprint}:${says.serial}`))
    )
  })
}

const untrusted = (why: string): MeshError =>
  new MeshError('PEER_CHAIN_UNTRUSTED', `the peer's chain is not trusted: ${why}`)

/** Continues `path` to a root by names and signatures; roots first, so that a presented root is never needed. */
function findPath(
  path: readonly [Link, ...Link[]],
  pool: readonly Link[],
  roots: readonly Link[],
): readonly [Link, ...Link[]] | undefined {
  const last = path.at(-1) ?? path[0]
  const root = roots.find((each) => hasSigned(each, last, authoritiesBelow(path)))
  if (root !== undefined) return [...path, root]
  if (path.length >= MAX_CHAIN - 1) return undefined
  for (const next of pool) {
    if (!hasSigned(next, last, path.length - 1)) continue
    const rest = pool.filter((each) => each !== next)
    const found = findPath([...path, next], rest, roots)
    if (found !== undefined) return found
  }
  return undefined
}

/**
 * The CAs of a path that count against a root's path length: not its own next key, signed by itself (RFC 5280 §4.2.1.9, §6.1.4 l). Only a root
 * has that favour: an issuing CA has nobody below it, by whatever name.
 */
function authoritiesBelow([, ...authorities]: readonly Link[]): number {
  return authorities.filter(({ says }) => !says.subjectDer.equals(says.issuerDer)).length
}

/** True when `signer` is a CA that may have `below` CAs beneath it, and its key signed `subject`. */
function hasSigned(signer: Link, subject: Link, below: number): boolean {
  const { isCa, isCaCritical, pathLength, keyUsage, subjectDer } = signer.says
  return (
    isCa &&
    isCaCritical &&
    (pathLength === null || pathLength >= below) &&
    keyUsage?.critical === true &&
    keyUsage.keyCertSign &&
    subjectDer.equals(subject.says.issuerDer) &&
    subject.says.isSignedWithEcdsa &&
    subject.certificate.checkIssued(signer.certificate) &&
    subject.certificate.verify(signer.certificate.publicKey)
  )
}

/** What a signing certificate must not say although its signature holds (X509-SVID §3.2, §4.3; RFC 5280 §4.2.1.12). */
function checkSigner({ certificate, says }: Link, trustDomain: TrustDomain): void {
  try {
    checkKey(certificate)
  } catch (error) {
    throw new MeshError('PEER_CHAIN_UNTRUSTED', 'a CA of the chain has a key that is not trusted', {
      cause: error,
    })
  }
  if (says.extendedKeyUsage !== null && !hasBothUsages(says.extendedKeyUsage))
    throw untrusted('a CA of it is limited to other usages')
  if (says.uris.some((uri) => uri !== `spiffe://${trustDomain}`))
    throw untrusted('a CA of it belongs to another trust domain')
}

function checkValidity(says: Certificate, svid: Svid, now: number): void {
  const whose = says.isCa ? `a CA in the chain of ${svid.id}` : svid.id
  if (now > says.notAfter)
    throw new PeerRefused(
      'PEER_CERT_EXPIRED',
      `the certificate of ${whose} expired at ${new Date(says.notAfter).toISOString()}`,
      partyOf(svid),
    )
  if (now < says.notBefore)
    throw new PeerRefused(
      'PEER_CERT_NOT_YET_VALID',
      `the certificate of ${whose} is valid from ${new Date(says.notBefore).toISOString()}`,
      partyOf(svid),
    )
}

function checkExpected(svid: Svid, expected: Expected): void {
  if ('exactly' in expected) {
    if (svid.id !== expected.exactly)
      throw new PeerRefused(
        'PEER_UNEXPECTED',
        `the peer is ${svid.id}, not ${expected.exactly}`,
        partyOf(svid),
      )
    return
  }
  const { kind } = meaningOf(svid.id)
  if (!expected.kinds.includes(kind))
    throw new PeerRefused(
      'PEER_KIND_WRONG',
      `${svid.id} is of kind ${kind}; this door serves ${expected.kinds.join(', ')}`,
      partyOf(svid),
    )
}
