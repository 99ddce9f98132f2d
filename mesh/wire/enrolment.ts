// Enrolment and renewal between a member and the CA: `POST /v1/enrol` (with a join token) and `/v1/renew-expired` (with a proof by
// the old key) on the CA's public door, server-authenticated TLS; `POST /v1/renew` on its member door, mutual TLS; and the join token.

import { MeshError } from '../errors.js'
import { integer, lines, listOf, oneOf, type Read, readJson, record, text, word } from '../parse.js'
import {
  type AgentName,
  NAMED_KINDS,
  type NamedKind,
  parseAgentName,
  parseSpiffeId,
  parseTrustDomain,
  type TrustDomain,
} from '../spiffe-id.js'

const uuid = word((raw) => {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(raw)) throw new Error('not a UUID')
  return raw
}, 36)

const kind = oneOf(...(NAMED_KINDS as readonly [NamedKind, ...NamedKind[]]))

/** ALPN protocol that selects the CA's member door (mutual TLS); every other client reaches its public door. */
export const MEMBER_ALPN = 'troth.member.v1'

/** Bounds a body before it is parsed. */
export const ENROLMENT_MAX_BYTES = 64 * 1024

export const READ_ENROL = record({
  secret: text(128),
  kind,
  name: word(parseAgentName, 63),
  instanceId: uuid,
  csrPem: lines(16_384),
})
export type EnrolRequest = Read<typeof READ_ENROL>

/** Same-user enrolment over the CA's admin socket: no token, the caller is the CA's own OS user. */
export const READ_ENROL_LOCAL = record({
  kind,
  name: word(parseAgentName, 63),
  instanceId: uuid,
  csrPem: lines(16_384),
})
export type EnrolLocalRequest = Read<typeof READ_ENROL_LOCAL>

export const READ_RENEW = record({ csrPem: lines(16_384) })
export type RenewRequest = Read<typeof READ_RENEW>

/** GET /v1/renew-expired, on the public door: a number for one attempt, good for a minute. */
export const READ_RENEW_NONCE = record({ nonce: text(128) })
export type RenewNonce = Read<typeof READ_RENEW_NONCE>

/** POST /v1/renew-expired: as a renewal, with the old key's proof (mesh/renewal-proof.ts) in the place of mutual TLS. */
export const READ_RENEW_EXPIRED = record({
  serial: text(40),
  csrPem: lines(16_384),
  proof: text(4096),
})
export type RenewExpiredRequest = Read<typeof READ_RENEW_EXPIRED>

export const READ_ENROLMENT = record({
  trustDomain: word(parseTrustDomain, 255),
  spiffeId: word(parseSpiffeId),
  /** Leaf, then issuing CA. */
  chainPem: lines(65_536),
  /** The roots of the mesh, one PEM after the other. */
  bundlePem: lines(262_144),
  /** `host:port` of the CA, for renewal and the feed. */
  caAddress: text(300),
  /** At most a year: an instant that far away can still be counted in ms. */
  renewAfterSeconds: integer(1, 31_536_000),
  /** The CA's clock, ms since epoch: the member compares it with its own. */
  now: integer(0),
})
export type Enrolment = Read<typeof READ_ENROLMENT>

/** What a join token says. It is single use and lives ten minutes; the CA stores only a hash of the secret. */
export interface JoinToken {
  readonly trustDomain: TrustDomain
  /** `host:port` of the CA. */
  readonly caAddress: string
  /** SHA-256 of the DER of one or two roots, lower-case hex. */
  readonly rootFingerprints: readonly string[]
  readonly kind: NamedKind
  readonly name: AgentName
  readonly secret: string
}

const PREFIX = 'troth1_'

const READ_TOKEN = record({
  t: word(parseTrustDomain, 255),
  a: text(300),
  r: listOf(
    word((raw) => {
      if (!/^[0-9a-f]{64}$/.test(raw)) throw new Error('not a SHA-256')
      return raw
    }, 64),
    2,
  ),
  k: kind,
  n: word(parseAgentName, 63),
  s: text(128),
})

export function formatJoinToken(token: JoinToken): string {
  const { trustDomain: t, caAddress: a, rootFingerprints: r, kind: k, name: n, secret: s } = token
  return PREFIX + Buffer.from(JSON.stringify({ t, a, r, k, n, s })).toString('base64url')
}

/** @throws MeshError JOIN_TOKEN_INVALID */
export function parseJoinToken(token: string): JoinToken {
  const raw = token.trim()
  if (!raw.startsWith(PREFIX) || raw.length > 4096)
    throw new MeshError('JOIN_TOKEN_INVALID', 'this is not a join token')
  const body = readJson(
    Buffer.from(raw.slice(PREFIX.length), 'base64url'),
    READ_TOKEN,
    'join token',
    'JOIN_TOKEN_INVALID',
  )
  if (body.r.length === 0) throw new MeshError('JOIN_TOKEN_INVALID', 'join token: it names no root')
  return {
    trustDomain: body.t,
    caAddress: body.a,
    rootFingerprints: body.r,
    kind: body.k,
    name: body.n,
    secret: body.s,
  }
}
