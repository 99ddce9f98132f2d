// How often one instance may renew. Its certificates are kept, and all are named when it is revoked: it must not fill the store.

import type { Clock } from '../../host/clock.js'
import { MeshError } from '../../mesh/errors.js'
import type { NewCertificate } from '../store/model.js'
import { openTryLimit, type TryLimit } from '../try-limit.js'

/** The limit of renewals, by instance, that is meant for the certificate that renews. */
export type RenewalLimits = (holder: NewCertificate) => TryLimit

const HOUR_MS = 3_600_000
/** Lives below this come of development CAs only. */
const BRIEF_MS = 900_000
/** Of the shortest life of a real CA it needs nine. */
const MAX_AN_HOUR = 60
const MAX_AN_HOUR_OF_BRIEF = 3600
const INSTANCES_MAX = 10_000

export function openRenewalLimits(clock: Clock): RenewalLimits {
  const open = (max: number): TryLimit =>
    openTryLimit({
      max,
      windowMs: HOUR_MS,
      capacity: INSTANCES_MAX,
      clock,
      refusal: (retryAfterMs) =>
        new MeshError('RENEW_TOO_OFTEN', 'this instance renews too often', { retryAfterMs }),
    })
  const usual = open(MAX_AN_HOUR)
  const brief = open(MAX_AN_HOUR_OF_BRIEF)
  return ({ issuedAt, notAfter }) => (notAfter - issuedAt < BRIEF_MS ? brief : usual)
}
