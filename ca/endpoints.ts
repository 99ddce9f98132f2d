// Where members are reached: who may announce which address, and when an endpoint goes. A member announces only itself, at the
// address its connection comes from or the one the operator set; it cannot place another's traffic at its own door.

import { isIPv4 } from 'node:net'
import type { Clock, Timer } from '../host/clock.js'
import { MeshError } from '../mesh/errors.js'
import { meaningOf } from '../mesh/spiffe-id.js'
import type { CaStore, Certificate } from './store/model.js'
import { type CaWorld, still } from './world.js'

/** A member that reconnects within this keeps its endpoint, so that a blink of the network tells nobody anything. */
const LOST_GRACE_MS = 15_000
/** After a start of the CA its members need longer to come back. */
const START_GRACE_MS = 60_000

export interface Announcement {
  /** Null: the source address. */
  readonly host: string | null
  readonly port: number
  /** Address that the member's connection comes from. */
  readonly source: string
}

export interface Endpoints {
  /** @throws MeshError ENDPOINT_NOT_ALLOWED | PEER_REVOKED */
  announce(member: Certificate, announcement: Announcement): Promise<void>
  withdraw(instanceId: string): Promise<void>
  /** The member is connected (again). */
  found(instanceId: string): void
  /** The member's connection ended: its endpoint goes after a short grace. */
  lost(instanceId: string): void
  close(): void
}

export interface EndpointsOptions {
  readonly store: CaStore
  readonly world: CaWorld
  readonly clock: Clock
  /** Takes errors of withdrawals that nobody waits for. */
  readonly failed: (error: unknown) => void
}

export function openEndpoints({ store, world, clock, failed }: EndpointsOptions): Endpoints {
  const leaving = new Map<string, Timer>()
  const present = new Set<string>()
  const withdraw = (instanceId: string): Promise<void> =>
    world.advance(async () => {
      const position = await store.withdraw(instanceId)
      const move = position === undefined ? undefined : { ...still(position), endpointsChanged: true }
      return { value: undefined, move }
    })
  const stay = (instanceId: string): void => {
    leaving.get(instanceId)?.cancel()
    leaving.delete(instanceId)
  }
  const leave = (instanceId: string, afterMs: number): void => {
    stay(instanceId)
    if (!world.endpoints().some((endpoint) => endpoint.instanceId === instanceId)) return
    const timer = clock.after(afterMs, () => {
      leaving.delete(instanceId)
      withdraw(instanceId).catch(failed)
    })
    leaving.set(instanceId, timer)
  }
  for (const { instanceId } of world.endpoints()) leave(instanceId, START_GRACE_MS)

  return {
    async announce(member, announcement) {
      const { id, instanceId, serial } = member
      const host = await allowedHost(store, member, announcement)
      await world.advance(async () => {
        const endpoint = { id, instanceId, host, port: announcement.port }
        const position = await store.announce(endpoint, serial, clock.now())
        const move = position === undefined ? undefined : { ...still(position), endpointsChanged: true }
        return { value: undefined, move }
      })
      // its connection may have ended while the announcement waited for its turn
      if (!present.has(instanceId)) leave(instanceId, LOST_GRACE_MS)
    },
    withdraw,
    found(instanceId) {
      present.add(instanceId)
      stay(instanceId)
    },
    lost(instanceId) {
      present.delete(instanceId)
      leave(instanceId, LOST_GRACE_MS)
    },
    close() {
      for (const timer of leaving.values()) timer.cancel()
      leaving.clear()
    },
  }
}

async function allowedHost(
  store: CaStore,
  { id }: Certificate,
  { host, port, source }: Announcement,
): Promise<string> {
  const meaning = meaningOf(id)
  if (meaning.kind !== 'agent' && meaning.kind !== 'collector')
    throw new MeshError('ENDPOINT_NOT_ALLOWED', `${id} is of a kind that is not called`)
  if (host === null || host === source || (isLoopback(host) && isLoopback(source))) return host ?? source
  const member = await store.findMember(meaning)
  const set = member?.address ?? null
  if (set !== null && (set === host || set === `${host}:${port}` || set === `[${host}]:${port}`)) return host
  throw new MeshError(
    'ENDPOINT_NOT_ALLOWED',
    `${id} announced ${host}, but it connects from ${source} and no address is set for it`,
    { hint: `set it on the CA: troth agent add ${meaning.name} --address ${host}` },
  )
}

/** Loopback addresses are all one host: 127.0.0.2 is no farther from its owner than 127.0.0.1. */
const isLoopback = (host: string): boolean => host === '::1' || (isIPv4(host) && host.startsWith('127.'))
