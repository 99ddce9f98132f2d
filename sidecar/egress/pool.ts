// Kept connections to callees, one pool for each place. A pool belongs to one certificate of ours and one view of the roots: after a
// rotation new calls use new connections, while those that carry a call run on until it ends.

import http, { type ClientRequest } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { World } from '../../member/control/world.js'
import type { Endpoint } from '../../mesh/wire/feed.js'
import { WITNESS_ALPN } from '../../mesh/wire/witness.js'
import type { Parts } from '../parts.js'
import { dial, type Shown, shownBy } from './dial.js'
import { type Followed, openWitnesses, staleFrom } from './witness.js'

export interface Pools {
  /**
   * A request that has, or waits for, a judged connection; nothing is sent.
   * @param use `any` connection, or only a `new` one
   */
  request(place: Endpoint, head: PooledHead, use: 'any' | 'new'): ClientRequest
  /** A call runs over the pooled connection until the function that comes back is called. */
  hold(socket: Socket): () => void
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
/** To one callee instance. A call that finds none costs a handshake at both ends; one too many costs its buffers, for IDLE_MS. */
const MAX_IDLE_CONNECTIONS = 256

interface Line {
  readonly followed: Followed
  calls: number
}

export function openPools(parts: Parts): Pools {
  const pools = new Map<string, Pool>()
  const lines = new WeakMap<Socket, Line>()
  let shown = shownBy(parts.credentials.current(), parts.world.current().bundles)
  const witnesses = openWitnesses(parts, async (place) => {
    const by = shown
    return { socket: await dial(parts, { place, shown: by, protocol: WITNESS_ALPN }), place, own: by.svid }
  })

  const retireAll = (): void => {
    for (const pool of pools.values()) pool.retire()
    pools.clear()
  }
  const renew = (): void => {
    shown = shownBy(parts.credentials.current(), parts.world.current().bundles)
    retireAll()
    witnesses.renewed()
  }
  parts.credentials.onRotate(renew)
  parts.world.onChange((world, previous) => {
    if (world.bundles !== previous.bundles) renew()
    else if (world.endpoints !== previous.endpoints) prune(pools, world)
    return 0
  })

  const openFor =
    (place: Endpoint, by: Shown): (() => Promise<TLSSocket>) =>
    async () => {
      const socket = await dial(parts, { place, shown: by, protocol: 'http/1.1' })
      const peer = parts.connections.of(socket)?.svid
      const own = by.svid
      if (peer !== undefined)
        lines.set(socket, { followed: witnesses.follow({ socket, place, own }, peer), calls: 0 })
      return socket
    }
  const isFresh = (socket: Socket): boolean => {
    const peer = parts.connections.of(socket)?.svid
    return peer !== undefined && parts.clock.now() < staleFrom(peer)
  }

  return {
    request(place, { method, path, fields }, use) {
      const key = keyOf(place)
      const pool = pools.get(key) ?? new Pool(openFor(place, shown), isFresh)
      pools.set(key, pool)
      if (use === 'new') pool.dropIdle()
      return http.request({ agent: pool, method, path, headers: fields, host: place.host, port: place.port })
    },
    hold(socket) {
      const connection = parts.connections.of(socket)
      const line = lines.get(socket)
      if (connection === undefined || line === undefined) return () => undefined
      const release = connection.hold()
      line.calls += 1
      if (line.calls === 1) line.followed.enter()
      return () => {
        line.calls -= 1
        if (line.calls === 0) line.followed.leave()
        release()
      }
    },
    close() {
      witnesses.close()
      retireAll()
    },
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
  private readonly isFresh: (socket: Socket) => boolean

  constructor(open: () => Promise<TLSSocket>, isFresh: (socket: Socket) => boolean) {
    super({
      keepAlive: true,
      scheduling: 'lifo',
      maxSockets: MAX_CONNECTIONS,
      maxFreeSockets: MAX_IDLE_CONNECTIONS,
      timeout: IDLE_MS,
    })
    this.open = open
    this.isFresh = isFresh
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

  /** The next call shall not begin on a connection whose peer's leaf is about to end: a new one shows the next leaf. */
  override keepSocketAlive(socket: Duplex): boolean {
    // typed as void, though its answer is what counts
    const isKept: (socket: Duplex) => unknown = super.keepSocketAlive.bind(this)
    return socket instanceof Socket && this.isFresh(socket) && isKept(socket) === true
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
