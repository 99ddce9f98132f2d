// How well a member's identity stands: a leaf that was not renewed in time is a warning long before it is a failure. The same
// answer goes to the health door, the metrics and the log.

import type { Clock } from '../../host/clock.js'
import type { Metrics } from '../../host/metrics.js'
import { LEAF_BACKDATE_MS, type Svid } from '../../mesh/svid.js'
import type { Credentials } from './credentials.js'

/** `degraded`: it lives, but two thirds of its life went by without a renewal. `red`: it is not valid now. */
export type IdentityHealth = 'green' | 'degraded' | 'red'

export function healthOf(svid: Svid, now: number): IdentityHealth {
  if (now > svid.notAfter || now < svid.notBefore) return 'red'
  return now >= lateFrom(svid) ? 'degraded' : 'green'
}

/** By when it should have been renewed, ms since epoch. */
export function lateFrom({ notBefore, notAfter }: Svid): number {
  const issuedAt = Math.min(notBefore + LEAF_BACKDATE_MS, notAfter)
  return issuedAt + ((notAfter - issuedAt) * 2) / 3
}

/** For a health door: what makes a member less than well although it works. */
export function whatIsLate(credentials: Credentials, clock: Clock): string[] {
  return healthOf(credentials.current().svid, clock.now()) === 'degraded' ? ['RENEWAL_LATE'] : []
}

/** For a health door: what makes a member unable to work. */
export function whatHasEnded(credentials: Credentials, clock: Clock): string[] {
  return healthOf(credentials.current().svid, clock.now()) === 'red' ? ['SELF_EXPIRED'] : []
}

export function registerIdentityGauges(metrics: Metrics, credentials: Credentials, clock: Clock): void {
  metrics.gauge(
    'troth_svid_not_after_seconds',
    'End of the current certificate, Unix time',
    () => credentials.current().svid.notAfter / 1000,
  )
  for (const state of ['degraded', 'red'] as const)
    metrics.gauge(
      'troth_identity_health',
      '1 while the certificate is in that state: degraded from two thirds of its life on, red when it is not valid',
      () => (healthOf(credentials.current().svid, clock.now()) === state ? 1 : 0),
      { state },
    )
}
