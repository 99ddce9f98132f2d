// Opens what every process with an SVID has: state directory, credentials, world, feed and renewal. All of one identity hangs on
// the object it gives back; a process may open several.

import type { Clock } from '../host/clock.js'
import type { Lifecycle } from '../host/lifecycle.js'
import { errorFields, type Log } from '../host/log.js'
import { isMeshError, MeshError } from '../mesh/errors.js'
import { isNamed, revocationsOf } from '../mesh/revocation.js'
import { type AgentName, meaningOf, type NamedKind, type SpiffeId } from '../mesh/spiffe-id.js'
import { checkNoDevRoot, fingerprintOf } from '../mesh/trust-bundle.js'
import { type Feed, openFeed } from './control/feed-client.js'
import type { WorldHolder } from './control/world.js'
import { holdWorld, type WorldOwner } from './control/world-holder.js'
import { memberDoor } from './identity/ca-client.js'
import { type Credentials, type CredentialsOwner, holdCredentials } from './identity/credentials.js'
import { enrol, readToken } from './identity/enrol.js'
import { caPeerOf, keepRenewed, renew } from './identity/renew.js'
import { loadIdentity, type StoredIdentity } from './identity/stored-identity.js'
import { openStateDir, type StateDir } from './state-dir.js'

/** How a member without a usable identity gets one; null: it must have one already. */
export type EnrolBy = { readonly token: string } | { readonly adminSocket: string } | null

export interface MemberOptions {
  readonly home: string
  readonly kind: NamedKind
  readonly name: AgentName
  /** Another instance of the same agent on this host; null for the first. */
  readonly instance: string | null
  /** Used only when there is no usable identity here: none, expired, revoked, or of a mesh that the token does not name. */
  readonly enrolBy: EnrolBy
  /** Accept a development root. */
  readonly dev: boolean
  readonly clock: Clock
  readonly log: Log
  readonly lifecycle: Lifecycle
  readonly feedMaxStalenessMs: number
}

export interface Member {
  readonly id: SpiffeId
  readonly instanceId: string
  /** The state directory, locked for this process. */
  readonly dir: string
  readonly credentials: Credentials
  readonly world: WorldHolder
  readonly feed: Feed
}

interface Opened extends StoredIdentity {
  readonly credentials: CredentialsOwner
  readonly world: WorldOwner
}

/**
 * Opens the member, enrolling it if need be, and starts its feed and renewal under the lifecycle. Does not wait for the feed:
 * before its first word ever the world permits nothing (`world.current().position` is null).
 *
 * @throws MeshError STATE_* | DEV_ROOT | CONFIG_MISSING | SELF_EXPIRED | SELF_REVOKED, and those of enrolment
 */
export async function openMember(options: MemberOptions): Promise<Member> {
  const { clock, log, lifecycle } = options
  const state = openStateDir(options)
  try {
    const { identity, instance, credentials, world } =
      (await openExisting(state, options)) ?? (await openEnrolled(state, options))
    const door = (current: typeof identity) =>
      memberDoor(caPeerOf(world, credentials.instance(), clock), current)
    const feed = openFeed({ door, credentials, world, clock, log })
    lifecycle.run('member', async (signal) => {
      try {
        await Promise.all([feed.run(signal), keepRenewed({ state, credentials, world, clock, log }, signal)])
      } finally {
        // not before: a renewal on its way still writes here
        state.release()
      }
    })
    const { id } = identity.svid
    return { id, instanceId: instance.instanceId, dir: state.dir, credentials, world, feed }
  } catch (error) {
    state.release()
    throw error
  }
}

async function openEnrolled(state: StateDir, options: MemberOptions): Promise<Opened> {
  const { kind, name, enrolBy: by, dev, clock, log } = options
  if (by === null) throw new MeshError('CONFIG_MISSING', `${kind} ${name} is not enrolled in ${state.dir}`)
  return open(state, await enrol({ state, kind, name, by, dev, clock, log }), options)
}

