// Who gets a certificate: enrolment by token or by the CA's own OS user, certificates for foreign clients, renewal. Everything is
// checked before it is signed, and recorded before it is answered.

import { randomUUID } from 'node:crypto'
import type { Clock } from '../host/clock.js'
import type { Log } from '../host/log.js'
import { isMeshError, MeshError } from '../mesh/errors.js'
import { meaningOf, namedId } from '../mesh/spiffe-id.js'
import { bundlePem, fingerprintOf } from '../mesh/trust-bundle.js'
import type { CertIssue } from '../mesh/wire/admin.js'
import { type Enrolment, formatJoinToken } from '../mesh/wire/enrolment.js'
import { type Actor, CA_ITSELF, tokenBearer } from './actor.js'
import type { Admission } from './admission.js'
import type { CaAudit } from './audit.js'
import { CSR_OF_MEMBER, type Csr, csrOfForeignClient, parseCsr } from './certificate/csr.js'
import { memberNames } from './certificate/profile.js'
import { provenAs } from './door-peer.js'
import type { Hierarchy } from './hierarchy.js'
import { issueMemberLeaf } from './issue.js'
import { checkMayHold, type Registry } from './registry.js'
import {
  type CaStore,
  type Certificate,
  DEFAULT_GRACE_SECONDS,
  DEFAULT_ON_CLONE,
  type Member,
  type MemberKey,
  type NewCertificate,
  type Origin,
} from './store/model.js'
import { hashOfSecret, newSecret, TOKEN_LIFE_MS } from './token.js'

export interface EnrolQuery extends MemberKey {
  readonly instanceId: string
  readonly csrPem: string
}

export interface Authority {
  /** Mints a join token, registering an unknown name. @throws MeshError AGENT_REVOKED */
  mint(actor: Actor, key: MemberKey): Promise<{ token: string; expiresAt: number; registered: boolean }>
  /** @throws MeshError CSR_* | JOIN_TOKEN_* | AGENT_* */
  enrol(query: EnrolQuery & { readonly secret: string; readonly source: string }): Promise<Enrolment>
  /** The caller is the CA's own OS user. @throws MeshError CSR_* | AGENT_* */
  enrolLocal(actor: Actor, query: EnrolQuery): Promise<Enrolment>
  /** For a client without a sidecar, registering an unknown name. @throws MeshError CSR_* | AGENT_* */
  issueForClient(actor: Actor, wanted: CertIssue): Promise<Enrolment>
  /**
   * The caller has proved, by mutual TLS or by its key alone, that this certificate is its.
   * @throws MeshError CSR_* | CLONE_SUSPECTED | RENEW_SUPERSEDED | RENEW_GRACE_OVER | PEER_REVOKED | AGENT_*
   */
  renew(actor: Actor, current: Certificate, csrPem: string): Promise<Enrolment>
}

export interface AuthorityOptions {
  readonly hierarchy: Hierarchy
  readonly store: CaStore
  readonly registry: Registry
  readonly audit: CaAudit
  readonly admission: Admission
  readonly clock: Clock
  readonly log: Log
  readonly leafTtlMs: number
  /** `host:port` that tokens and answers carry. */
  readonly address: () => Promise<string>
  /** @throws MeshError CA_RESTORED while the CA waits for revocations */
  readonly checkMayIssue: () => void
  /** Counts a certificate handed out. */
  readonly issued: (origin: Origin) => void
  /** Counts a certificate that was used to renew with two keys. */
  readonly cloned: () => void
}

export function openAuthority(options: AuthorityOptions): Authority {
  return {
    mint: (actor, key) => mint(options, actor, key),
    enrol: (query) => enrol(options, query),
    enrolLocal: (actor, query) => enrolLocal(options, actor, query),
    issueForClient: (actor, wanted) => issueForClient(options, actor, wanted),
    renew: (actor, current, csrPem) => renew(options, actor, { current, csrPem }),
  }
}

