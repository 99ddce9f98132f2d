// An accepted connection, whatever it speaks: HTTP/1.1, HTTP/2, or the one of both that its first bytes say. Owns the deadlines of
// connections (a slow head, an idle peer); those of a call are the exchange's.

import type { Socket } from 'node:net'
import { type Sweep, type Swept, UNWATCHED } from '../../host/sweep.js'
import type { Turn } from '../../host/turn.js'
import type { RequestHead } from '../http/message.js'
import type { HttpStream, StreamSink } from '../http/stream.js'
import { H2, StreamError } from '../http/stream-error.js'
import { DEFAULT_HTTP1_LIMITS } from '../http1/contract.js'
import { Http1Server } from '../http1/server-connection.js'
import { ServerConnection } from '../http2/connection.js'
import { DEFAULT_LIMITS, type Limits } from '../http2/contract.js'
import { type Codec, SocketWire } from './socket-wire.js'

/** `either`: whoever begins with HTTP/2's preface speaks it (prior knowledge, RFC 9113 §3.3). */
export type Protocol = 'h2' | 'http/1.1' | 'either'

/** What a door does with the requests of one connection. */
export interface Service {
  /** @param isAbsolute the request named its host beside the connection: an absolute-form target, or HTTP/2 */
  onRequest(stream: HttpStream, head: RequestHead, isAbsolute: boolean): StreamSink
  /**
   * Bytes that are no request, or a head that is refused.
   * @param answer null where nothing can be answered any more
   */
  onRefused(error: StreamError, answer: HttpStream | null): void
}

export interface ServeOptions {
  readonly turn: Turn
  readonly sweep: Sweep
  /** Until the head of a request is whole. */
  readonly headMs: number
  /** Where reads land; null for sockets that are not accepted paused. */
  readonly reads: Buffer | null
  /** True for names of fields that Connection may not nominate, beside HTTP's own. */
  readonly protects: (foldedName: string) => boolean
}

/** Kept without a request in HTTP/1.1, and in HTTP/2. */
const IDLE_MS = 75_000
const IDLE_H2_MS = 300_000
/** How long a peer may take for what was written before its connection was given up. */
const LAST_WORDS_MS = 30_000
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
/** HTTP/1.1 has no method PRI: so many bytes tell one from the other. */
const TELLING_BYTES = 4

/** Of what agents and peers open at us; bodies are held back by windows, not by counts. */
export const SERVER_LIMITS: Limits = { ...DEFAULT_LIMITS, maxConcurrentStreams: 1024 }

export class ServedConnection implements Swept {
  watchedAt = UNWATCHED
  readonly #socket: Socket
  readonly #service: Service
  readonly #options: ServeOptions
  readonly #wire: SocketWire
  #http1: Http1Server | undefined
  #http2: ServerConnection | undefined
  /** When the last request began, or the connection did. */
  #since: number
  /** When the codec was first seen to be done. */
  #doneSince: number | undefined