/** What the directory holds, when it can be used; undefined when there is nothing, or enrolment is to replace it. */
async function openExisting(state: StateDir, options: MemberOptions): Promise<Opened | undefined> {
  const stored = loadIdentity(state)
  if (stored === undefined) return undefined
  const { svid } = stored.identity
  const meaning = meaningOf(svid.id)
  if (meaning.kind !== options.kind || meaning.name !== options.name)
    throw new MeshError('STATE_UNREADABLE', `${state.dir} holds ${svid.id}`)
  if (isOfAnotherMesh(stored, options)) return undefined
  if (!options.dev) checkNoDevRoot(stored.bundle)
  const opened = open(state, stored, options)
  return revive(state, opened, options)
}

/**
 * Brings an identity that has ended back by its key, before anything else is tried.
 * @returns undefined when enrolment is to replace it
 * @throws MeshError SELF_EXPIRED | SELF_REVOKED | AGENT_SUSPENDED | RENEW_* | CLONE_SUSPECTED
 */
async function revive(
  state: StateDir,
  opened: Opened,
  { kind, name, enrolBy, clock, log, lifecycle }: MemberOptions,
): Promise<Opened | undefined> {
  const unusable = whyUnusable(opened, clock.now())
  if (unusable === undefined) return opened
  try {
    await renew({ ...opened, state, clock, log }, lifecycle.signal)
    return opened
  } catch (error) {
    const refusal = whyNotRevived(error, unusable)
    log.warn('identity.unusable', errorFields(refusal))
    if (enrolBy !== null) return undefined
    // with its CA away it stands and tries on, as one does whose certificate ends while it runs
    if (isMeshError(error) && error.spec.retryable && unusable.code === 'SELF_EXPIRED') return opened
    const other = kind === 'agent' ? '' : ` --kind ${kind}`
    throw refusal.code === 'RENEW_GRACE_OVER' || refusal.code === 'CA_ROOT_UNKNOWN'
      ? new MeshError(refusal.code, refusal.message, {
          cause: error,
          hint: `enrol again; on the CA's host: troth token ${name}${other} --line`,
        })
      : refusal
  }
}

/** The CA's word when it is one about this identity; else what is known here. */
function whyNotRevived(error: unknown, unusable: MeshError): MeshError {
  if (!isMeshError(error)) return unusable
  if (['PEER_REVOKED', 'AGENT_REVOKED', 'AGENT_UNKNOWN'].includes(error.code))
    return new MeshError('SELF_REVOKED', error.message, { cause: error })
  const isAboutThis =
    ['AGENT_SUSPENDED', 'CLONE_SUSPECTED', 'CA_ROOT_UNKNOWN'].includes(error.code) ||
    error.code.startsWith('RENEW_')
  return isAboutThis ? error : unusable
}

function open(state: StateDir, stored: StoredIdentity, options: MemberOptions): Opened {
  const { dev, feedMaxStalenessMs, clock, log } = options
  const credentials = holdCredentials(stored, log)
  const { bundle } = stored
  const revocations = revocationsOf([], [])
  const world = holdWorld({
    state,
    credentials,
    bundle,
    revocations,
    dev,
    feedMaxStalenessMs,
    clock,
    log,
  })
  return { ...stored, credentials, world }
}

function isOfAnotherMesh({ bundle }: StoredIdentity, { enrolBy, kind, name }: MemberOptions): boolean {
  if (enrolBy === null || !('token' in enrolBy)) return false
  const { rootFingerprints } = readToken(enrolBy.token, kind, name)
  return !bundle.roots.some((root) => rootFingerprints.includes(fingerprintOf(root)))
}

function whyUnusable({ world, identity }: Opened, now: number): MeshError | undefined {
  const { id, notAfter } = identity.svid
  if (now > notAfter) return new MeshError('SELF_EXPIRED', `the certificate of ${id} has expired`)
  // a withdrawn issuing CA is mended by renewing: the CA knows its own certificates
  if (isNamed(world.current().revocations, identity.svid))
    return new MeshError('SELF_REVOKED', `${id} was revoked`)
  return undefined
}