async function mint(
  { registry, audit, clock, hierarchy, address }: AuthorityOptions,
  actor: Actor,
  key: MemberKey,
): Promise<{ token: string; expiresAt: number; registered: boolean }> {
  const { member, registered } = await registry.require(actor, key)
  const secret = newSecret()
  const createdAt = clock.now()
  const expiresAt = createdAt + TOKEN_LIFE_MS
  const { kind, name, registration } = member
  const minted = { kind, name, registration, secretHash: hashOfSecret(secret), createdAt, expiresAt }
  await audit.run(actor, { what: 'token.mint', object: member.id, detail: () => null }, (on) =>
    on.addToken(minted),
  )
  const token = formatJoinToken({
    trustDomain: hierarchy.trustDomain,
    caAddress: await address(),
    rootFingerprints: hierarchy.roots.map(fingerprintOf),
    kind,
    name,
    secret,
  })
  return { token, expiresAt, registered }
}

async function enrol(
  options: AuthorityOptions,
  { kind, name, instanceId, csrPem, secret, source }: EnrolQuery & { secret: string; source: string },
): Promise<Enrolment> {
  const { store, audit, clock, hierarchy } = options
  options.checkMayIssue()
  // The request is read first: a malformed one must not burn the token. Then the token is spent, in one conditional UPDATE, before
  // anything is signed: of any number of replays one gets this far, and a crash after it costs a token, never a second winner.
  const csr = parseCsr(csrPem, CSR_OF_MEMBER)
  const actor = tokenBearer(source)
  const id = namedId(hierarchy.trustDomain, kind, name)
  options.admission.check(id, source)
  const member = await store
    .redeemToken({ kind, name, secretHash: hashOfSecret(secret), now: clock.now() })
    .catch(async (error: unknown) => {
      // an unknown token proves nothing about its sender: the door counts it
      if (!isMeshError(error, 'JOIN_TOKEN_INVALID')) await audit.tokenRefused(actor, id, error)
      throw error
    })
  return audit.guard(actor, { what: 'enrol', object: id }, () =>
    enrolMember(options, { member, instanceId, csr, origin: 'token', actor }),
  )
}

async function enrolLocal(
  options: AuthorityOptions,
  actor: Actor,
  { kind, name, instanceId, csrPem }: EnrolQuery,
): Promise<Enrolment> {
  const { registry, audit, hierarchy } = options
  options.checkMayIssue()
  const object = namedId(hierarchy.trustDomain, kind, name)
  return audit.guard(actor, { what: 'enrol', object }, async () => {
    options.admission.check(object, actor.source)
    const csr = parseCsr(csrPem, CSR_OF_MEMBER)
    // a collector is the mesh's own furniture; an agent's name is registered on purpose, so that a slip of the keyboard is not a new agent
    const member =
      kind === 'collector'
        ? (await registry.require(actor, { kind, name })).member
        : await registry.find({ kind, name })
    return enrolMember(options, { member, instanceId, csr, origin: 'local-admin', actor })
  })
}

async function issueForClient(
  options: AuthorityOptions,
  actor: Actor,
  { name, csrPem, allowEd25519 }: CertIssue,
): Promise<Enrolment> {
  const { registry, audit, hierarchy } = options
  options.checkMayIssue()
  const object = namedId(hierarchy.trustDomain, 'agent', name)
  return audit.guard(actor, { what: 'cert.issue', object }, async () => {
    options.admission.check(object, actor.source)
    const csr = parseCsr(csrPem, csrOfForeignClient(memberNames(object), allowEd25519 ? ['Ed25519'] : []))
    const { member } = await registry.require(actor, { kind: 'agent', name })
    return enrolMember(options, { member, instanceId: randomUUID(), csr, origin: 'issue', actor })
  })
}

interface FirstLeaf {
  readonly member: Member
  readonly instanceId: string
  readonly csr: Csr
  readonly origin: Origin
  readonly actor: Actor
}

async function enrolMember(options: AuthorityOptions, first: FirstLeaf): Promise<Enrolment> {
  const { audit, admission, log, issued } = options
  const { member, instanceId, csr, origin, actor } = first
  checkMayHold(member)
  const certificate = await leafFor(options, member, { instanceId, csr, origin })
  const attempt = {
    what: origin === 'issue' ? 'cert.issue' : 'enrol',
    object: member.id,
    detail: () => certificate.serial,
  }
  await audit.run(actor, attempt, (on) => on.recordEnrolment(certificate, member.registration))
  admission.count(member.id, actor.source)
  log.info('certificate.issued', { id: member.id, serial: certificate.serial, by: origin, instanceId })
  issued(origin)
  return answer(options, certificate)
}

