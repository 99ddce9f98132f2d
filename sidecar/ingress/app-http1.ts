// One kept HTTP/1.1 connection to the app: one call at a time. It tells its pool when it is free and when it is gone.

import type { Socket } from 'node:net'
import { type Swept, UNWATCHED } from '../../host/sweep.js'
import type { RequestHead } from '../http/message.js'
import type { Follows, HttpStream, ResponseSink } from '../http/stream.js'
import { Http1Client } from '../http1/client-connection.js'
import { DEFAULT_HTTP1_LIMITS } from '../http1/contract.js'
import { SocketWire } from '../transport/socket-wire.js'
import type { AppConnection, Holder, Pool } from './app.js'

/** Many servers close idle connections after five seconds. */
const IDLE_MS = 4000

export interface Http1Events {
  idle(connection: Http1AppConnection): void
  gone(connection: Http1AppConnection): void
}

export class Http1AppConnection implements AppConnection, Swept {
  watchedAt = UNWATCHED
  readonly #pool: Pool
  readonly #events: Http1Events
  readonly #socket: Socket
  readonly #client: Http1Client
  #isConnected = false
  /** Whose call it serves; the pool's own. */
  holder: Holder | null = null
  isUsed = false
  /** When it must be connected, or ends for want of a call; ms monotonic. */
  #until: number

  constructor(pool: Pool, events: Http1Events) {
    this.#pool = pool
    this.#events = events
    const wire = new SocketWire(pool.connect, pool.turn, pool.sweep, pool.reads)
    this.#socket = wire.socket
    this.#client = new Http1Client(
      { wire, limits: DEFAULT_HTTP1_LIMITS, now: () => pool.sweep.now() },
      { onIdle: () => this.giveBack(), onClose: () => undefined },
    )
    wire.attach(this.#client)
    this.#until = pool.sweep.now() + pool.connectTimeoutMs
    pool.sweep.watch(this, this.#until)
    this.#socket.once('connect', () => {
      this.#isConnected = true
      this.#until = Number.POSITIVE_INFINITY
    })
    this.#socket.once('close', () => {
      pool.sweep.forget(this)
      events.gone(this)
    })
  }

  get isReusable(): boolean {
    return this.#client.isReusable && !this.#socket.destroyed
  }

  open(head: RequestHead, follows: Follows, sink: ResponseSink): HttpStream {
    if (this.#isConnected) this.#until = Number.POSITIVE_INFINITY
    return this.#client.request(head, follows, sink)
  }

  giveBack(): void {
    this.isUsed = true
    if (!this.isReusable) return
    const now = this.#pool.sweep.now()
    this.#until = now + IDLE_MS
    this.#pool.sweep.watch(this, this.#until)
    this.#events.idle(this)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  look(now: number): number {
    if (now < this.#until) return this.#until
    this.#socket.destroy()
    return Number.POSITIVE_INFINITY
  }
}
