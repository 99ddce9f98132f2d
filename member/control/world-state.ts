// Worlds made from what the CA says: a whole view, or changes to the last one. Pure; a change that cannot be understood leaves
// no half-changed world behind.

import { isDeepStrictEqual } from 'node:util'
import { MeshError } from '../../mesh/errors.js'
import { compilePolicy } from '../../mesh/policy/compile.js'
import { EMPTY_POLICY, type Policy } from '../../mesh/policy/model.js'
import { revocationsOf, withRestored, withRevoked, withRevokedIssuers } from '../../mesh/revocation.js'
import type { SpiffeId, TrustDomain } from '../../mesh/spiffe-id.js'
import { besideRoots, checkNoDevRoot, parseTrustBundle, type TrustBundle } from '../../mesh/trust-bundle.js'
import {
  type Change,
  type Endpoint,
  type Position,
  type View,
  type WireBundle,
  wireBundle,
} from '../../mesh/wire/feed.js'
import type { World } from './world.js'

/** A world with the policy it was compiled from, which is what is written down. */
export interface WorldState {
  readonly world: World
  readonly policy: Policy
}

/** What a member holds to, whatever the CA sends. */
export interface Ground {
  readonly trustDomain: TrustDomain
  readonly dev: boolean
}

/** The world of a member that has not heard of the CA yet: its own bundle, and a policy that permits nothing. */
export function firstWorld(bundle: TrustBundle): WorldState {
  const { trustDomain } = bundle
  return {
    policy: EMPTY_POLICY,
    world: {
      trustDomain,
      bundles: new Map([[trustDomain, bundle]]),
      revocations: revocationsOf([], []),
      policy: compilePolicy(EMPTY_POLICY, trustDomain),
      policyVersion: 0,
      callees: new Set(),
      endpoints: new Map(),
      position: null,
    },
  }
}

/** @throws MeshError WIRE_MALFORMED | POLICY_MALFORMED | PEER_CERT_MALFORMED | DEV_ROOT */
export function worldOfView(view: View, position: Position | null, ground: Ground): WorldState {
  const { trustDomain } = ground
  if (view.trustDomain !== trustDomain)
    throw new MeshError('WIRE_MALFORMED', `the CA's view is of ${view.trustDomain}, not ${trustDomain}`)
  return {
    policy: view.policy,
    world: {
      trustDomain,
      bundles: bundlesOf(view.bundles, ground),
      revocations: withRevokedIssuers(
        revocationsOf(view.revokedIds, view.revokedSerials),
        view.revokedIssuers,
      ),
      policy: compilePolicy(view.policy, trustDomain),
      policyVersion: view.policy.version,
      callees: new Set(view.callees),
      endpoints: endpointsOf(view.endpoints),
      position,
    },
  }
}

/** The next world, with the bundles of the one before when they hold the same: nobody then makes connections anew for nothing. */
export function keepingBundles(next: WorldState, { world: { bundles } }: WorldState): WorldState {
  const isSame =
    next.world.bundles.size === bundles.size &&
    [...next.world.bundles.values()].every((bundle) => {
      const before = bundles.get(bundle.trustDomain)
      return before !== undefined && isDeepStrictEqual(wireBundle(before), wireBundle(bundle))
    })
  return isSame ? { ...next, world: { ...next.world, bundles } } : next
}

/** The next world, with all that was withdrawn in the one before. */
export function keepingRevocations(next: WorldState, { world: { revocations } }: WorldState): WorldState {
  const { ids, serials, issuers } = revocations
  const all = withRevoked(next.world.revocations, [...ids], [...serials.values()])
  return { ...next, world: { ...next.world, revocations: withRevokedIssuers(all, [...issuers]) } }
}

/** The view again, to be written down. */
export function viewOf({ world, policy }: WorldState): View {
  return {
    trustDomain: world.trustDomain,
    bundles: [...world.bundles.values()].map(wireBundle),
    revokedIds: [...world.revocations.ids],
    revokedSerials: [...world.revocations.serials.values()],
    revokedIssuers: [...world.revocations.issuers],
    policy,
    callees: [...world.callees],
    endpoints: [...world.endpoints.values()].flat(),
  }
}

/** @throws MeshError WIRE_MALFORMED | POLICY_MALFORMED | PEER_CERT_MALFORMED | DEV_ROOT */
export function worldAfter(
  before: WorldState,
  changes: readonly Change[],
  position: Position,
  ground: Ground,
): WorldState {
  const { world, policy } = changes.reduce((state, change) => applyOne(state, change, ground), before)
  return { policy, world: { ...world, position } }
}

function applyOne({ world, policy }: WorldState, change: Change, ground: Ground): WorldState {
  switch (change.kind) {
    case 'revoke':
      return {
        policy,
        world: { ...world, revocations: withRevoked(world.revocations, change.ids, change.serials) },
      }
    case 'revoke-issuers':
      return {
        policy,
        world: { ...world, revocations: withRevokedIssuers(world.revocations, change.issuers) },
      }
    case 'restore':
      return { policy, world: { ...world, revocations: withRestored(world.revocations, change.id) } }
    case 'policy':
      return {
        policy: change.policy,
        world: {
          ...world,
          policy: compilePolicy(change.policy, world.trustDomain),
          policyVersion: change.policy.version,
        },
      }
    case 'callees':
      return { policy, world: { ...world, callees: new Set(change.callees) } }
    case 'endpoints':
      return { policy, world: { ...world, endpoints: endpointsOf(change.endpoints) } }
    case 'bundles':
      return { policy, world: { ...world, bundles: bundlesOf(change.bundles, ground) } }
  }
}

function bundlesOf(wire: readonly WireBundle[], { trustDomain, dev }: Ground): Map<TrustDomain, TrustBundle> {
  const bundles = new Map<TrustDomain, TrustBundle>()
  for (const each of wire) {
    const bundle = besideRoots(parseTrustBundle(each.trustDomain, each.rootsPem), each)
    if (!dev) checkNoDevRoot(bundle)
    if (bundles.has(bundle.trustDomain))
      throw new MeshError('WIRE_MALFORMED', `the trust bundle of ${bundle.trustDomain} is there twice`)
    bundles.set(bundle.trustDomain, bundle)
  }
  if (!bundles.has(trustDomain))
    throw new MeshError('WIRE_MALFORMED', `the trust bundle of ${trustDomain} itself is missing`)
  return bundles
}

function endpointsOf(wire: readonly Endpoint[]): Map<SpiffeId, readonly Endpoint[]> {
  const endpoints = new Map<SpiffeId, Endpoint[]>()
  for (const endpoint of wire) {
    const known = endpoints.get(endpoint.id)
    if (known === undefined) endpoints.set(endpoint.id, [endpoint])
    else known.push(endpoint)
  }
  return endpoints
}
