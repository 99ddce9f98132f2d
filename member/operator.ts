// An operator's identity on this host, used one command at a time: it is renewed when due before it is used, and it follows no feed. The
// state directory is taken only while it is read and renewed, so that several commands may run beside each other.

import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { type Clock, pause } from '../host/clock.js'
import { type DocumentRequest, type JsonRequest, requestBytes } from '../host/http-client.js'
import { errorFields, type Log } from '../host/log.js'
import { isMeshError, MeshError } from '../mesh/errors.js'
import type { Revocations } from '../mesh/revocation.js'
import { type AgentName, meaningOf, parseAgentName, type SpiffeId } from '../mesh/spiffe-id.js'
import { bundlePem, checkNoDevRoot, parseTrustBundle, type TrustBundle } from '../mesh/trust-bundle.js'
import { READ_ROOTS } from '../mesh/wire/admin.js'
import { holdWorld } from './control/world-holder.js'
import { askMemberDoor, type CaPeer, memberDoor, parseCaAddress } from './identity/ca-client.js'
import { holdCredentials } from './identity/credentials.js'
import { enrol } from './identity/enrol.js'
import { renew } from './identity/renew.js'
import { loadIdentity, type StoredIdentity } from './identity/stored-identity.js'
import { learnWithdrawn } from './identity/withdrawn-cas.js'
import { openStateDir, type StateDir } from './state-dir.js'

export interface OperatorOptions {
  readonly home: string
  readonly name: AgentName
  /** Accept a development root. */
  readonly dev: boolean
  readonly clock: Clock
  readonly log: Log
}

export interface Operator {
  readonly id: SpiffeId
  /** Instant at which its certificate ends, ms since epoch. */
  readonly notAfter: number
  /** `host:port` of the CA. */
  readonly caAddress: string
  /** Asks the CA's admin wire. @throws MeshError the CA's refusal, CA_UNREACHABLE | CA_IDENTITY_WRONG | WIRE_MALFORMED */
  ask<T>(request: OperatorRequest<T>): Promise<T>
  /** A document of it, as it is. @throws as `ask` */
  read(request: Omit<DocumentRequest, 'unreachable'>): Promise<Buffer>
}

export type OperatorRequest<T> = Omit<JsonRequest<T>, 'unreachable'>

/** With the issuing CAs that the mesh withdrew, as far as this operator has heard. */
interface Known extends StoredIdentity {
  readonly revocations: Revocations
}

const TIMEOUT_MS = 10_000
/** Another command of the same operator may be renewing. */
const BUSY_MS = 5000
const BUSY_LOOK_MS = 50

/** The operators that are enrolled in a home. */
export function operatorsOf(home: string): AgentName[] {
  const dir = path.join(home, 'operators')
  if (!existsSync(dir)) return []
  return readdirSync(dir)
    .filter((name) => existsSync(path.join(dir, name, 'svid.pem')))
    .sort()
    .map(parseAgentName)
}

/**
 * Enrols, in the place of what was there.
 * @throws MeshError JOIN_TOKEN_* | CA_* | CLOCK_SKEW | DEV_ROOT | AGENT_* | STATE_*
 */
export async function enrolOperator(
  options: OperatorOptions,
  by: { readonly token: string } | { readonly adminSocket: string },
): Promise<Operator> {
  const { name, dev, clock, log } = options
  const state = await takeStateDir(options)
  try {
    const enrolled = await enrol({ state, kind: 'operator', name, by, dev, clock, log })
    return operatorOf(await knowing(state, enrolled, options), options)
  } finally {
    state.release()
  }
}

/**
 * Opens an operator that is enrolled, its certificate renewed if that is due.
 * @throws MeshError NOT_ENROLLED | SELF_EXPIRED | DEV_ROOT | STATE_*, and the CA's refusal to renew what has ended
 */
export async function openOperator(options: OperatorOptions): Promise<Operator> {
  const { home, name, dev, clock, log } = options
  if (!operatorsOf(home).includes(name)) throw notEnrolled(options)
  const state = await takeStateDir(options)
  try {
    const stored = loadIdentity(state)
    if (stored === undefined) throw notEnrolled(options)
    const { id, notAfter } = stored.identity.svid
    const meaning = meaningOf(id)
    if (meaning.kind !== 'operator' || meaning.name !== name)
      throw new MeshError('STATE_UNREADABLE', `${state.dir} holds ${id}`)
    if (!dev) checkNoDevRoot(stored.bundle)
    const known = await knowing(state, stored, options)
    if (clock.now() < stored.instance.renewAt) return operatorOf(known, options)
    try {
      return operatorOf(await renewed(state, known, options), options)
    } catch (error) {
      if (clock.now() > notAfter) throw ended(id, name, error)
      log.warn('identity.renewal-failed', errorFields(error))
      return operatorOf(known, options)
    }
  } finally {
    state.release()
  }
}

