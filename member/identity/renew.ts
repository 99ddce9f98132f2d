// Renewal: the next identity by proof of the current one, always with a new key. The old leaf stays in use until the new one is saved; a
// lost answer is asked for again with the same key, which the CA answers with the same certificate.

import { type Clock, openWake, pause, type Wake } from '../../host/clock.js'
import { errorFields, type Log } from '../../host/log.js'
import { isMeshError, MeshError, type MeshErrorCode } from '../../mesh/errors.js'
import { meaningOf } from '../../mesh/spiffe-id.js'
import type { Enrolment } from '../../mesh/wire/enrolment.js'
import { openBackoff } from '../backoff.js'
import { openRenewalAsked, type RenewalAsked } from '../control/renewal-asked.js'
import type { WorldOwner } from '../control/world-holder.js'
import type { StateDir } from '../state-dir.js'
import { type CaPeer, isCutOff, parseCaAddress, postRenew } from './ca-client.js'
import type { CredentialsOwner, Identity, Instance } from './credentials.js'
import { makeCsr, makeKey } from './csr.js'
import { healthOf, type IdentityHealth, lateFrom } from './health.js'
import { renewByKey } from './renew-expired.js'
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
const FINAL_RETRY_MS = 600_000
const FINAL: ReadonlySet<MeshErrorCode> = new Set([
  'AGENT_REVOKED',
  'AGENT_UNKNOWN',
  'PEER_REVOKED',
  'CLONE_SUSPECTED',
  'RENEW_SUPERSEDED',
  'RENEW_GRACE_OVER',
  'RENEW_PROOF_INVALID',
  'CA_ROOT_UNKNOWN',
  'PEER_CHAIN_UNTRUSTED',
])
const SKEW_WARN_MS = 5 * 60_000

/** Renews for ever, until the signal. */
export async function keepRenewed(renewing: Renewing, signal: AbortSignal): Promise<void> {
  const { credentials, clock, world } = renewing
  const backoff = openBackoff({ firstMs: RETRY_FIRST_MS, capMs: RETRY_CAP_MS })
  const wake = openWake(clock)
  const asked = openRenewalAsked(world, credentials, clock)
  world.onChange((now, before) => {
    // withdrawn, perhaps only suspended: what it holds now is of no more use; or another issuing CA signs
    if (world.selfRevoked || now.bundles !== before.bundles) wake.call()
    return 0
  })
  let told: IdentityHealth = 'green'
  // what was written down by a clock that ran ahead may lie beyond the certificate's own end
  const first = Math.min(credentials.instance().renewAt, lateFrom(credentials.current().svid))
  let due = dueAt(first, clock)
  while (await isDue({ due, asked, wake, world, clock }, signal)) {
    try {
      await renew(renewing, signal)
      due = dueAt(credentials.instance().renewAt, clock)
      backoff.reset()
      told = 'green'
    } catch (error) {
      if (signal.aborted) return
      if (isWithdrawal(error)) world.denySelf()
      told = tellHealth(renewing, told)
      const waitMs = isFinal(error) ? FINAL_RETRY_MS : backoff.next()
      tellFailure(renewing, error, waitMs)
      await pause(clock, waitMs, signal)
    }
  }
}

function tellFailure({ credentials, clock, log }: Renewing, error: unknown, retryInMs: number): void {
  log[isMeshError(error) && error.spec.retryable ? 'warn' : 'error']('identity.renewal-failed', {
    ...errorFields(error),
    ...(isMeshError(error) && !error.spec.retryable && { hint: error.hint }),
    retryInMs,
    expiresInMs: credentials.current().svid.notAfter - clock.now(),
  })
}

const isWithdrawal = (error: unknown): boolean =>
  isMeshError(error) && ['AGENT_REVOKED', 'PEER_REVOKED', 'AGENT_SUSPENDED'].includes(error.code)

/** The operator must act before the CA would say another thing. One that is suspended is to be heard soon after it was resumed. */
const isFinal = (error: unknown): boolean => isMeshError(error) && FINAL.has(error.code)

/** Says once that the health became worse. */
function tellHealth({ credentials, clock, log }: Renewing, told: IdentityHealth): IdentityHealth {
  const { svid } = credentials.current()
  const health = healthOf(svid, clock.now())
  const { serial, notAfter } = svid
  if (health !== told && health === 'degraded') log.warn('identity.degraded', { serial, notAfter })
  if (health !== told && health === 'red')
    log.error('identity.expired', { code: 'SELF_EXPIRED', serial, notAfter })
  return health
}

/**
 * One renewal: by mutual TLS, or by the key alone when TLS accepts the certificate no more.
 * @throws MeshError the CA's refusal, CA_UNREACHABLE | CA_IDENTITY_WRONG | CLOCK_SKEW | WIRE_MALFORMED | PEER_*
 */
export async function renew(
  { state, credentials, world, clock, log }: Renewing,
  signal: AbortSignal,
): Promise<void> {
  const identity = credentials.current()
  const instance = credentials.instance()
  const { id, notAfter } = identity.svid
  const { instanceId } = instance
  const keyPem = await nextKey(state)
  const csrPem = makeCsr(keyPem, { commonName: commonNameOf(identity), instanceId })
  const peer = caPeerOf(world, instance, clock)
  const byKeyOnly = clock.now() > notAfter || world.selfRevoked
  const answer = byKeyOnly
    ? await renewByKey(peer, identity, csrPem, signal)
    : await renewByTls(peer, identity, csrPem, signal)
  const renewed = proveIdentity(
    { chainPem: answer.chainPem, keyPem },
    { id, instanceId, bundle: peer.bundle },
  )
  parseCaAddress(answer.caAddress)
  const renewAt = clock.now() + answer.renewAfterSeconds * 1000
  const next = { instanceId, caAddress: answer.caAddress, renewAt }
  commitIdentity(state, renewed, next)
  credentials.rotate(renewed, next)
  world.admitSelf()
  const skewMs = answer.now - clock.now()
  if (Math.abs(skewMs) > SKEW_WARN_MS) log.warn('clock.skewed', { skewMs })
}

/** By this host's clock the certificate is valid; when the CA's may say otherwise, the key still speaks: for the same request, twice asked. */
async function renewByTls(
  peer: CaPeer,
  identity: Identity,
  csrPem: string,
  signal: AbortSignal,
): Promise<Enrolment> {
  try {
    return await postRenew(peer, identity, csrPem, signal)
  } catch (error) {
    if (!isCutOff(error) && !isMeshError(error, 'PEER_CERT_EXPIRED')) throw error
    return renewByKey(peer, identity, csrPem, signal)
  }
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

interface Waiting {
  readonly due: Due
  readonly asked: RenewalAsked
  readonly wake: Wake
  readonly world: WorldOwner
  readonly clock: Clock
}

/** Waits; false when the signal came first. */
async function isDue({ due, asked, wake, world, clock }: Waiting, signal: AbortSignal): Promise<boolean> {
  const leftMs = (): number =>
    world.selfRevoked
      ? 0
      : Math.min(due.monotonic - clock.monotonic(), due.wall - clock.now(), asked.leftMs())
  for (let left = leftMs(); left > 0 && !signal.aborted; left = leftMs())
    await wake.pause(Math.min(left, LOOK_EVERY_MS), signal)
  return !signal.aborted
}
