// One HTTP/2 connection to the app, with prior knowledge (RFC 9113 §3.3): many calls at once.

import type { Socket } from 'node:net'
import { type Swept, UNWATCHED } from '../../host/sweep.js'
import type { RequestHead } from '../http/message.js'
import type { Follows, HttpStream, ResponseSink } from '../http/stream.js'
import { ClientConnection } from '../http2/connection.js'
import { DEFAULT_LIMITS } from '../http2/contract.js'
import { SocketWire } from '../transport/socket-wire.js'
import type { AppConnection, Pool } from './app.js'

/** Kept without a call. */
const IDLE_MS = 60_000

export class Http2AppConnection implements AppConnection, Swept {
  watchedAt = UNWATCHED
  readonly #socket: Socket
  readonly #client: ClientConnection
  readonly #pool: Pool
  #isRetired = false
  isUsed = false
  /** The app has said what it allows, or is late with it. */
  readonly greeted: Promise<void>
  #greet: () => void = () => undefined
  readonly #connectBy: number
  #usedAt: number

  constructor(pool: Pool, gone: (connection: Http2AppConnection) => void) {
    this.#pool = pool
    this.greeted = new Promise((resolve) => {
      this.#greet = resolve
    })
    const wire = new SocketWire(pool.connect, pool.turn, pool.sweep, pool.reads)
    this.#socket = wire.socket
    this.#client = new ClientConnection(
      { wire, limits: DEFAULT_LIMITS, now: () => pool.sweep.now() },
      {
        onSettings: () => {
          this.#greet()
          pool.ready()
        },
        onRefused: () => undefined,
        onGoaway: () => {
          this.#isRetired = true
        },
        onCapacity: () => pool.ready(),
        onClose: () => undefined,
      },
    )
    wire.attach(this.#client)
    this.#usedAt = pool.sweep.now()
    this.#connectBy = this.#usedAt + pool.connectTimeoutMs
    pool.sweep.watch(this, this.#connectBy)
    this.#socket.once('close', () => {
      pool.sweep.forget(this)
      this.#greet()
      gone(this)
    })
  }

  /** It takes one more call. */
  get isFree(): boolean {
    return !this.#isRetired && !this.#socket.destroyed && this.#client.capacity > 0
  }

  get isTunnelFree(): boolean {
    return this.isFree && this.#client.knowsExtendedConnect
  }

  /** @throws StreamError */
  open(head: RequestHead, follows: Follows, sink: ResponseSink): HttpStream {
    const stream = this.#client.request(head, follows, sink)
    this.#usedAt = this.#pool.sweep.now()
    this.isUsed = true
    return stream
  }

  giveBack(): void {
    this.#pool.ready()
  }

  /** Takes no new call, and ends with those it has. */
  retire(): void {
    this.#isRetired = true
    this.#client.drain()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  look(now: number): number {
    if (now >= this.#connectBy) this.#greet()
    if (this.#socket.connecting && now >= this.#connectBy) this.destroy()
    else if (this.#client.openStreams === 0 && now >= this.#usedAt + IDLE_MS) this.retire()
    return this.#socket.destroyed ? Number.POSITIVE_INFINITY : now + this.#pool.connectTimeoutMs
  }
}
