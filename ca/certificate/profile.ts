// What each certificate of the mesh contains: root, issuing CA, member leaf, the CA's own server leaf. Every field comes from
// here; nothing is ever copied from a request. RFC 5280 §4.2, X509-SVID §2 to §4, docs/architecture.md 4.2.

import { isIP } from 'node:net'
import { MeshError } from '../../mesh/errors.js'
import { caId, type Meaning, meaningOf, type SpiffeId, type TrustDomain } from '../../mesh/spiffe-id.js'
import { LEAF_BACKDATE_MS } from '../../mesh/svid.js'
import { DEV_ROOT_MARK } from '../../mesh/trust-bundle.js'

const DAY_MS = 86_400_000
export const ROOT_LIFE_MS = 3650 * DAY_MS
export const ISSUING_LIFE_MS = 365 * DAY_MS
/** Clocks of two hosts may differ by this much: a leaf in the future is refused by OpenSSL, Go and GnuTLS alike. */
export const BACKDATE_MS = LEAF_BACKDATE_MS
/** An issuer with less life than this signs nothing: the leaf would be dead on arrival. */
const SHORTEST_MS = 60_000

export interface Validity {
  /** Instants, ms since epoch, whole seconds (ASN.1 keeps no more). */
  readonly notBefore: number
  readonly notAfter: number
}

export interface Profile extends Validity {
  /** Root and issuing CA sign certificates, a leaf is an identity. */
  readonly usage: 'root' | 'issuing' | 'leaf'
  /** Relative names in order; values are ASCII. `serialNumber` is the X.520 attribute, not the certificate's serial. */
  readonly subject: readonly { readonly attribute: 'CN' | 'O' | 'serialNumber'; readonly value: string }[]
  /** The one URI SAN. */
  readonly uri: string
  readonly dns: readonly string[]
  readonly ip: readonly string[]
}

/** `nonce` tells two CAs of one trust domain apart, so that no chain is built through the wrong one. */
export interface AuthorityProfileQuery {
  readonly trustDomain: TrustDomain
  readonly dev: boolean
  readonly nonce: string
  readonly now: number
}

export function rootProfile(query: AuthorityProfileQuery): Profile {
  return { ...authority(query, 'root'), usage: 'root', ...lasting(query.now, ROOT_LIFE_MS, null) }
}

/** @throws MeshError CA_EXPIRED | CLOCK_SKEW */
export function issuingProfile(query: AuthorityProfileQuery, root: Validity): Profile {
  return { ...authority(query, 'issuing CA'), usage: 'issuing', ...lasting(query.now, ISSUING_LIFE_MS, root) }
}

export interface MemberProfileQuery {
  readonly id: SpiffeId
  readonly instanceId: string
  readonly ttlMs: number
  readonly now: number
}

/**
 * The leaf of an agent, operator or collector. An agent is `<name>.mesh`; the other kinds are `<name>.<kind>.mesh`, because a client
 * that checks only DNS names must not take a collector for the agent of the same name. Never `localhost`: a client asking
 * for that would accept any agent.
 * @throws MeshError CA_EXPIRED when the issuer has no life left to give, CLOCK_SKEW when it is not valid yet
 */
export function memberProfile({ id, instanceId, ttlMs, now }: MemberProfileQuery, issuer: Validity): Profile {
  const { name } = namedMeaning(id)
  return {
    usage: 'leaf',
    subject: [
      { attribute: 'CN', value: name },
      { attribute: 'serialNumber', value: instanceId },
    ],
    ...memberNames(id),
    ...lasting(now, ttlMs, issuer),
  }
}

/**
 * The subject alternative names of a member's leaf.
 * @throws MeshError CSR_NOT_ALLOWED for an id that nobody is given
 */
export function memberNames(id: SpiffeId): Pick<Profile, 'uri' | 'dns' | 'ip'> {
  const { kind, name } = namedMeaning(id)
  return { uri: id, dns: [kind === 'agent' ? `${name}.mesh` : `${name}.${kind}.mesh`], ip: [] }
}

function namedMeaning(id: SpiffeId): Extract<Meaning, { readonly name: unknown }> {
  const meaning = meaningOf(id)
  if (meaning.kind === 'ca' || meaning.kind === 'foreign')
    throw new MeshError('CSR_NOT_ALLOWED', `no leaf is issued to ${id}`)
  return meaning
}

export interface ServerProfileQuery {
  readonly trustDomain: TrustDomain
  /** Host names and addresses that the server is reached by. */
  readonly hosts: readonly string[]
  readonly ttlMs: number
  readonly now: number
}

/** @throws MeshError CA_EXPIRED | CLOCK_SKEW */
export function serverProfile(
  { trustDomain, hosts, ttlMs, now }: ServerProfileQuery,
  issuer: Validity,
): Profile {
  // a zone (`fe80::1%eth0`) has a meaning on this host only, and no certificate can carry it
  const places = [...new Set(hosts)].filter((host) => host !== 'localhost' && !host.includes('%'))
  return {
    usage: 'leaf',
    subject: [{ attribute: 'CN', value: 'ca' }],
    uri: caId(trustDomain),
    dns: places.filter((host) => isIP(host) === 0),
    ip: places.filter((host) => isIP(host) !== 0),
    ...lasting(now, ttlMs, issuer),
  }
}

function authority(
  { trustDomain, dev, nonce }: AuthorityProfileQuery,
  what: string,
): Pick<Profile, 'subject' | 'uri' | 'dns' | 'ip'> {
  const value = `${dev ? DEV_ROOT_MARK : 'Troth'} ${what} ${nonce}`
  // X.520 bounds O to 64 characters; a longer trust domain stands in the URI alone
  const organisation = trustDomain.length <= 64 ? [{ attribute: 'O' as const, value: trustDomain }] : []
  return {
    subject: [{ attribute: 'CN', value }, ...organisation],
    uri: `spiffe://${trustDomain}`,
    dns: [],
    ip: [],
  }
}

/** Back-dated, counted from now, and never beyond either end of the issuer's life. */
function lasting(now: number, lifeMs: number, issuer: Validity | null): Validity {
  const second = Math.floor(now / 1000) * 1000
  const notBefore = Math.max(second - BACKDATE_MS, issuer?.notBefore ?? 0)
  if (issuer !== null && now < issuer.notBefore)
    throw new MeshError('CLOCK_SKEW', "by the clock of the CA's host its own certificate is not valid yet", {
      hint: "set the clock of the CA's host (timedatectl), then try again",
    })
  const end = issuer?.notAfter ?? Number.MAX_SAFE_INTEGER
  const notAfter = Math.min(second + lifeMs, end)
  if (end - second < SHORTEST_MS)
    throw new MeshError(
      'CA_EXPIRED',
      'the issuing certificate is at the end of its life and signs nothing more',
    )
  return { notBefore, notAfter }
}
