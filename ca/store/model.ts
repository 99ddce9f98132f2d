// What the CA remembers, and the transactions in which it changes: every method is one whole domain transaction, and no
// caller sees a statement or a row. SQLite stands behind it today, PostgreSQL may tomorrow.

import type { Action, Refusal } from '../../mesh/audit-record.js'
import type { AgentName, NamedKind, SpiffeId, TrustDomain } from '../../mesh/spiffe-id.js'
import type { Endpoint, Position, RevokedSerial } from '../../mesh/wire/feed.js'
import type { RotationStore } from '../rotation/model.js'

export interface MeshState {
  readonly trustDomain: TrustDomain
  /** Host that tokens and the server certificate carry. */
  readonly address: string
  readonly position: Position
}

export interface MemberKey {
  readonly kind: NamedKind
  readonly name: AgentName
}

export interface Member extends MemberKey, Settings {
  readonly id: SpiffeId
  /** Fresh each time the name is registered: what was given to an earlier holder of the name is void. */
  readonly registration: string
  readonly state: 'registered' | 'enrolled' | 'suspended' | 'revoked'
  readonly createdAt: number
}

/** What the operator set of a member; null: the CA's default. */
export interface Settings {
  readonly ttlSeconds: number | null
  /** The one address, beside its own source address, that it may announce. */
  readonly address: string | null
  /** How long after its end a certificate still renews; 0: never. */
  readonly graceSeconds: number | null
  readonly onClone: OnClone | null
}

/** What is done when a certificate was used to renew with two keys, beside refusing. */
export type OnClone = 'alert' | 'suspend'

export const DEFAULT_GRACE_SECONDS = 86_400
export const GRACE_MAX_SECONDS = 604_800
export const DEFAULT_ON_CLONE: OnClone = 'alert'

/** How a certificate came to be; `server` is the CA's own. */
export type Origin = 'token' | 'local-admin' | 'renewal' | 'issue' | 'server'

export interface NewCertificate {
  readonly serial: string
  readonly issuer: string
  readonly id: SpiffeId
  readonly instanceId: string
  readonly publicKeyHash: string
  readonly origin: Origin
  readonly notBefore: number
  readonly notAfter: number
  readonly issuedAt: number
  readonly pem: string
}

/** Why a certificate was withdrawn. What was suspended is refused by all, for ever; but its key may renew once the member is resumed. */
export type RevokedFor = 'revoked' | 'removed' | 'suspended'

export interface Certificate extends NewCertificate {
  readonly parentSerial: string | null
  readonly revokedAt: number | null
  /** Why, as the operator wrote it. */
  readonly revokedReason: string | null
  /** Null when it is not revoked. */
  readonly revokedFor: RevokedFor | null
  /** When its successor was first used towards the CA. */
  readonly supersededAt: number | null
}

/** An instance, and the newest certificate that it holds. */
export interface Instance {
  readonly instanceId: string
  readonly id: SpiffeId
  readonly enrolledAt: number
  readonly serial: string
  /** What `serial` was renewed from. */
  readonly parentSerial: string | null
  /** When it got `serial`. */
  readonly since: number
  readonly notAfter: number
  /** Until then it renews by its key alone. */
  readonly renewableUntil: number
  /** The last time it showed itself to the CA. */
  readonly lastSeenAt: number | null
  readonly endpoint: { readonly host: string; readonly port: number } | null
}

/** An instance that must hear of a revocation: it has a leaf that is alive. */
export interface LiveInstance {
  readonly id: SpiffeId
  readonly instanceId: string
  readonly notAfter: number
}

export interface Revoked {
  readonly position: Position
  readonly ids: readonly SpiffeId[]
  readonly serials: readonly RevokedSerial[]
  /** Endpoints were withdrawn with it. */
  readonly endpointsChanged: boolean
}

export interface StoredPolicy {
  readonly version: number
  readonly pushedAt: number
  readonly yaml: string
}

/** One line of a certificate revocation list. */
export interface CrlEntry {
  /** Lower-case hex. */
  readonly serial: string
  /** Instant, ms since epoch. */
  readonly revokedAt: number
  readonly revokedFor: RevokedFor | null
  /** As the operator wrote it. */
  readonly reason: string | null
}

/** A signed certificate revocation list. */
export interface StoredCrl {
  /** SHA-256 of the issuer's SubjectPublicKeyInfo, lower-case hex. */
  readonly issuer: string
  readonly number: number
  /** Instants, ms since epoch: when it was signed, and by when there is a newer one. */
  readonly publishedAt: number
  readonly nextUpdate: number
  readonly der: Buffer
}