/** Before anything else is asked of whoever is at the CA's address. */
async function knowing(
  state: StateDir,
  stored: StoredIdentity,
  { clock, log }: OperatorOptions,
): Promise<Known> {
  const { bundle, instance } = stored
  const address = parseCaAddress(instance.caAddress)
  return { ...stored, revocations: await learnWithdrawn(state, { address, bundle, clock }, log) }
}

async function renewed(state: StateDir, stored: Known, options: OperatorOptions): Promise<Known> {
  const { dev, clock, log } = options
  const credentials = holdCredentials(stored, log)
  const { bundle, revocations } = stored
  const world = holdWorld({ state, credentials, bundle, revocations, dev, feedMaxStalenessMs: 0, clock, log })
  await renew({ state, credentials, world, clock, log }, new AbortController().signal)
  const renewedOne = {
    identity: credentials.current(),
    instance: credentials.instance(),
    bundle,
    revocations,
  }
  try {
    return { ...renewedOne, bundle: await currentBundle(state, renewedOne, options) }
  } catch (error) {
    log.warn('operator.bundle-kept', errorFields(error))
    return renewedOne
  }
}

/** The roots as they are now, saved: no feed tells an operator of a new one. */
async function currentBundle(
  state: StateDir,
  stored: Known,
  { dev, clock }: OperatorOptions,
): Promise<TrustBundle> {
  const { rootsPem } = await askMemberDoor(peerOf(stored, clock), stored.identity, {
    method: 'GET',
    path: '/v1/roots',
    read: READ_ROOTS,
    what: 'roots',
    timeoutMs: TIMEOUT_MS,
  })
  const bundle = parseTrustBundle(stored.bundle.trustDomain, rootsPem)
  if (!dev) checkNoDevRoot(bundle)
  state.write('bundle.pem', bundlePem(bundle))
  return bundle
}

function operatorOf(stored: Known, { clock }: OperatorOptions): Operator {
  const { identity, instance } = stored
  return {
    id: identity.svid.id,
    notAfter: identity.svid.notAfter,
    caAddress: instance.caAddress,
    ask: (request) => askMemberDoor(peerOf(stored, clock), identity, request),
    read: (request) =>
      requestBytes(
        { ...memberDoor(peerOf(stored, clock), identity), agent: false },
        { ...request, unreachable: 'CA_UNREACHABLE' },
      ),
  }
}

const peerOf = ({ bundle, instance, revocations }: Known, clock: Clock): CaPeer => ({
  address: parseCaAddress(instance.caAddress),
  bundle,
  revocations,
  clock,
})

/** Waits for another command that is renewing. @throws MeshError STATE_IN_USE | STATE_UNREADABLE */
async function takeStateDir({ home, name, clock }: OperatorOptions): Promise<StateDir> {
  const until = clock.monotonic() + BUSY_MS
  for (;;) {
    try {
      return openStateDir({ home, kind: 'operator', name, instance: null })
    } catch (error) {
      if (!isMeshError(error, 'STATE_IN_USE') || clock.monotonic() >= until) throw error
    }
    await pause(clock, BUSY_LOOK_MS, new AbortController().signal)
  }
}

const notEnrolled = ({ home, name }: OperatorOptions): MeshError =>
  new MeshError('NOT_ENROLLED', `operator ${name} is not enrolled in ${home}`, {
    hint: `on the CA's host: troth token ${name} --kind operator --line, then paste what it prints here`,
  })

const ended = (id: SpiffeId, name: AgentName, cause: unknown): MeshError =>
  isMeshError(cause) && !cause.spec.retryable
    ? new MeshError(cause.code, cause.message, {
        cause,
        hint: `enrol again; on the CA's host: troth token ${name} --kind operator --line`,
      })
    : new MeshError('SELF_EXPIRED', `the certificate of ${id} has expired and cannot be renewed now`, {
        cause,
        hint: `make the CA reachable; or, on its host: troth token ${name} --kind operator --line`,
      })
