// Kept connections to callees, one pool for each place. A pool belongs to one certificate of ours and one view of the roots: after a
// rotation new calls use new connections, while those that carry a call run on until it ends.

import http, { type ClientRequest } from 'node:http'
import type { Duplex } from 'node:stream'
import type { SecureContext, TLSSocket } from 'node:tls'
import type { World } from '../../member/control/world.js'
import type { Endpoint } from '../../mesh/wire/feed.js'
import type { Parts } from '../parts.js'
import { clientContext, dial } from './dial.js'

export interface Pools {
  /**
   * A request that has, or waits for, a judged connection; nothing is sent.
   * @param use `any` connection, or only a `new` one
   */
  request(place: Endpoint, head: PooledHead, use: 'any' | 'new'): ClientRequest
  close(): void
}

export interface PooledHead {
  readonly method: string
  readonly path: string
  readonly fields: readonly string[]
}

/** Shorter than the ingress keeps idle connections, so that the end comes from here. */
const IDLE_MS = 60_000
const MAX_CONNECTIONS = 1024
const MAX_IDLE_CONNECTIONS = 32

export function openPools(parts: Parts): Pools {
  const pools = new Map<string, Pool>()
  let context = clientContext(parts.credentials.current(), parts.world.current().bundles)

  const retireAll = (): void => {
    for (const pool of pools.values()) pool.retire()
    pools.clear()
  }
  const renew = (): void => {
    context = clientContext(parts.credentials.current(), parts.world.current().bundles)
    retireAll()
  }
  parts.credentials.onRotate(renew)
  parts.world.onChange((world, previous) => {
    if (world.bundles !== previous.bundles) renew()
    else if (world.endpoints !== previous.endpoints) prune(pools, world)
    return 0
  })

  return {
    request(place, { method, path, fields }, use) {
      const key = keyOf(place)
      const pool = pools.get(key) ?? new Pool(parts, place, context)
      pools.set(key, pool)
      if (use === 'new') pool.dropIdle()
      return http.request({ agent: pool, method, path, headers: fields, host: place.host, port: place.port })
    },
    close: retireAll,
  }
}

const keyOf = ({ id, instanceId, host, port }: Endpoint): string => `${id} ${instanceId} ${host} ${port}`

function prune(pools: Map<string, Pool>, world: World): void {
  const present = new Set([...world.endpoints.values()].flat().map(keyOf))
  for (const [key, pool] of pools) {
    if (present.has(key)) continue
    pool.retire()
    pools.delete(key)
  }
}

/** node:http's agent over our dial. */
class Pool extends http.Agent {
  private readonly open: () => Promise<TLSSocket>

  constructor(parts: Parts, place: Endpoint, context: SecureContext) {
    super({
      keepAlive: true,
      scheduling: 'lifo',
      maxSockets: MAX_CONNECTIONS,
      maxFreeSockets: MAX_IDLE_CONNECTIONS,
      timeout: IDLE_MS,
    })
    this.open = () => dial(parts, place, context)
  }

  override createConnection(
    _options: unknown,
    done: (error: Error | null, socket?: Duplex) => void,
  ): undefined {
    this.open().then(
      (socket) => done(null, socket),
      (error: unknown) => done(error instanceof Error ? error : new Error(String(error))),
    )
  }

  dropIdle(): void {
    for (const socket of Object.values(this.freeSockets).flat()) socket?.destroy()
  }

  /** No connection is used again; those in use end with their call. */
  retire(): void {
    this.maxFreeSockets = 0
    this.dropIdle()
  }
}
