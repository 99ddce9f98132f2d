// The CA's admin wire: HTTP over the Unix socket `<home>/ca/admin.sock` (0700 directory; whoever opens it is the CA's own OS
// user), and over mutual TLS at the CA's member door for leaves of kind operator. Paths stand beside their messages; answers are JSON, errors problem+json (problem.ts).

import {
  flag,
  integer,
  lines,
  listOf,
  nullable,
  oneOf,
  type Read,
  record,
  text,
  withDefault,
  word,
} from '../parse.js'
import { NAMED_KINDS, type NamedKind, parseAgentName, parseSpiffeId } from '../spiffe-id.js'
import { READ_ROTATION } from './rotation.js'

const kind = oneOf(...(NAMED_KINDS as readonly [NamedKind, ...NamedKind[]]))
const name = word(parseAgentName, 63)

/** GET /v1/status */
export const READ_STATUS = record({
  trustDomain: text(255),
  address: text(300),
  generation: text(36),
  epoch: integer(0),
  policyVersion: integer(0),
  members: integer(0),
  rootNotAfter: integer(0),
  issuingNotAfter: integer(0),
  /** From then on a rotation is due: what is signed later would live shorter than it should. */
  rootDueAt: integer(0),
  issuingDueAt: integer(0),
  rootFingerprint: text(64),
  /** Where the key of the root is looked for, and whether it is there; null: it cannot be seen without opening it. */
  rootKeyLabel: text(64),
  rootKeyHere: nullable(flag),
  /** The open rotation. */
  rotation: nullable(READ_ROTATION),
  now: integer(0),
})
export type Status = Read<typeof READ_STATUS>

const onClone = oneOf('alert', 'suspend')

/** GET /v1/roots: those that are trusted now, one PEM after the other; an operator has no feed that tells. */
export const READ_ROOTS = record({ rootsPem: lines(262_144) })
export type Roots = Read<typeof READ_ROOTS>

/** An address set by the operator for an agent's ingress: the only one, besides its own source address, that it may announce. */
const address = nullable(text(300))

/**
 * POST /v1/agents registers, or changes the settings of a registered one; GET /v1/agents lists (every kind); GET, DELETE
 * /v1/agents/<name>[?kind=]; POST /v1/agents/<name>/restore|resume|suspend. Answers are READ_AGENT; DELETE and suspend answer READ_REVOKED.
 */
export const READ_AGENT_ADD = record({
  kind: withDefault(kind, 'agent'),
  name,
  /** Below 900 only for a development CA. */
  ttlSeconds: withDefault(nullable(integer(10, 604_800)), null),
  address: withDefault(address, null),
  graceSeconds: withDefault(nullable(integer(0, 604_800)), null),
  onClone: withDefault(nullable(onClone), null),
})
export type AgentAdd = Read<typeof READ_AGENT_ADD>

/** POST /v1/agents/<name>/suspend: as READ_REVOKE */
export const READ_SUSPEND = record({
  reason: withDefault(text(256), 'suspended by operator'),
  waitMs: withDefault(integer(0, 60_000), 0),
})
export type Suspend = Read<typeof READ_SUSPEND>

const instance = record({
  instanceId: text(36),
  /** When it enrolled. */
  enrolledAt: integer(0),
  /** Its newest certificate, since when it holds it, and what that was renewed from. */
  serial: text(40),
  since: integer(0),
  parentSerial: nullable(text(40)),
  notAfter: integer(0),
  /** Until then it renews by its key alone. */
  renewableUntil: integer(0),
  connected: flag,
  lastSeenAt: nullable(integer(0)),
  endpoint: nullable(text(300)),
  /** The root was replaced, and it was not there: it comes back only with a new token. */
  needsToken: withDefault(flag, false),
})
export type InstanceInfo = Read<typeof instance>

export const READ_AGENT = record({
  kind,
  name,
  id: word(parseSpiffeId),
  state: oneOf('registered', 'enrolled', 'suspended', 'revoked'),
  createdAt: integer(0),
  ttlSeconds: integer(1),
  graceSeconds: integer(0),
  onClone,
  address,
  instances: listOf(instance, 10_000),
})
export type AgentInfo = Read<typeof READ_AGENT>
export const READ_AGENTS = record({ agents: listOf(READ_AGENT, 100_000) })

/** POST /v1/tokens */
export const READ_TOKEN_MINT = record({ kind: withDefault(kind, 'agent'), name })
export type TokenMint = Read<typeof READ_TOKEN_MINT>
export const READ_TOKEN_MINTED = record({ token: text(4096), expiresAt: integer(0), registered: flag })
export type TokenMinted = Read<typeof READ_TOKEN_MINTED>

/** POST /v1/enrol-local: EnrolLocalRequest -> Enrolment (enrolment.ts) */

