// The app behind the sidecar, on loopback or a Unix socket: HTTP/1.1 over kept connections, one call at a time on each; gRPC, and apps that
// say so, by HTTP/2 with prior knowledge over few connections. Owns the number of connections, what one caller may hold of them, and who waits.

import net from 'node:net'
import { type Sweep, type Swept, UNWATCHED } from '../../host/sweep.js'
import type { Turn } from '../../host/turn.js'
import { MeshError } from '../../mesh/errors.js'
import type { Far } from '../call/exchange-contract.js'
import type { AppPlace } from '../config.js'
import { firstOf, type RequestHead } from '../http/message.js'
import { type Opener, READ_BYTES } from '../transport/socket-wire.js'
import { Http1AppConnection, type Http1Events } from './app-http1.js'
import { Http2AppConnection } from './app-http2.js'

/** Ready for one call. Given back unused, or used and forgotten: it finds its way back itself. */
export interface AppConnection extends Far {
  giveBack(): void
}

/** A caller, as far as the app's connections go. */
export interface Holder {
  /** How many of HTTP/1.1 its calls have now; the pool's own. */
  held: number
}

export interface App {
  /** What the app reads as Host: its own address, so that host checks made for local use pass. */
  readonly host: string
  /** What the ingress shows the app to prove itself. */
  readonly secret: string
  /**
   * A connection for one call. Nothing is sent; that it leads to somebody shows when something is.
   * @param use `new`: not one that was kept
   * @returns a promise when all are in use, or as many as this caller may have. @throws or rejects MeshError APP_UNREACHABLE, APP_SHARE_EXCEEDED
   *   when that lasts
   */
  take(head: RequestHead, use: 'any' | 'new', holder: Holder): AppConnection | Promise<AppConnection>
  close(): void
}

export interface AppOptions {
  readonly place: AppPlace
  readonly secret: string
  readonly turn: Turn
  readonly sweep: Sweep
  readonly connectTimeoutMs: number
}

/**
 * At once; all may wait for their next call, which is not for long. A caller gets one more only while more are left than it has: it may hold
 * half of them, the next one half of the rest, and who makes few calls at once always finds one.
 */
const MAX_CONNECTIONS = 512
const MAX_HTTP2_CONNECTIONS = 8

/** What a connection needs of the pool that it belongs to. */
export interface Pool {
  readonly turn: Turn
  readonly sweep: Sweep
  readonly connectTimeoutMs: number
  /** Where reads land. */
  readonly reads: Buffer
  readonly connect: Opener
  /** It can take a call (again). */
  ready(): void
}

export function openApp(options: AppOptions): App {
  return new AppPools(options)
}

class AppPools implements App {
  readonly host: string
  readonly secret: string
  readonly #options: AppOptions
  readonly #http1: Http1Pool
  readonly #http2: Http2Pool

  constructor(options: AppOptions) {
    this.#options = options
    const { place, secret } = options
    this.host = 'socketPath' in place ? 'localhost' : hostOf(place)
    this.secret = secret
    this.#http1 = new Http1Pool(options)
    this.#http2 = new Http2Pool(options)
  }

  take(head: RequestHead, use: 'any' | 'new', holder: Holder): AppConnection | Promise<AppConnection> {
    const isHttp2 = this.#options.place.http === 'h2c' || isGrpc(head)
    if (!isHttp2) return this.#http1.take(use, holder)
    return head.protocol === null ? this.#http2.take(use, holder) : this.#http2.takeForTunnel(use, holder)
  }

  close(): void {
    this.#http1.close()
    this.#http2.close()
  }
}

/** gRPC is spoken over HTTP/2 only. */
const isGrpc = ({ fields }: RequestHead): boolean =>
  firstOf(fields, 'content-type')?.startsWith('application/grpc') === true

