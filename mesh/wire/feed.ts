// The feed: the CA's WebSocket stream to members at `wss://<ca>/v1/feed` (member door), subprotocol `troth.feed.v1`. Text frames
// of one JSON object. The CA sends a snapshot, then a delta for every epoch, also those that do not concern this member (so that
// positions have no gaps and every member acknowledges every revocation), and a heartbeat in between.

import { MeshError } from '../errors.js'
import {
  flag,
  integer,
  lines,
  listOf,
  nullable,
  type Read,
  readJson,
  record,
  text,
  variant,
  withDefault,
  word,
} from '../parse.js'
import { READ_POLICY } from '../policy/model.js'
import { parseSpiffeId, parseTrustDomain } from '../spiffe-id.js'
import { joinPem, type TrustBundle } from '../trust-bundle.js'

export const FEED_PATH = '/v1/feed'
export const FEED_PROTOCOL = 'troth.feed.v1'
export const FEED_FRAME_MAX_BYTES = 16 * 1024 * 1024
/** Silence between two frames of the CA is never longer. */
export const FEED_HEARTBEAT_MS = 10_000

const position = record({ generation: text(36), epoch: integer(0) })
/** Where a member's world stands: epochs only compare within one generation of the CA's store. */
export type Position = Read<typeof position>

/** A withdrawn certificate: `issuer` is the SHA-256 of the issuing CA's SubjectPublicKeyInfo, lower-case hex; serial lower-case hex. */
const revokedSerial = record({
  issuer: text(64),
  serial: text(40),
  id: word(parseSpiffeId),
  expiresAt: integer(0),
})
export type RevokedSerial = Read<typeof revokedSerial>

/** Where an instance's ingress (or the collector) is reached. */
const endpoint = record({
  id: word(parseSpiffeId),
  instanceId: text(36),
  host: text(255),
  port: integer(1, 65_535),
})
export type Endpoint = Read<typeof endpoint>

const bundle = record({
  trustDomain: word(parseTrustDomain, 255),
  rootsPem: lines(262_144),
  /**
   * The issuing CAs, the one that signs now first: a member whose leaf is of another renews at once. Never trusted for being here: each
   * must chain to a root.
   */
  issuingPem: withDefault(lines(65_536), ''),
  /** While a root is replaced: the new one's key, signed by the old one, for outsiders that only know that. */
  crossPem: withDefault(lines(65_536), ''),
})
export type WireBundle = Read<typeof bundle>

/** A trust bundle as it is sent. */
export const wireBundle = ({ trustDomain, roots, issuing, crosses }: TrustBundle): WireBundle => ({
  trustDomain,
  rootsPem: joinPem(roots),
  issuingPem: joinPem(issuing),
  crossPem: joinPem(crosses),
})

/** SHA-256 of SubjectPublicKeyInfos, lower-case hex. */
const issuers = listOf(text(64), 64)

/**
 * Everything a member's world is made of. `policy`, `callees` and `endpoints` are the slice for this member: its own service; the
 * agents it holds a grant on, running or not; and where those that run (and the collector) are reached.
 */
export const READ_VIEW = record({
  trustDomain: word(parseTrustDomain, 255),
  bundles: listOf(bundle, 64),
  revokedIds: listOf(word(parseSpiffeId), 100_000),
  revokedSerials: listOf(revokedSerial, 1_000_000),
  /** Issuing CAs of which no certificate is accepted any more. */
  revokedIssuers: withDefault(issuers, []),
  policy: READ_POLICY,
  callees: listOf(word(parseSpiffeId), 100_000),
  endpoints: listOf(endpoint, 100_000),
})
export type View = Read<typeof READ_VIEW>

const change = variant('kind', {
  /** Withdraws identities (every certificate of theirs) and single certificates. */
  revoke: record({ ids: listOf(word(parseSpiffeId), 100_000), serials: listOf(revokedSerial, 1_000_000) }),
  /** Withdraws everything that these issuing CAs signed. */
  'revoke-issuers': record({ issuers }),
  /** The identity may enrol again; its old certificates stay withdrawn. */
  restore: record({ id: word(parseSpiffeId) }),
  /** Replaces the whole slice. */
  policy: record({ policy: READ_POLICY }),
  callees: record({ callees: listOf(word(parseSpiffeId), 100_000) }),
  endpoints: record({ endpoints: listOf(endpoint, 100_000) }),
  bundles: record({ bundles: listOf(bundle, 64) }),
})
export type Change = Read<typeof change>