async function renew(
  options: AuthorityOptions,
  actor: Actor,
  { current, csrPem }: { current: Certificate; csrPem: string },
): Promise<Enrolment> {
  options.checkMayIssue()
  const { store, registry, audit, admission, clock, log, issued } = options
  const attempt = { what: 'renew', object: current.id, detail: ({ serial }: Certificate) => serial }
  // before it is an action: who asks too often is counted by the door, and gets no row each time
  provenAs(current, () => admission.check(current.id, actor.source))
  return audit.guard(actor, attempt, async () => {
    const csr = parseCsr(csrPem, CSR_OF_MEMBER)
    const meaning = meaningOf(current.id)
    if (meaning.kind === 'ca' || meaning.kind === 'foreign')
      throw new MeshError('PEER_KIND_WRONG', `${current.id} does not renew here`)
    const member = await registry.find(meaning)
    checkGrace(current, member, clock.now())
    // asked again after a lost answer: nothing is signed twice
    const earlier = await store.findSuccessor(current.serial)
    const candidate =
      earlier?.publicKeyHash === csr.publicKeyHash
        ? earlier
        : await leafFor(options, member, { instanceId: current.instanceId, csr, origin: 'renewal' })
    const certificate = await audit
      .run(actor, attempt, (on) => on.recordRenewal(candidate, current.serial, clock.now()))
      .catch(async (error: unknown) => {
        if (isMeshError(error, 'CLONE_SUSPECTED')) await onClone(options, member, current)
        throw error
      })
    admission.count(current.id, actor.source)
    log.info('certificate.renewed', { id: current.id, serial: certificate.serial, parent: current.serial })
    issued('renewal')
    return answer(options, certificate)
  })
}

/** @throws MeshError RENEW_GRACE_OVER */
function checkGrace({ serial, notAfter }: Certificate, { graceSeconds }: Member, now: number): void {
  if (now > notAfter + (graceSeconds ?? DEFAULT_GRACE_SECONDS) * 1000)
    throw new MeshError('RENEW_GRACE_OVER', `certificate ${serial} expired longer ago than its grace time`)
}

/** Two hold one key. Which of them is the thief cannot be known here: nobody gets a certificate, and who is to, the operator says. */
async function onClone(
  { registry, log, cloned }: AuthorityOptions,
  { kind, name, id, onClone }: Member,
  { serial, instanceId }: Certificate,
): Promise<void> {
  const policy = onClone ?? DEFAULT_ON_CLONE
  log.error('clone.suspected', { id, serial, instanceId, policy })
  cloned()
  if (policy === 'alert') return
  const reason = `certificate ${serial} was used to renew with two keys`
  await registry.suspend(CA_ITSELF, { kind, name }, { reason, waitMs: 0 })
}

function leafFor(
  { hierarchy, clock, leafTtlMs }: AuthorityOptions,
  { id, ttlSeconds }: Member,
  wanted: { instanceId: string; csr: Csr; origin: Origin },
): Promise<NewCertificate> {
  const ttlMs = ttlSeconds === null ? leafTtlMs : ttlSeconds * 1000
  return issueMemberLeaf(hierarchy.current(), { ...wanted, id, ttlMs, now: clock.now() })
}

async function answer(
  { hierarchy, clock, address }: AuthorityOptions,
  certificate: NewCertificate,
): Promise<Enrolment> {
  const now = clock.now()
  return {
    trustDomain: hierarchy.trustDomain,
    spiffeId: certificate.id,
    chainPem: certificate.pem + issuingOf(hierarchy, certificate),
    bundlePem: bundlePem(hierarchy.bundle),
    caAddress: await address(),
    renewAfterSeconds: Math.max(1, Math.round((renewAt(certificate) - now) / 1000)),
    now,
  }
}

/** Half-life +-10 %, taken from the serial: members do not come all at once, and the same certificate always gets the same answer. */
function renewAt({ serial, issuedAt, notAfter }: NewCertificate): number {
  const spread = Number.parseInt(serial.slice(-4), 16) / 0xffff
  return issuedAt + (notAfter - issuedAt) * (0.45 + 0.1 * spread)
}

/** The CA that signed it: of a renewal that is asked for again, perhaps the one before. */
function issuingOf({ issuers }: Hierarchy, { issuer, id }: NewCertificate): string {
  const found = issuers.find((each) => each.issuer === issuer)
  if (found === undefined) throw new MeshError('CA_EXPIRED', `the CA that signed for ${id} is gone`)
  return found.issuing.toString()
}
