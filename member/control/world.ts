// A member's current view of the mesh.

import type { CompiledPolicy } from '../../mesh/policy/compile.js'
import type { Revocations } from '../../mesh/revocation.js'
import type { SpiffeId, TrustDomain } from '../../mesh/spiffe-id.js'
import type { TrustBundle } from '../../mesh/trust-bundle.js'
import type { Endpoint, Position } from '../../mesh/wire/feed.js'

/** Immutable; replaced whole. */
export interface World {
  readonly trustDomain: TrustDomain
  readonly bundles: ReadonlyMap<TrustDomain, TrustBundle>
  readonly revocations: Revocations
  /** The slice for this member. */
  readonly policy: CompiledPolicy
  /** Version of the policy; 0 before one was pushed. */
  readonly policyVersion: number
  /** The agents that this member holds a grant on, whether they run or not. */
  readonly callees: ReadonlySet<SpiffeId>
  /** Where those of them that run (and the collector) are reached. */
  readonly endpoints: ReadonlyMap<SpiffeId, readonly Endpoint[]>
  /** Where the CA's feed stood; null before the first snapshot ever. */
  readonly position: Position | null
}

/** Told of every new world, after it is in force; returns how many connections it destroyed for it. */
export type WorldListener = (world: World, previous: World) => number

export interface WorldHolder {
  current(): World
  /** No frame of the CA for longer than `feedMaxStalenessMs`, or one that could not be understood although critical. */
  isStale(): boolean
  /** This member's own identity or certificate is withdrawn. */
  readonly selfRevoked: boolean
  onChange(listener: WorldListener): void
}
