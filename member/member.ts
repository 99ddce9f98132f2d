// Opens what every process with an SVID has: state directory, credentials, world, feed and renewal.

import type { Clock } from '../host/clock.js'
import type { Lifecycle } from '../host/lifecycle.js'
import type { Log } from '../host/log.js'
import type { AgentName, NamedKind, SpiffeId } from '../mesh/spiffe-id.js'
import type { Feed } from './control/feed-client.js'
import type { WorldHolder } from './control/world.js'
import type { Credentials } from './identity/credentials.js'

/** How a member without a usable identity gets one; null: it must have one already. */
export type EnrolBy = { readonly token: string } | { readonly adminSocket: string } | null

export interface MemberOptions {
  readonly home: string
  readonly kind: NamedKind
  readonly name: AgentName
  /** Another instance of the same agent on this host; null for the first. */
  readonly instance: string | null
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

export declare function openMember(options: MemberOptions): Promise<Member>
