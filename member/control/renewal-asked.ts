// Whether the CA wants this member to renew before its time: another issuing CA signs now. Told by the state of the world, not by an
// event, so that who was away, or heard it twice, does the right thing.

import { randomInt } from 'node:crypto'
import type { Clock } from '../../host/clock.js'
import { keyFingerprintOf } from '../../mesh/authorities.js'
import type { Credentials } from '../identity/credentials.js'
import type { World, WorldHolder } from './world.js'

export interface RenewalAsked {
  /** How long until it is due, ms; Infinity when nothing is asked. */
  leftMs(): number
}

/** Members of a mesh do not come all at once. */
const SPREAD_MS = 5000

export function openRenewalAsked(
  world: Pick<WorldHolder, 'current'>,
  credentials: Credentials,
  clock: Clock,
): RenewalAsked {
  let dueAt: number | undefined
  return {
    leftMs() {
      const signing = signsNow(world.current())
      if (signing === undefined || signing === credentials.current().svid.issuer) dueAt = undefined
      else dueAt ??= clock.monotonic() + randomInt(SPREAD_MS)
      return dueAt === undefined ? Number.POSITIVE_INFINITY : dueAt - clock.monotonic()
    },
  }
}

/** The issuing CA that signs now, by its key; undefined when the CA has not said. */
function signsNow({ bundles, trustDomain }: World): string | undefined {
  const [first] = bundles.get(trustDomain)?.issuing ?? []
  return first === undefined ? undefined : keyFingerprintOf(first)
}
