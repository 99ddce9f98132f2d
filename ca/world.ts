// What members are told, and the one order in which it changes. Everything that moves the epoch runs through `advance`, one after the
// other: the transaction commits, then all listeners hear of it, then the next may begin. So a snapshot taken in that order is
// exactly what its position says, and no member can miss a change between its snapshot and its first delta.

import { type CompiledPolicy, compilePolicy, slicePolicy, visibleCallees } from '../mesh/policy/compile.js'
import { parsePolicy } from '../mesh/policy/document.js'
import { EMPTY_POLICY, type Policy } from '../mesh/policy/model.js'
import { meaningOf, type SpiffeId, type TrustDomain } from '../mesh/spiffe-id.js'
import {
  type Endpoint,
  type Position,
  type RevokedSerial,
  type View,
  type WireBundle,
  wireBundle,
} from '../mesh/wire/feed.js'
import type { Hierarchy } from './hierarchy.js'
import type { CaStore } from './store/model.js'

/** What the world needs of the hierarchy. */
type CaTrust = Pick<Hierarchy, 'trustDomain' | 'bundle' | 'revokedIssuers'>

/** One step of the epoch. */
export interface Move {
  readonly position: Position
  readonly revoked: { readonly ids: readonly SpiffeId[]; readonly serials: readonly RevokedSerial[] } | null
  readonly restored: SpiffeId | null
  /** The policy now in force, when it is another. */
  readonly policy: Policy | null
  readonly endpointsChanged: boolean
  /** Other roots or issuing CAs than before; with which of them are withdrawn. */
  readonly bundlesChanged: boolean
}

/** What led to this position was committed and then not told: nobody knows what changed, only that it did. */
export interface Lost {
  readonly lostAt: Position
}

/** A move in which nothing changes but the position. */
export const still = (position: Position): Move => ({
  position,
  revoked: null,
  restored: null,
  policy: null,
  endpointsChanged: false,
  bundlesChanged: false,
})

export interface CaWorld {
  readonly trustDomain: TrustDomain
  /** What members are told of CAs. */
  bundles(): WireBundle[]
  revokedIssuers(): readonly string[]
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
  onMove(listener: (move: Move | Lost) => void): void
}

/** What members are told of, all of one moment. */
interface Told {
  readonly policy: Policy
  readonly compiled: CompiledPolicy
  readonly endpoints: readonly Endpoint[]
  readonly position: Position
}

/** @throws MeshError POLICY_MALFORMED when the stored policy cannot be read by this release */
export async function openCaWorld(store: CaStore, hierarchy: CaTrust): Promise<CaWorld> {
  const { trustDomain } = hierarchy
  let told = await readTold(store, trustDomain)
  let tail: Promise<unknown> = Promise.resolve()
  const listeners: ((move: Move | Lost) => void)[] = []

  const inOrder = <T>(work: () => Promise<T>): Promise<T> => {
    const result = tail.then(work)
    // the next one runs whether or not this one failed; its failure belongs to its own caller
    tail = result.catch(() => undefined)
    return result
  }
  /** Nothing awaits in here: position, content and what listeners send change together. */
  const tell = (next: Told, move: Move | Lost): void => {
    told = next
    for (const listener of listeners) listener(move)
  }
  const apply = async (move: Move): Promise<void> => {
    const { position, endpointsChanged, policy } = move
    const endpoints = endpointsChanged ? await store.endpoints() : told.endpoints
    const ruling = policy === null ? {} : { policy, compiled: compilePolicy(policy, trustDomain) }
    tell({ ...told, ...ruling, endpoints, position }, move)
  }
  /** After a failure: what was committed is in force all the same, and members are to hear of it. */
  const catchUp = async (): Promise<void> => {
    const { position: stored } = await store.mesh()
    if (stored.epoch !== told.position.epoch) tell(await readTold(store, trustDomain), { lostAt: stored })
  }
  const advance: CaWorld['advance'] = (change) =>
    inOrder(async () => {
      // a failure that could not be caught up with at its time is now
      await catchUp()
      try {
        const { value, move } = await change()
        if (move !== undefined) await apply(move)
        return value
      } catch (error) {
        // its own failure must not hide the first one
        await catchUp().catch(() => undefined)
        throw error
      }
    })
  return {
    trustDomain,
    bundles: () => [wireBundle(hierarchy.bundle)],
    revokedIssuers: () => hierarchy.revokedIssuers,
    policy: () => told.compiled,
    position: () => told.position,
    inOrder,
    advance,
    ...viewsOf(store, hierarchy, () => told),
    endpoints: () => told.endpoints,
    onMove: (listener) => void listeners.push(listener),
  }
}

/** What of it each member sees. */
function viewsOf(
  store: CaStore,
  hierarchy: CaTrust,
  told: () => Told,
): Pick<CaWorld, 'viewFor' | 'policyFor' | 'calleesFor' | 'endpointsFor'> {
  const { trustDomain } = hierarchy
  const policyFor = (id: SpiffeId): Policy => slicePolicy(told().policy, trustDomain, id)
  const calleesFor = (id: SpiffeId): SpiffeId[] =>
    visibleCallees(told().compiled, id, [...told().compiled.services.keys()])
  const endpointsFor = (id: SpiffeId): Endpoint[] => {
    const visible = new Set(calleesFor(id))
    return told().endpoints.filter(
      (endpoint) => visible.has(endpoint.id) || meaningOf(endpoint.id).kind === 'collector',
    )
  }
  return {
    policyFor,
    calleesFor,
    endpointsFor,
    viewFor: async (id, now) => {
      const { ids, serials } = await store.withdrawn(now)
      return {
        trustDomain,
        bundles: [wireBundle(hierarchy.bundle)],
        revokedIds: [...ids],
        revokedSerials: [...serials],
        revokedIssuers: [...hierarchy.revokedIssuers],
        policy: policyFor(id),
        callees: calleesFor(id),
        endpoints: endpointsFor(id),
      }
    },
  }
}

async function readTold(store: CaStore, trustDomain: TrustDomain): Promise<Told> {
  const stored = await store.policy()
  const policy =
    stored === undefined ? EMPTY_POLICY : { ...parsePolicy(stored.yaml), version: stored.version }
  const endpoints = await store.endpoints()
  const { position } = await store.mesh()
  return { policy, compiled: compilePolicy(policy, trustDomain), endpoints, position }
}