export interface Withdrawn {
  readonly position: Position
  readonly ids: readonly SpiffeId[]
  readonly serials: readonly RevokedSerial[]
}

/** Who returns revocations after a restore. */
export interface Reporter {
  readonly id: SpiffeId
  readonly instanceId: string
}

/** A piece of what a member knows to be withdrawn and a restored CA does not; `last` ends it. */
export interface Returned {
  readonly ids: readonly SpiffeId[]
  readonly serials: readonly RevokedSerial[]
  readonly last: boolean
}

/** What members say was withdrawn in the lost time. */
export interface Claim {
  /** Tells claims apart: the identity, or issuer and serial. */
  readonly object: string
  readonly id: SpiffeId
  /** Null: the identity itself. */
  readonly serial: string | null
  readonly by: readonly SpiffeId[]
  readonly inForce: boolean
}

/** A CA that was restored from a backup. Instants, ms since epoch. */
export interface RecoveryState {
  readonly takenAt: number
  readonly restoredAt: number
  /** Null: it waits, and issues nothing. */
  readonly endedAt: number | null
  /** `members`, or who confirmed. */
  readonly endedBy: string | null
  /** The instances that had a living leaf when the backup was taken. */
  readonly awaited: readonly (Reporter & {
    readonly returnedAt: number | null
    readonly isRevoked: boolean
  })[]
  /** In the order of what they are about. */
  readonly claims: readonly Claim[]
}

export interface CaStore extends RotationStore {
  mesh(): Promise<MeshState>
  setAddress(host: string): Promise<void>

  /**
   * Registers a name. `position` is not null when an earlier holder of the name had been removed and the ban on it is lifted.
   * @throws MeshError AGENT_EXISTS | AGENT_REVOKED
   */
  register(member: MemberKey & Settings, at: number): Promise<{ member: Member; position: Position | null }>
  /** @throws MeshError AGENT_UNKNOWN */
  configure(member: MemberKey & Settings): Promise<Member>
  findMember(key: MemberKey): Promise<Member | undefined>
  listMembers(): Promise<Member[]>
  /** Each instance with its newest certificate, unless that is beyond its grace time or was withdrawn; of one member, or of all. */
  listInstances(id: SpiffeId | null, now: number): Promise<Instance[]>
  /** Instances that follow the feed (not foreign clients, not operators) and hold a living leaf and are not withdrawn. */
  liveInstances(now: number): Promise<LiveInstance[]>

  addToken(token: NewToken): Promise<void>
  /**
   * Spends a token: of any number of simultaneous attempts exactly one returns.
   * @returns the registration that it was minted for
   * @throws MeshError JOIN_TOKEN_INVALID | JOIN_TOKEN_SPENT | JOIN_TOKEN_EXPIRED | JOIN_TOKEN_OTHER_NAME | AGENT_REVOKED | AGENT_UNKNOWN
   */
  redeemToken(attempt: MemberKey & { secretHash: string; now: number }): Promise<Member>

  /**
   * Records the first certificate of an instance (or a new first one), unless the registration ended meanwhile.
   * @throws MeshError AGENT_UNKNOWN | AGENT_REVOKED | AGENT_INSTANCE_TAKEN | CSR_NOT_ALLOWED (key of another identity)
   */
  recordEnrolment(certificate: NewCertificate, registration: string): Promise<void>
  /**
   * Records a successor, or finds the one that the same request got before.
   * @returns the certificate to answer with
   * @throws MeshError PEER_REVOKED | CLONE_SUSPECTED | RENEW_SUPERSEDED | CSR_NOT_ALLOWED (no new key)
   */
  recordRenewal(certificate: NewCertificate, parentSerial: string, now: number): Promise<Certificate>
  recordServerCertificate(certificate: NewCertificate): Promise<void>
  findCertificate(serial: string): Promise<Certificate | undefined>
  findSuccessor(parentSerial: string): Promise<Certificate | undefined>
  listCertificates(name: AgentName | null): Promise<Certificate[]>
  /**
   * A member showed up with this certificate: its predecessor is superseded.
   * @throws MeshError PEER_REVOKED when it was never issued here, or is withdrawn | PEER_FORGED when another one was issued
   */
  admit(presented: Presented, now: number): Promise<Certificate>

