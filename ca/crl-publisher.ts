// Which revocation lists are in force, and when there are new ones: of each issuing CA at once when something was withdrawn, and long
// before the last list ends. Lists are signed here and nowhere per request; what is served is bytes in memory. The lists of roots
// are signed by whoever has their key open, and only kept here.

import { type Clock, pause } from '../host/clock.js'
import { errorFields, type Log } from '../host/log.js'
import { keyFingerprintOf } from '../mesh/authorities.js'
import { thisUpdateAt } from './certificate/crl.js'
import { CRL_LIFE_MS, makeCrl } from './crl.js'
import type { Hierarchy, IssuingCa } from './hierarchy.js'
import type { CaStore, StoredCrl } from './store/model.js'
import type { CaWorld } from './world.js'

/** Three more tries before the last list ends (STANDARDS: a list lives at least three times its interval). */
export const CRL_EVERY_MS = CRL_LIFE_MS / 4
/** Looked at by the wall clock, so that a host that slept does not serve an ended list for long. */
const LOOK_MS = 30_000
/** After a list, at least this long nothing is signed: of a burst of revocations the first and the last make one each. */
const REST_MS = 1000
/** And ten times what the last ones took: a list of 100,000 lines costs about a second of work. */
const REST_FACTOR = 10

export interface CrlPublisher {
  /** The newest list of each issuer that has one: roots and issuing CAs. */
  crls(): readonly StoredCrl[]
  /** @param issuer SHA-256 of the SubjectPublicKeyInfo, lower-case hex */
  find(issuer: string): StoredCrl | undefined
  /** That of the CA that signs now. */
  inUse(usage: 'root' | 'issuing'): StoredCrl | undefined
  /** Something was withdrawn, or there is another issuing CA: new lists as soon as may be. */
  renew(): void
  /** Takes over a list that was signed elsewhere: a root's, at a rotation. */
  take(crl: StoredCrl): Promise<void>
  /** Ends when what is being signed is kept. */
  close(): Promise<void>
}

export interface CrlPublisherOptions {
  readonly store: CaStore
  readonly hierarchy: Hierarchy
  readonly world: CaWorld
  readonly clock: Clock
  readonly log: Log
}

/** Publishes first, then keeps publishing until it is closed. A list that cannot be made is tried again; the last one stays. */
export async function openCrlPublisher(options: CrlPublisherOptions): Promise<CrlPublisher> {
  const { store, hierarchy, world, clock, log } = options
  const inForce = new Map((await store.crls()).map((crl) => [crl.issuer, crl]))
  for (const root of hierarchy.roots)
    if (!inForce.has(keyFingerprintOf(root))) log.warn('crl.root_missing', { root: root.subject })
  const stop = new AbortController()
  // what was withdrawn while no CA ran, or after the last list of a CA that was killed, is on the first ones
  let isStale = true
  let wake = new AbortController()

  /** @returns how long to rest */
  const publishDue = async (): Promise<number> => {
    const startedAt = clock.monotonic()
    const all = isStale
    isStale = false
    wake = new AbortController()
    const due = hierarchy.issuers.filter((each) => all || isDue(inForce.get(each.issuer), clock.now()))
    for (const issuing of due) {
      try {
        inForce.set(issuing.issuer, await publish(options, issuing))
      } catch (error) {
        // not woken by it: tried again at the next look
        isStale = true
        log.error('crl.failed', { issuer: issuing.issuer, ...errorFields(error) })
      }
    }
    return due.length === 0 ? 0 : Math.max(REST_MS, REST_FACTOR * (clock.monotonic() - startedAt))
  }
  const keepPublishing = async (firstRestMs: number): Promise<void> => {
    let restMs = firstRestMs
    for (;;) {
      if (restMs > 0) await pause(clock, restMs, stop.signal)
      await pause(clock, LOOK_MS, AbortSignal.any([stop.signal, wake.signal]))
      if (stop.signal.aborted) return
      restMs = await publishDue()
    }
  }
  const keeping = keepPublishing(await publishDue())
  const renew = (): void => {
    isStale = true
    wake.abort()
  }
  world.onMove((move) => {
    if ('lostAt' in move || move.revoked !== null || move.bundlesChanged) renew()
  })
  return {
    crls: () => [...inForce.values()],
    find: (issuer) => inForce.get(issuer),
    inUse: (usage) => {
      const { root, issuing } = hierarchy.current()
      return inForce.get(keyFingerprintOf(usage === 'root' ? root : issuing))
    },
    renew,
    take: async (crl) => {
      await store.saveCrl(crl)
      if (crl.number >= (inForce.get(crl.issuer)?.number ?? 0)) inForce.set(crl.issuer, crl)
    },
    close: () => {
      stop.abort()
      return keeping
    },
  }
}

async function publish({ store, clock, log }: CrlPublisherOptions, issuing: IssuingCa): Promise<StoredCrl> {
  const now = clock.now()
  const { number, entries } = await store.beginCrl(issuing.issuer, now)
  const crl = await makeCrl(issuing.signer, { number, entries, now, nextUpdate: now + CRL_LIFE_MS })
  await store.saveCrl(crl)
  log.info('crl.published', { issuer: crl.issuer, number, revoked: entries.length, bytes: crl.der.length })
  return crl
}

/** Also when the clock was set back: a list of the future is refused, and every peer with it. */
const isDue = (crl: StoredCrl | undefined, now: number): boolean =>
  crl === undefined || now >= crl.publishedAt + CRL_EVERY_MS || now < thisUpdateAt(crl.publishedAt)