  constructor(socket: Socket, protocol: Protocol, service: Service, options: ServeOptions) {
    this.#socket = socket
    this.#service = service
    this.#options = options
    this.#wire = new SocketWire(socket, options.turn, options.sweep, options.reads)
    this.#since = options.sweep.now()
    socket.on('close', () => options.sweep.forget(this))
    if (protocol === 'either') this.#wire.attach(new Sniffer(this))
    else this.#wire.attach(this.begin(protocol))
    options.sweep.watch(this, this.#since + options.headMs)
  }

  /** Takes no new request; ends when those that run have ended. */
  drain(): void {
    if (this.#http2 !== undefined) this.#http2.drain()
    else if (this.#http1 !== undefined) this.#http1.drain()
    else this.#wire.close()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  onGone(act: () => void): void {
    this.#socket.on('close', act)
  }

  look(now: number): number {
    if (this.#socket.destroyed) return Number.POSITIVE_INFINITY
    if (this.#http1 !== undefined) return this.#lookAtHttp1(this.#http1, now)
    if (this.#http2 !== undefined) return this.#lookAtHttp2(this.#http2, now)
    return this.#lookAtSilence(now)
  }

  /** Not for users: the sniffer calls it. */
  begin(protocol: 'h2' | 'http/1.1'): Codec {
    return protocol === 'h2' ? this.#beginHttp2() : this.#beginHttp1()
  }

  #beginHttp1(): Codec {
    const { protects, sweep } = this.#options
    const service = this.#service
    this.#http1 = new Http1Server(
      { wire: this.#wire, limits: DEFAULT_HTTP1_LIMITS, protects, now: () => sweep.now() },
      {
        onRequest: (stream, head) => service.onRequest(stream, head, head.isAbsolute),
        onRefused: (error, answer) => service.onRefused(error, answer),
        onClose: () => undefined,
      },
    )
    return this.#http1
  }

  #beginHttp2(): Codec {
    const { sweep } = this.#options
    const service = this.#service
    this.#http2 = new ServerConnection(
      { wire: this.#wire, limits: SERVER_LIMITS, now: () => sweep.now() },
      {
        onRequest: (stream, head) => {
          this.#since = sweep.now()
          return service.onRequest(stream, head, true)
        },
        onRefused: (error) => service.onRefused(error, null),
        onSettings: () => undefined,
        onGoaway: () => undefined,
        onCapacity: () => undefined,
        onClose: (error) => {
          if (error !== undefined && error.code !== 'HTTP2_CONNECTION_LOST') service.onRefused(error, null)
        },
      },
      'extended-connect',
    )
    return this.#http2
  }

  #lookAtHttp1(http1: Http1Server, now: number): number {
    const { headMs } = this.#options
    if (http1.phase === 'head') {
      if (now < http1.since + headMs) return http1.since + headMs
      http1.expireHead()
    } else if (http1.phase === 'idle') {
      // a connection that never said a word waits for a head
      const until = http1.since + (http1.since <= this.#since ? headMs : IDLE_MS)
      if (now < until) return Math.min(until, now + headMs)
      this.#wire.close()
    } else if (http1.phase === 'closing') return this.#lookAtLastWords(now)
    return now + headMs
  }

  #lookAtHttp2(http2: ServerConnection, now: number): number {
    const { headMs } = this.#options
    if (http2.isClosed) return this.#lookAtLastWords(now)
    http2.expireAnswers(now - LAST_WORDS_MS)
    if (now >= http2.unfinishedSince + headMs) http2.expireHead()
    else if (!http2.isAcknowledged && now >= this.#since + headMs) http2.close(H2.SETTINGS_TIMEOUT)
    else if (http2.openStreams === 0 && now >= this.#since + IDLE_H2_MS) {
      // a drain waits for the answer to a PING, and not every peer answers
      if (now >= this.#since + IDLE_H2_MS + LAST_WORDS_MS) http2.close(H2.NO_ERROR)
      else http2.drain()
    }
    const since = http2.isAcknowledged ? now : Math.min(now, this.#since)
    return Math.min(since, http2.unfinishedSince) + headMs
  }

  /** A codec closes its wire behind its last byte, which a peer that reads nothing never takes. */
  #lookAtLastWords(now: number): number {
    this.#doneSince ??= now
    const until = this.#doneSince + LAST_WORDS_MS
    if (now < until) return until
    this.#socket.destroy()
    return Number.POSITIVE_INFINITY
  }

  #lookAtSilence(now: number): number {
    const until = this.#since + this.#options.headMs
    if (now < until) return until
    const error = new StreamError('CALL_TIMEOUT', H2.CANCEL, 'the head did not arrive in time')
    this.#service.onRefused(error, null)
    this.#socket.destroy()
    return Number.POSITIVE_INFINITY
  }
}

/** Holds the first bytes until they tell which codec they are for. */
class Sniffer implements Codec {
  readonly #connection: ServedConnection
  #codec: Codec | undefined
  #held = Buffer.alloc(0)

  constructor(connection: ServedConnection) {
    this.#connection = connection
  }

  feed(bytes: Buffer): void {
    if (this.#codec !== undefined) {
      this.#codec.feed(bytes)
      return
    }
    const all = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
    const telling = all.subarray(0, TELLING_BYTES)
    const isPreface = telling.equals(PREFACE.subarray(0, telling.length))
    if (isPreface && all.length < TELLING_BYTES) {
      this.#held = Buffer.from(all)
      return
    }
    this.#codec = this.#connection.begin(isPreface ? 'h2' : 'http/1.1')
    this.#codec.feed(all)
  }

  ended(): void {
    if (this.#codec === undefined) this.#connection.destroy()
    else this.#codec.ended()
  }

  flush(): void {
    this.#codec?.flush()
  }

  written(): void {
    this.#codec?.written()
  }

  lost(): void {
    this.#codec?.lost()
  }
}
