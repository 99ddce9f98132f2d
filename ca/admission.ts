// How many certificates one agent and one address may get, by whatever way: what runs away, or was taken over, must not fill the store nor
// keep the CA from the others. Far above what a mesh needs, also when all of it is issued anew at once.

import type { Clock } from '../host/clock.js'
import { MeshError } from '../mesh/errors.js'
import type { SpiffeId } from '../mesh/spiffe-id.js'
import { openTryLimit } from './try-limit.js'

export interface Admission {
  /** Before anything is spent or signed. @throws MeshError ISSUE_TOO_OFTEN */
  check(id: SpiffeId, source: string | null): void
  /** A certificate was issued. `source` null: on this host, over the Unix socket. */
  count(id: SpiffeId, source: string | null): void
}

const MINUTE_MS = 60_000
/** Of one name: a thousand instances that all renew within a minute. */
const OF_AGENT = { max: 1000, windowMs: MINUTE_MS, capacity: 10_000 }
/** Of one address (an IPv6 /64): many members may share a host. */
const OF_ADDRESS = { max: 3000, windowMs: MINUTE_MS, capacity: 10_000 }

export function openAdmission(clock: Clock): Admission {
  const refusal = (retryAfterMs: number, whom: string): MeshError =>
    new MeshError('ISSUE_TOO_OFTEN', `too many certificates were issued to ${whom} within a minute`, {
      retryAfterMs,
    })
  const agents = openTryLimit({ ...OF_AGENT, clock, refusal: (after) => refusal(after, 'this name') })
  const addresses = openTryLimit({ ...OF_ADDRESS, clock, refusal: (after) => refusal(after, 'this address') })
  return {
    check(id, source) {
      agents.check(id)
      if (source !== null) addresses.check(source)
    },
    count(id, source) {
      agents.count(id)
      if (source !== null) addresses.count(source)
    },
  }
}