const hostOf = ({ host, port }: { host: string; port: number }): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`

/** Connections of one version, and who waits for one. */
abstract class AppPool<Kept extends AppConnection> implements Pool {
  readonly turn: Turn
  readonly sweep: Sweep
  readonly connectTimeoutMs: number
  readonly reads = Buffer.allocUnsafeSlow(READ_BYTES)
  readonly #place: AppPlace
  /** Callers whose calls wait, and each one's calls in order. Who was served goes behind the others. */
  readonly #queues = new Map<Holder, Set<Waiting<Kept>>>()

  constructor({ place, turn, sweep, connectTimeoutMs }: AppOptions) {
    this.#place = place
    this.turn = turn
    this.sweep = sweep
    this.connectTimeoutMs = connectTimeoutMs
  }

  /** A connection that is free or new; undefined when there may be no more, or no more for this caller. */
  protected abstract find(use: 'any' | 'new', holder: Holder): Kept | undefined
  /** Why there was none for so long. */
  protected abstract scarce(holder: Holder): MeshError
  abstract close(): void

  take(use: 'any' | 'new', holder: Holder): Kept | Promise<Kept> {
    // nobody waits who could be served: only the caller's own calls are before this one
    const isFirst = this.#queues.size === 0 || !this.#queues.has(holder)
    return (isFirst ? this.find(use, holder) : undefined) ?? this.#wait(holder)
  }

  #wait(holder: Holder): Promise<Kept> {
    const queue = this.#queues.get(holder) ?? new Set()
    this.#queues.set(holder, queue)
    return new Promise((resolve, reject) => {
      const waiting = new Waiting<Kept>(this.sweep.now() + this.connectTimeoutMs, resolve, () => {
        queue.delete(waiting)
        if (queue.size === 0) this.#queues.delete(holder)
        reject(this.scarce(holder))
      })
      queue.add(waiting)
      this.sweep.watch(waiting, waiting.until)
    })
  }

  ready(): void {
    for (const [holder, queue] of this.#queues) {
      const [first] = queue
      const found = first === undefined ? undefined : this.find('any', holder)
      if (first === undefined || found === undefined) continue
      queue.delete(first)
      this.#queues.delete(holder)
      if (queue.size > 0) this.#queues.set(holder, queue)
      this.sweep.forget(first)
      first.resolve(found)
    }
  }

  readonly connect: Opener = (onread) => {
    const place = this.#place
    // head and body may leave in two writes: Nagle would hold the second until the first is acknowledged
    return 'socketPath' in place
      ? net.connect({ path: place.socketPath, allowHalfOpen: true, onread })
      : net.connect({ host: place.host, port: place.port, noDelay: true, allowHalfOpen: true, onread })
  }
}

class Waiting<Kept extends AppConnection> implements Swept {
  watchedAt = UNWATCHED
  readonly until: number
  readonly resolve: (connection: Kept) => void
  readonly #giveUp: () => void

  constructor(until: number, resolve: (found: Kept) => void, giveUp: () => void) {
    this.until = until
    this.resolve = resolve
    this.#giveUp = giveUp
  }

  look(now: number): number {
    if (now < this.until) return this.until
    this.#giveUp()
    return Number.POSITIVE_INFINITY
  }
}

const allInUse = (): MeshError => new MeshError('APP_UNREACHABLE', 'all connections to the app are in use')

class Http1Pool extends AppPool<Http1AppConnection> implements Http1Events {
  readonly #all = new Set<Http1AppConnection>()
  /** The one used last is used next: the others come to their idle end. */
  readonly #idle: Http1AppConnection[] = []

  /** Connections that no call has. */
  get #left(): number {
    return MAX_CONNECTIONS - this.#all.size + this.#idle.length
  }

  protected find(use: 'any' | 'new', holder: Holder): Http1AppConnection | undefined {
    if (use === 'new') for (const connection of this.#idle.splice(0)) connection.destroy()
    if (holder.held >= this.#left) return undefined
    const found = this.#kept() ?? this.#open()
    if (found === undefined) return undefined
    found.holder = holder
    holder.held += 1
    return found
  }

  protected scarce({ held }: Holder): MeshError {
    return held >= this.#left && this.#left > 0
      ? new MeshError(
          'APP_SHARE_EXCEEDED',
          'the calls of this caller hold their share of the connections to the app',
        )
      : allInUse()
  }

  #kept(): Http1AppConnection | undefined {
    for (let kept = this.#idle.pop(); kept !== undefined; kept = this.#idle.pop())
      if (kept.isReusable) return kept
    return undefined
  }

  #open(): Http1AppConnection | undefined {
    if (this.#all.size >= MAX_CONNECTIONS) return undefined
    const connection = new Http1AppConnection(this, this)
    this.#all.add(connection)
    return connection
  }

  idle(free: Http1AppConnection): void {
    this.#release(free)
    this.#idle.push(free)
    this.ready()
  }

  gone(lost: Http1AppConnection): void {
    this.#release(lost)
    this.#all.delete(lost)
    const at = this.#idle.indexOf(lost)
    if (at !== -1) this.#idle.splice(at, 1)
    this.ready()
  }

  #release(connection: Http1AppConnection): void {
    if (connection.holder === null) return
    connection.holder.held -= 1
    connection.holder = null
  }

  close(): void {
    for (const connection of this.#all) connection.destroy()
  }
}

class Http2Pool extends AppPool<Http2AppConnection> {
  readonly #all = new Set<Http2AppConnection>()

  protected find(use: 'any' | 'new'): Http2AppConnection | undefined {
    if (use === 'new') for (const connection of this.#all) connection.retire()
    for (const connection of this.#all) if (connection.isFree) return connection
    if (this.#all.size >= MAX_HTTP2_CONNECTIONS) return undefined
    const connection = new Http2AppConnection(this, (lost) => {
      this.#all.delete(lost)
      this.ready()
    })
    this.#all.add(connection)
    return connection
  }

  protected scarce(): MeshError {
    return allInUse()
  }

  /**
   * Extended CONNECT is for those who have said that they know it (RFC 8441 §3): unlike other calls it waits for the app's first words.
   * @throws MeshError APP_UNREACHABLE | APP_WEBSOCKET_UNSUPPORTED
   */
  async takeForTunnel(use: 'any' | 'new', holder: Holder): Promise<AppConnection> {
    const connection = await this.take(use, holder)
    await connection.greeted
    if (connection.isTunnelFree) return connection
    connection.giveBack()
    throw connection.isFree
      ? new MeshError('APP_WEBSOCKET_UNSUPPORTED', 'the app knows no extended CONNECT')
      : new MeshError('APP_UNREACHABLE', 'the connection to the app was lost')
  }

  close(): void {
    for (const connection of this.#all) connection.destroy()
  }
}
