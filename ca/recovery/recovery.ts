// The CA after it was restored from a backup, while it serves: it issues nothing until its members have returned what was revoked
// in the lost time, or the operator says that this is enough. What members say is weighed in the store; nothing is believed here.

import type { Clock } from '../../host/clock.js'
import type { Log } from '../../host/log.js'
import { MeshError } from '../../mesh/errors.js'
import type { SpiffeId } from '../../mesh/spiffe-id.js'
import { type Actor, CA_ITSELF, formatActor } from '../actor.js'
import type { Registry } from '../registry.js'
import type { CaStore, RecoveryState, Reporter, Returned, Revoked } from '../store/model.js'
import { type CaWorld, type Move, still } from '../world.js'

export interface Recovery {
  /** @throws MeshError CA_RESTORED while it waits */
  checkMayIssue(): void
  /**
   * Whether the instance is to say what it knows, and to keep it: while the CA waits, its own view does not hold it yet.
   * @param generation of the world it has; null: it has none, or did not say
   */
  wants(instanceId: string, generation: string | null): boolean
  /** @throws MeshError WIRE_TOO_LARGE | CA_NOT_RESTORED */
  returned(member: Reporter, told: Returned): Promise<void>
  /** Undefined when this CA never was restored. */
  state(): RecoveryState | undefined
  /**
   * Ends the waiting. What members said comes into force, but for what only the disbelieved said.
   * @throws MeshError CA_NOT_RESTORED
   */
  confirm(actor: Actor, disbelieved: readonly SpiffeId[]): Promise<RecoveryState | undefined>
}

export interface RecoveryOptions {
  readonly store: CaStore
  readonly world: CaWorld
  readonly registry: Registry
  readonly clock: Clock
  readonly log: Log
}

export async function openRecovery(options: RecoveryOptions): Promise<Recovery> {
  const { store, world, registry, clock, log } = options
  let state = await store.recovery()
  /** Those that nobody waits for, and that have told all the same. */
  const heard = new Set<string>()
  if (state?.endedAt === null) log.warn('ca.restored', { waitsFor: missingOf(state).length })

  const advance = <T extends { readonly revoked: Revoked | null }>(change: () => Promise<T>): Promise<T> =>
    world.advance(async () => {
      const value = await change()
      state = await store.recovery()
      return { value, move: moveOf(value.revoked) }
    })
  return {
    state: () => state,
    checkMayIssue() {
      if (state?.endedAt !== null) return
      throw new MeshError('CA_RESTORED', 'this CA was restored from a backup and waits for revocations')
    },
    wants(instanceId, generation) {
      if (state === undefined) return false
      if (state.endedAt === null) return true
      if (heard.has(instanceId)) return false
      const awaited = state.awaited.find((each) => each.instanceId === instanceId)
      if (awaited !== undefined) return awaited.returnedAt === null
      return generation !== null && generation !== world.position().generation
    },
    async returned(member, told) {
      const { revoked, ended, claims } = await advance(() =>
        store.returnRevocations(member, told, clock.now()),
      )
      if (told.last) heard.add(member.instanceId)
      log.info('recovery.returned', { id: member.id, claims: claims.length, last: told.last })
      const actor: Actor = { who: member.id, instance: member.instanceId, serial: null, source: null }
      for (const object of claims) await registry.act(actor, 'recovery.claim', object)
      for (const object of inForce(revoked)) await registry.act(CA_ITSELF, 'recovery.revoke', object)
      if (!ended) return
      log.warn('recovery.ended', { by: 'members' })
      await registry.act(CA_ITSELF, 'recovery.end', 'all members agree')
    },
    async confirm(actor, disbelieved) {
      const { revoked } = await advance(async () => ({
        revoked: await store.endRecovery({ by: formatActor(actor), disbelieved }, clock.now()),
      }))
      const without = disbelieved.length === 0 ? '' : `, not believing ${disbelieved.join(' ')}`
      await registry.act(actor, 'recovery.confirm', `${inForce(revoked).length} revocations${without}`)
      log.warn('recovery.ended', { by: formatActor(actor) })
      return state
    },
  }
}

/** The instances that are still to tell. */
export const missingOf = ({ awaited }: RecoveryState): readonly Reporter[] =>
  awaited.filter(({ returnedAt, isRevoked }) => returnedAt === null && !isRevoked)

const moveOf = (revoked: Revoked | null): Move | undefined =>
  revoked === null
    ? undefined
    : { ...still(revoked.position), revoked, endpointsChanged: revoked.endpointsChanged }

const said = ({ ids, serials }: Returned): string[] => [
  ...ids,
  ...serials.map(({ id, serial }) => `${id} ${serial}`),
]

const inForce = (revoked: Revoked | null): string[] =>
  revoked === null ? [] : said({ ids: revoked.ids, serials: revoked.serials, last: false })
