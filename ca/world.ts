// What members are told, and the one order in which it changes. Everything that moves the epoch runs through `advance`, one after the
// other: the transaction commits, then all listeners hear of it, then the next may begin. So a snapshot taken in that order is
// exactly what its position says, and no member can miss a change between its snapshot and its first delta.

import { type CompiledPolicy, compilePolicy, slicePolicy, visibleCallees } from '../mesh/policy/compile.js'
import { parsePolicy } from '../mesh/policy/document.js'
import { EMPTY_POLICY, type Policy } from '../mesh/policy/model.js'
import { meaningOf, type SpiffeId, type TrustDomain } from '../mesh/spiffe-id.js'
import { bundlePem, type TrustBundle } from '../mesh/trust-bundle.js'
import type { Endpoint, Position, RevokedSerial, View } from '../mesh/wire/feed.js'
import type { CaStore } from './store/model.js'

/** One step of the epoch. */
export interface Move {
  readonly position: Position
  readonly revoked: { readonly ids: readonly SpiffeId[]; readonly serials: readonly RevokedSerial[] } | null
  readonly restored: SpiffeId | null
  /** The policy now in force, when it is another. */
  readonly policy: Policy | null
  readonly endpointsChanged: boolean
}

/** A move in which nothing changes but the position. */
export const still = (position: Position): Move => ({
  position,
  revoked: null,
  restored: null,
  policy: null,
  endpointsChanged: false,
})

export interface CaWorld {
  readonly trustDomain: TrustDomain
  readonly bundle: TrustBundle
  /** The policy in force; version 0 before the first push. */
  policy(): CompiledPolicy
  position(): Position
  /** Runs one change in order; `move` undefined: nothing changed after all. */
  advance<T>(change: () => Promise<{ readonly value: T; readonly move: Move | undefined }>): Promise<T>
  /** Runs something that must see no change happen. */
  inOrder<T>(work: () => Promise<T>): Promise<T>
  /** Everything one member is told; only meaningful inside `inOrder`. */
  viewFor(id: SpiffeId, now: number): Promise<View>
  policyFor(id: SpiffeId): Policy
  /** The agents that the member holds a grant on. */
  calleesFor(id: SpiffeId): SpiffeId[]
  endpointsFor(id: SpiffeId): Endpoint[]
  endpoints(): readonly Endpoint[]
  /** Listeners run inside the order, synchronously. */
  onMove(listener: (move: Move) => void): void
}

/** @throws MeshError POLICY_MALFORMED when the stored policy cannot be read by this release */
export async function openCaWorld(store: CaStore, bundle: TrustBundle): Promise<CaWorld> {
  const { trustDomain } = bundle
  const stored = await store.policy()
  let policy = stored === undefined ? EMPTY_POLICY : { ...parsePolicy(stored.yaml), version: stored.version }
  let compiled = compilePolicy(policy, trustDomain)
  let endpoints: readonly Endpoint[] = await store.endpoints()
  let { position } = await store.mesh()
  let tail: Promise<unknown> = Promise.resolve()
  const listeners: ((move: Move) => void)[] = []

  const inOrder = <T>(work: () => Promise<T>): Promise<T> => {
    const result = tail.then(work)
    // the next one runs whether or not this one failed; its failure belongs to its own caller
    tail = result.catch(() => undefined)
    return result
  }
  const apply = async (move: Move): Promise<void> => {
    const announced = move.endpointsChanged ? await store.endpoints() : endpoints
    // from here on nothing awaits: position, content and what listeners send change together
    endpoints = announced
    position = move.position
    if (move.policy !== null) {
      policy = move.policy
      compiled = compilePolicy(policy, trustDomain)
    }
    for (const listener of listeners) listener(move)
  }
  const calleesFor = (id: SpiffeId): SpiffeId[] => visibleCallees(compiled, id, [...compiled.services.keys()])
  const endpointsFor = (id: SpiffeId): Endpoint[] => {
    const visible = new Set(calleesFor(id))
    return endpoints.filter(
      (endpoint) => visible.has(endpoint.id) || meaningOf(endpoint.id).kind === 'collector',
    )
  }

  return {
    trustDomain,
    bundle,
    policy: () => compiled,
    position: () => position,
    inOrder,
    advance: (change) =>
      inOrder(async () => {
        const { value, move } = await change()
        if (move !== undefined) await apply(move)
        return value
      }),
    viewFor: async (id, now) => {
      const { ids, serials } = await store.withdrawn(now)
      return {
        trustDomain,
        bundles: [{ trustDomain, rootsPem: bundlePem(bundle) }],
        revokedIds: [...ids],
        revokedSerials: [...serials],
        policy: slicePolicy(policy, trustDomain, id),
        callees: calleesFor(id),
        endpoints: endpointsFor(id),
      }
    },
    policyFor: (id) => slicePolicy(policy, trustDomain, id),
    calleesFor,
    endpointsFor,
    endpoints: () => endpoints,
    onMove: (listener) => void listeners.push(listener),
  }
}