/** POST /v1/certs issues for a foreign client (the CSR is made by the CLI, or by the client's own tools; answer: Enrolment); GET /v1/certs[?name=] lists; GET /v1/certs/<serial>; DELETE revokes it (READ_REVOKED) */
export const READ_CERT_ISSUE = record({
  name,
  csrPem: lines(16_384),
  /** The request may hold an Ed25519 key, which not every TLS stack takes. */
  allowEd25519: withDefault(flag, false),
})
export type CertIssue = Read<typeof READ_CERT_ISSUE>

export const READ_CERT = record({
  serial: text(40),
  id: word(parseSpiffeId),
  instanceId: text(36),
  notBefore: integer(0),
  notAfter: integer(0),
  issuedAt: integer(0),
  /** How it came to be: `token`, `local-admin`, `renewal`, `issue`. */
  by: text(32),
  parentSerial: nullable(text(40)),
  revokedAt: nullable(integer(0)),
  /** As the operator wrote it. */
  revokedReason: withDefault(nullable(text(256)), null),
  revokedFor: withDefault(nullable(oneOf('revoked', 'removed', 'suspended')), null),
  supersededAt: nullable(integer(0)),
  pem: lines(16_384),
})
export type CertInfo = Read<typeof READ_CERT>
export const READ_CERTS = record({ certs: listOf(READ_CERT, 100_000) })

/**
 * GET /v1/crls lists the revocation lists of the CAs in use, roots first. A list itself is GET /crl/<issuer>.crl (DER, also `root` and
 * `issuing`), a CA's certificate GET /crt/<issuer>.crt; GET /v1/bundle answers READ_BUNDLE. All three as at the public door.
 */
export const READ_CRL = record({
  /** SHA-256 of the CA's SubjectPublicKeyInfo, lower-case hex. */
  issuer: text(64),
  usage: oneOf('root', 'issuing'),
  subject: text(1024),
  number: integer(0),
  publishedAt: integer(0),
  nextUpdate: integer(0),
  bytes: integer(0),
})
export type CrlInfo = Read<typeof READ_CRL>
export const READ_CRLS = record({ crls: listOf(READ_CRL, 1000) })

/** The SPIFFE trust bundle (spiffe-bundle.ts). */
export const READ_BUNDLE = record({
  keys: listOf(
    record({
      use: oneOf('x509-svid'),
      kty: text(16),
      crv: text(16),
      x: text(128),
      y: text(128),
      x5c: listOf(text(16_384), 1),
    }),
    64,
  ),
  spiffe_sequence: integer(0),
  spiffe_refresh_hint: integer(0),
})
export type Bundle = Read<typeof READ_BUNDLE>

/** POST /v1/revocations: an agent (all that is its), or one serial. `waitMs` > 0 answers after the acknowledgements. */
export const READ_REVOKE = record({
  kind: withDefault(kind, 'agent'),
  name: withDefault(nullable(name), null),
  serial: withDefault(nullable(text(40)), null),
  /** Of a serial: spares what was renewed from it. */
  only: withDefault(flag, false),
  reason: withDefault(text(256), 'revoked by operator'),
  waitMs: withDefault(integer(0, 60_000), 0),
})
export type Revoke = Read<typeof READ_REVOKE>

/** `applied` of `expected` instances (those with a live leaf) have replaced their world and destroyed sockets; `missing` names the rest. */
export const READ_REVOKED = record({
  ids: listOf(text(2048), 100_000),
  serials: listOf(text(40), 1_000_000),
  epoch: integer(0),
  applied: integer(0),
  expected: integer(0),
  /** Connections that members destroyed for it. */
  cut: integer(0),
  elapsedMs: integer(0),
  missing: listOf(record({ id: text(2048), instanceId: text(36), exposedUntil: integer(0) }), 100_000),
})
export type Revoked = Read<typeof READ_REVOKED>

/** PUT /v1/policy (body: PolicyPush) replaces; GET /v1/policy shows; both answer PolicyShown */
export const READ_POLICY_PUSH = record({ yaml: lines(1024 * 1024) })
export const READ_POLICY_SHOWN = record({
  version: integer(0),
  pushedAt: integer(0),
  yaml: lines(1024 * 1024),
})
export type PolicyShown = Read<typeof READ_POLICY_SHOWN>

/** POST /v1/can: would the policy in force allow it? Callers and callees are agent names or whole SPIFFE IDs. */
export const READ_CAN = record({ from: text(2048), to: text(2048), method: text(32), path: text(8192) })
export type Can = Read<typeof READ_CAN>
export const READ_CAN_ANSWER = record({
  decision: oneOf('permit', 'deny'),
  code: text(64),
  operation: text(16_384),
  scope: nullable(text(256)),
  rule: nullable(text(256)),
  grant: nullable(text(256)),
  /** Policy lines that would allow it; null when it is allowed. */
  suggestion: nullable(lines(8192)),
  policyVersion: integer(0),
})
export type CanAnswer = Read<typeof READ_CAN_ANSWER>

/** PUT /v1/address: what tokens and the server certificate carry from now on; answers Status. */
export const READ_ADDRESS = record({ host: text(255) })