  /** Final for certificates, tokens and endpoints. @throws MeshError AGENT_UNKNOWN | AGENT_REVOKED */
  revokeMember(key: MemberKey, reason: string, now: number): Promise<Revoked>
  /** Withdraws one certificate, with or without all that were renewed from it. @throws MeshError CERT_UNKNOWN */
  revokeCertificate(
    serial: string,
    how: { reason: string; scope: RevocationScope },
    now: number,
  ): Promise<Revoked>
  /** Withdraws what it holds, and lets it neither enrol nor renew until it is resumed. @throws MeshError AGENT_UNKNOWN | AGENT_REVOKED | AGENT_SUSPENDED */
  suspendMember(key: MemberKey, reason: string, now: number): Promise<Revoked>
  /** What it held stays withdrawn; its instances renew by their keys. @throws MeshError AGENT_UNKNOWN | AGENT_REVOKED */
  resumeMember(key: MemberKey): Promise<{ member: Member; position: Position | null }>
  /** Lets a revoked member enrol again; its certificates stay withdrawn. @throws MeshError AGENT_UNKNOWN */
  restoreMember(key: MemberKey): Promise<{ member: Member; position: Position | null }>
  /** Revokes, then forgets. @throws MeshError AGENT_UNKNOWN */
  removeMember(key: MemberKey, now: number): Promise<Revoked>
  /** Everything withdrawn that a clock up to five minutes slow may still take for valid. */
  withdrawn(now: number): Promise<Withdrawn>

  /** The newest list of each issuer. */
  crls(): Promise<StoredCrl[]>
  /**
   * Begins the next list of an issuer: its number, given out once and never again, and what the list must name. A certificate is named
   * until one list was published after its end (RFC 5280 §3.3).
   */
  beginCrl(issuer: string, now: number): Promise<{ number: number; entries: CrlEntry[] }>
  /** Keeps a signed list, unless a newer one of its issuer is kept already. */
  saveCrl(crl: StoredCrl): Promise<void>
  /** The sequence of the trust bundle with this content: the last one, or a higher one when the content is another. */
  bundleSequence(content: string, now: number): Promise<number>

  /**
   * Makes of a copied database one of its own: a new generation, no tokens, no endpoints, and a wait for these instances.
   * @param takenAt when the copy was made
   */
  beginRecovery(takenAt: number, awaited: readonly Reporter[], now: number): Promise<void>
  /** Undefined when it never was restored. */
  recovery(): Promise<RecoveryState | undefined>
  /**
   * Takes what a member knows. Only what this CA could have withdrawn is kept; what more than half of the awaited agents say comes
   * into force.
   * @returns `claims`: what this agent had not said before
   * @throws MeshError CA_NOT_RESTORED | WIRE_TOO_LARGE
   */
  returnRevocations(
    reporter: Reporter,
    told: Returned,
    now: number,
  ): Promise<{ revoked: Revoked | null; ended: boolean; claims: readonly string[] }>
  /**
   * Ends the waiting: what was claimed comes into force, but for what only the disbelieved said.
   * @throws MeshError CA_NOT_RESTORED
   */
  endRecovery(how: { by: string; disbelieved: readonly SpiffeId[] }, now: number): Promise<Revoked | null>

  policy(): Promise<StoredPolicy | undefined>
  pushPolicy(yaml: string, at: number): Promise<{ version: number; position: Position }>

  endpoints(): Promise<Endpoint[]>
  /**
   * @param serial the certificate it was announced with
   * @returns undefined when nothing changed
   * @throws MeshError PEER_REVOKED
   */
  announce(endpoint: Endpoint, serial: string, at: number): Promise<Position | undefined>
  /** @returns undefined when there was none */
  withdraw(instanceId: string): Promise<Position | undefined>

  /** Appends to the CA's audit. */
  record(entry: Action | Refusal): Promise<void>
  /**
   * Runs `act`, which calls one method of the store that it is given; `entry` makes of what that gave back the record that is appended in the
   * same transaction.
   */
  audited<T>(entry: (done: T) => Action, act: (store: CaStore) => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** `lineage`: with its descendants by renewal. */
export type RevocationScope = 'lineage' | 'only'

/** A certificate as somebody showed it. */
export type Presented = Pick<
  NewCertificate,
  'issuer' | 'serial' | 'id' | 'instanceId' | 'publicKeyHash' | 'notBefore' | 'notAfter' | 'pem'
>

export interface NewToken extends MemberKey {
  /** SHA-256 of the secret, lower-case hex. */
  readonly secretHash: string
  readonly registration: string
  readonly createdAt: number
  readonly expiresAt: number
}