export const READ_FROM_CA = variant('type', {
  /**
   * `returns`: the CA was restored from a backup. The member keeps what it knows to be withdrawn and the view does not say, and sends it
   * back in `known` frames.
   */
  snapshot: record({ position, sentAt: integer(0), view: READ_VIEW, returns: withDefault(flag, false) }),
  /** `from` is the epoch it follows; a member that stands elsewhere asks for a snapshot. */
  delta: record({ from: integer(0), position, sentAt: integer(0), changes: listOf(change, 1000) }),
  heartbeat: record({ position, sentAt: integer(0) }),
  /** An answer to something the member sent, e.g. a refused endpoint. */
  problem: record({ code: text(64), detail: text(4096) }),
})
export type FromCa = Read<typeof READ_FROM_CA>

/** Entries of one `known` frame; their bytes are bounded by the frame as well. */
export const KNOWN_MAX = 500
/** Bytes of any frame of a member. */
export const FEED_MEMBER_FRAME_MAX_BYTES = 64 * 1024
/** `known` frames on one connection. */
export const KNOWN_FRAMES_MAX = 200

export const READ_FROM_MEMBER = variant('type', {
  hello: record({ position: nullable(position), capabilities: listOf(text(64), 64) }),
  /** Sent when the world is replaced *and* every connection it condemns is destroyed. */
  ack: record({ position, cut: integer(0, 1_000_000) }),
  resync: record({}),
  /** `host` null: the address the CA sees this connection come from. */
  advertise: record({ host: nullable(text(255)), port: integer(1, 65_535) }),
  withdraw: record({}),
  /** What the member knows to be withdrawn beyond the view of a snapshot with `returns`, in pieces; `last` ends it. */
  known: record({
    ids: listOf(word(parseSpiffeId), KNOWN_MAX),
    serials: listOf(revokedSerial, KNOWN_MAX),
    last: flag,
  }),
})
export type FromMember = Read<typeof READ_FROM_MEMBER>

/** A frame whose `type` is unknown: ignored, unless the sender marked it critical: then the member is stale and says so. */
const READ_ENVELOPE = record({ type: text(64), critical: withDefault(flag, false) })

const FROM_CA_TYPES = new Set(['snapshot', 'delta', 'heartbeat', 'problem'])
const FROM_MEMBER_TYPES = new Set(['hello', 'ack', 'resync', 'advertise', 'withdraw', 'known'])

/**
 * Reads a frame of the CA.
 * @returns the frame, or undefined for an unknown one that may be ignored
 * @throws MeshError WIRE_MALFORMED; WIRE_VERSION for an unknown frame marked critical
 */
export function readFromCa(frame: string): FromCa | undefined {
  const { type, critical } = readJson(frame, READ_ENVELOPE, 'feed frame')
  if (FROM_CA_TYPES.has(type)) return readJson(frame, READ_FROM_CA, 'feed frame')
  if (critical)
    throw new MeshError('WIRE_VERSION', `the CA sent a critical frame of an unknown type: ${type}`)
  return undefined
}

/**
 * Reads a frame of a member.
 * @returns the frame, or undefined for an unknown one that may be ignored
 * @throws MeshError WIRE_MALFORMED; WIRE_VERSION for an unknown frame marked critical
 */
export function readFromMember(frame: string): FromMember | undefined {
  const { type, critical } = readJson(frame, READ_ENVELOPE, 'feed frame')
  if (FROM_MEMBER_TYPES.has(type)) return readJson(frame, READ_FROM_MEMBER, 'feed frame')
  if (critical)
    throw new MeshError('WIRE_VERSION', `a member sent a critical frame of an unknown type: ${type}`)
  return undefined
}
