// A callee's name to its identity and the places where its sidecars are reached, from this member's world alone.

import type { World } from '../../member/control/world.js'
import { MeshError } from '../../mesh/errors.js'
import { type AgentName, namedId, type SpiffeId } from '../../mesh/spiffe-id.js'
import type { Endpoint } from '../../mesh/wire/feed.js'

/** Whom a name means. */
export interface Callee {
  readonly name: AgentName
  /** The only identity that may answer for the name. */
  readonly id: SpiffeId
  /** `tickets.mesh` */
  readonly host: string
}

export function calleeOf(world: World, name: AgentName): Callee {
  return { name, id: namedId(world.trustDomain, 'agent', name), host: `${name}.mesh` }
}

/**
 * @returns at least one place
 * @throws MeshError PEER_REVOKED | CALLEE_OFFLINE | CALLEE_UNKNOWN
 */
export function placesOf(world: World, own: SpiffeId, callee: SpiffeId): readonly Endpoint[] {
  if (world.revocations.ids.has(callee)) throw new MeshError('PEER_REVOKED', `${callee} was revoked`)
  const places = world.endpoints.get(callee) ?? []
  if (places.length > 0) return places
  if (world.callees.has(callee)) throw new MeshError('CALLEE_OFFLINE', `no sidecar of ${callee} is running`)
  throw new MeshError('CALLEE_UNKNOWN', `${callee} is not known to ${own}`)
}
