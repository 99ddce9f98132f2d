// Renewal: the next identity by proof of the current one, always with a new key. The old leaf stays in use until the new one is saved; a
// lost answer is asked for again with the same key, which the CA answers with the same certificate.

import { type Clock, pause } from '../../host/clock.js'
import { errorFields, type Log } from '../../host/log.js'
import { isMeshError, MeshError } from '../../mesh/errors.js'
import { meaningOf } from '../../mesh/spiffe-id.js'
import { openBackoff } from '../backoff.js'
import type { WorldOwner } from '../control/world-holder.js'
import type { StateDir } from '../state-dir.js'
import { type CaPeer, parseCaAddress, postRenew } from './ca-client.js'
import type { CredentialsOwner, Identity, Instance } from './credentials.js'
import { makeCsr, makeKey } from './csr.js'
import { commitIdentity, proveIdentity } from './stored-identity.js'

export interface Renewing {
  readonly state: StateDir
  readonly credentials: CredentialsOwner
  readonly world: WorldOwner
  readonly clock: Clock
  readonly log: Log
}

/** When to renew, on both clocks: the monotonic one stands still in sleep, the wall clock may be set. */
interface Due {
  readonly wall: number
  readonly monotonic: number
}

const LOOK_EVERY_MS = 30_000
const RETRY_FIRST_MS = 1000
const RETRY_CAP_MS = 60_000
const SKEW_WARN_MS = 5 * 60_000

/** Renews for ever, until the signal. */
export async function keepRenewed(renewing: Renewing, signal: AbortSignal): Promise<void> {
  const { credentials, clock, log, world } = renewing
  const backoff = openBackoff({ firstMs: RETRY_FIRST_MS, capMs: RETRY_CAP_MS })
  let due = dueAt(credentials.instance().renewAt, clock)
  while (await isDue(due, clock, signal)) {
    try {
      await renew(renewing, signal)
      due = dueAt(credentials.instance().renewAt, clock)
      backoff.reset()
    } catch (error) {
      if (signal.aborted) return
      if (isMeshError(error, 'AGENT_REVOKED') || isMeshError(error, 'PEER_REVOKED')) world.denySelf()
      const waitMs = backoff.next()
      log[isMeshError(error) && error.spec.retryable ? 'warn' : 'error']('identity.renewal-failed', {
        ...errorFields(error),
        retryInMs: waitMs,
        expiresInMs: credentials.current().svid.notAfter - clock.now(),
      })
      await pause(clock, waitMs, signal)
    }
  }
}

/**
 * One renewal.
 * @throws MeshError the CA's refusal, CA_UNREACHABLE | CA_IDENTITY_WRONG | WIRE_MALFORMED | PEER_*
 */
async function renew(
  { state, credentials, world, clock, log }: Renewing,
  signal: AbortSignal,
): Promise<void> {
  const identity = credentials.current()
  const instance = credentials.instance()
  const { id } = identity.svid
  const { instanceId } = instance
  const keyPem = await nextKey(state)
  const csrPem = await makeCsr(keyPem, { commonName: commonNameOf(identity), instanceId })
  const peer = caPeerOf(world, instance, clock)
  const answer = await postRenew(peer, identity, csrPem, signal)
  const renewed = proveIdentity(
    { chainPem: answer.chainPem, keyPem },
    { id, instanceId, bundle: peer.bundle },
  )
  parseCaAddress(answer.caAddress)
  const renewAt = clock.now() + answer.renewAfterSeconds * 1000
  const next = { instanceId, caAddress: answer.caAddress, renewAt }
  commitIdentity(state, renewed, next)
  credentials.rotate(renewed, next)
  const skewMs = answer.now - clock.now()
  if (Math.abs(skewMs) > SKEW_WARN_MS) log.warn('clock.skewed', { skewMs })
}

/** The CA as the current world knows it. @throws MeshError WIRE_MALFORMED */
export function caPeerOf(world: WorldOwner, { caAddress }: Instance, clock: Clock): CaPeer {
  const { bundles, trustDomain, revocations } = world.current()
  const bundle = bundles.get(trustDomain)
  if (bundle === undefined)
    throw new MeshError('WIRE_MALFORMED', `the world holds no trust bundle of ${trustDomain}`)
  return { address: parseCaAddress(caAddress), bundle, revocations, clock }
}

/** The key of a renewal whose answer was lost, or a new one, saved before its request leaves. */
async function nextKey(state: StateDir): Promise<string> {
  const pending = state.read('key.next.pem')
  if (pending !== undefined) return pending
  const keyPem = await makeKey()
  state.write('key.next.pem', keyPem)
  return keyPem
}

function commonNameOf({ svid }: Identity): string {
  const meaning = meaningOf(svid.id)
  return 'name' in meaning ? meaning.name : meaning.kind
}

function dueAt(wall: number, clock: Clock): Due {
  return { wall, monotonic: clock.monotonic() + (wall - clock.now()) }
}

/** Waits; false when the signal came first. */
async function isDue(due: Due, clock: Clock, signal: AbortSignal): Promise<boolean> {
  const leftMs = (): number => Math.min(due.monotonic - clock.monotonic(), due.wall - clock.now())
  for (let left = leftMs(); left > 0 && !signal.aborted; left = leftMs())
    await pause(clock, Math.min(left, LOOK_EVERY_MS), signal)
  return !signal.aborted
}
