// One judged HTTP/2 connection to one callee instance: ready when the peer has spoken, carrying calls until either end has something
// newer, watched for silence. It decides nothing about calls; which of several takes one is its place's matter.

import type { TLSSocket } from 'node:tls'
import { type Swept, UNWATCHED } from '../../host/sweep.js'
import { MeshError, type MeshErrorCode } from '../../mesh/errors.js'
import type { Svid } from '../../mesh/svid.js'
import type { Endpoint } from '../../mesh/wire/feed.js'
import type { Connection } from '../connections.js'
import type { RequestHead } from '../http/message.js'
import type { Follows, HttpStream, ResponseSink } from '../http/stream.js'
import { H2, nameOfCode, type StreamError } from '../http/stream-error.js'
import { ClientConnection } from '../http2/connection.js'
import type { ConnectionEvents } from '../http2/contract.js'
import { MESH_LIMITS, type Parts } from '../parts.js'
import { type Codec, SocketWire } from '../transport/socket-wire.js'
import type { Shown } from './dial.js'
import { isRefusal, Refusal } from './first-words.js'
import { type Followed, staleFrom, type Witnesses } from './witness.js'

/** A judged connection that carries calls. */
export interface PeerConnection {
  /** The callee, as judged. */
  readonly svid: Svid
  readonly place: Endpoint
  /** Why we tore it down; undefined when we did not. */
  readonly cutReason: MeshErrorCode | undefined
  /** It served a call before: a loss may be staleness. */
  readonly isUsed: boolean
  /**
   * Opens a stream. The call counts as outstanding, and keeps the connection past its leaf, until `leave` is called once.
   * @throws StreamError HTTP2_STREAM_REFUSED when it takes no more; CALL_MALFORMED when the head cannot be sent
   */
  open(head: RequestHead, follows: Follows, sink: ResponseSink): HttpStream
  leave(): void
}

/** Who chooses among connections. */
export interface Owner {
  /** The peer has accepted us. */
  onReady(connection: JudgedConnection): void
  /** The peer has not, or is gone before it said so. */
  onFailed(error: MeshError): void
  /** It may take calls again that it could not take before. */
  onCapacity(connection: JudgedConnection): void
  /** It takes no new calls any more. May come twice. */
  onLeaving(connection: JudgedConnection): void
  /** A call begins on it. */
  onEntered(): void
  /** A call has ended: there may be room. */
  onLeft(connection: JudgedConnection): void
}

export interface Dialled {
  readonly socket: TLSSocket
  readonly entry: Connection
  readonly svid: Svid
  readonly place: Endpoint
  readonly shown: Shown
  /** When the peer must have spoken; ms, monotonic. */
  readonly readyBy: number
}

const LOOK_EVERY_MS = 5000
const ASK_AGAIN_MS = 10_000
/** In looks: SETTINGS not acknowledged, 10 s; silence before a PING, 30 s; silence after it, 10 s; no call, 5 min. */
const LOOKS_FOR_SETTINGS = 2
const LOOKS_BEFORE_PING = 6
const LOOKS_BEFORE_END = 8
const LOOKS_UNUSED = 60

export class JudgedConnection implements PeerConnection, Codec, ConnectionEvents, Swept {
  watchedAt = UNWATCHED
  readonly svid: Svid
  readonly place: Endpoint
  readonly shown: Shown
  isUsed = false
  readonly #parts: Parts
  readonly #owner: Owner
  readonly #entry: Connection
  readonly #followed: Followed
  readonly #wire: SocketWire
  readonly #http2: ClientConnection
  readonly #staleAt: number
  readonly #readyBy: number
  #phase: 'unheard' | 'ready' | 'leaving' | 'over' = 'unheard'
  #hasSettings = false
  #refusal: Refusal | undefined
  #cause: Error | undefined
  #outstanding = 0
  #promised = 0
  #nextLookAt = 0
  /** The event loop has gone round since the last look: what the peer said by then has been read. */
  #hasTurned = true
  #isHeard = false
  /** Looks in a row that found it so. */
  #unacknowledged = 0
  #silent = 0
  #unused = 0

  constructor(parts: Parts, dialled: Dialled, owner: Owner, witnesses: Witnesses) {
    const { socket, entry, svid, place, shown, readyBy } = dialled
    this.#parts = parts
    this.#owner = owner
    this.#entry = entry
    this.svid = svid
    this.place = place
    this.shown = shown
    this.#staleAt = staleAt(svid, parts.clock.now())
    this.#readyBy = readyBy
    this.#followed = witnesses.follow({ socket, place, own: shown.svid }, svid)
    this.#wire = new SocketWire(socket, parts.turn, parts.sweep, parts.reads)
    this.#http2 = new ClientConnection(
      { wire: this.#wire, limits: MESH_LIMITS, now: () => parts.clock.monotonic() },
      this,
    )
  }

  /** Begins to listen; what becomes of it is told to the owner. */
  begin(): void {
    const { socket } = this.#wire
    socket.once('error', (error) => {
      this.#cause = error
    })
    this.#wire.attach(this)
    this.#parts.sweep.watch(this, this.#readyBy)
    if (socket.destroyed) this.lost()
  }

  get cutReason(): MeshErrorCode | undefined {
    return this.#entry.cutReason
  }

  /** How many calls it may take now. After a 0, the owner hears `onCapacity` or `onLeft`. */
  get capacity(): number {
    if (this.#phase !== 'ready' || this.#parts.clock.now() >= this.#staleAt) return 0
    return this.#http2.capacity - this.#promised
  }

  /** A call that has waited will open a stream, though not at once. */
  promise(): void {
    this.#promised += 1
  }

  open(head: RequestHead, follows: Follows, sink: ResponseSink): HttpStream {
    const stream = this.#http2.request(head, follows, sink)
    this.#outstanding += 1
    if (this.#promised > 0) this.#promised -= 1
    this.#owner.onEntered()
    if (this.#outstanding === 1) {
      this.#entry.enter()
      this.#followed.enter()
    }
    return stream
  }

  leave(): void {
    this.#outstanding -= 1
    if (this.#phase !== 'over') this.isUsed = true
    if (this.#outstanding === 0) {
      this.#followed.leave()
      this.#entry.leave()
    }
    this.#owner.onLeft(this)
  }

  /** No new calls; the running ones go on. */
  retire(): void {
    if (this.#phase !== 'ready') return
    this.#phase = 'leaving'
    this.#http2.drain()
    this.#owner.onLeaving(this)
  }

  /** At once, whatever runs. */
  close(): void {
    this.#phase = 'over'
    this.#http2.close(H2.NO_ERROR)
  }

  feed(bytes: Buffer): void {
    this.#isHeard = true
    if (this.#phase === 'unheard') this.#hear(bytes)
    else this.#http2.feed(bytes)
  }

  /** In TLS 1.3 our side of the handshake ends before the peer has judged us: its first words tell. */
  #hear(bytes: Buffer): void {
    if (this.#refusal === undefined && !this.#hasSettings && isRefusal(bytes))
      this.#refusal = new Refusal(this.place.id)
    if (this.#refusal !== undefined) {
      const error = this.#refusal.feed(bytes)
      if (error !== undefined) this.#fail(error)
      return
    }
    this.#http2.feed(bytes)
    // a GOAWAY behind the SETTINGS has turned us away in the meantime
    if (!this.#hasSettings || this.#phase !== 'unheard') return
    this.#phase = 'ready'
    this.#nextLookAt = this.#parts.sweep.now() + LOOK_EVERY_MS
    this.#parts.sweep.watch(this, this.#nextLookAt)
    this.#owner.onReady(this)
  }

  ended(): void {
    this.#http2.ended()
  }

  flush(): void {
    this.#http2.flush()
  }

  written(): void {
    this.#http2.written()
  }

  lost(): void {
    this.#parts.sweep.forget(this)
    this.#fail(this.#whyLost())
    this.#over()
    this.#http2.lost()
  }

  onSettings(): void {
    this.#hasSettings = true
  }

  onRefused(): void {
    // its sink hears the same
  }

  onGoaway(code: number): void {
    const { id } = this.place
    this.#fail(new MeshError('CALLEE_REFUSED', `${id} refused the connection: ${nameOfCode(code)}`))
    if (this.#phase !== 'ready') return
    this.#phase = 'leaving'
    this.#owner.onLeaving(this)
  }

  onCapacity(): void {
    this.#owner.onCapacity(this)
  }

  onClose(error: StreamError | undefined): void {
    const why = error?.message ?? 'it closed the connection'
    this.#fail(
      error?.code === 'HTTP2_CONNECTION_LOST' || error === undefined
        ? this.#whyLost()
        : new MeshError('CALLEE_REFUSED', `${this.place.id} does not speak HTTP/2: ${why}`),
    )
    this.#over()
  }

  /** Whether the peer is still there. Looks are counted, not milliseconds: time in which this process did not run is not its silence. */
  look(now: number): number {
    if (this.#wire.socket.destroyed) return Number.POSITIVE_INFINITY
    if (this.#phase === 'unheard') return this.#lookUnheard(now)
    if (now < this.#nextLookAt) return this.#nextLookAt
    this.#nextLookAt = now + LOOK_EVERY_MS
    if (!this.#hasTurned) return this.#nextLookAt
    // our last words had time enough
    if (this.#phase === 'over') this.#wire.destroy()
    this.#hasTurned = false
    this.#parts.turn.flush(this.#onTurned)
    // whoever has not come by now will not
    this.#promised = 0
    this.#unused = this.#outstanding === 0 ? this.#unused + 1 : 0
    this.#unacknowledged = this.#http2.isAcknowledged ? 0 : this.#unacknowledged + 1
    this.#silent = this.#isHeard ? 0 : this.#silent + 1
    this.#isHeard = false
    if (this.#silent >= LOOKS_BEFORE_END) this.#wire.destroy()
    else if (this.#unacknowledged > LOOKS_FOR_SETTINGS) this.#http2.close(H2.SETTINGS_TIMEOUT)
    else if (this.#unused >= LOOKS_UNUSED || this.#parts.clock.now() >= this.#staleAt) this.retire()
    else if (this.#silent === LOOKS_BEFORE_PING) this.#http2.ping(NOTHING_MORE)
    return this.#nextLookAt
  }

  #lookUnheard(now: number): number {
    if (now < this.#readyBy) return this.#readyBy
    const { id } = this.place
    const error =
      this.#refusal?.error() ?? new MeshError('CALLEE_UNREACHABLE', `${id} said nothing on the connection`)
    this.#fail(error)
    return Number.POSITIVE_INFINITY
  }

  readonly #onTurned = (): void => {
    this.#hasTurned = true
  }

  #whyLost(): MeshError {
    const { id } = this.place
    const { cutReason } = this
    if (cutReason !== undefined) return new MeshError(cutReason, `the connection to ${id} was cut`)
    if (this.#refusal !== undefined) return this.#refusal.error()
    const cause = this.#cause
    const code = cause !== undefined && 'code' in cause ? String(cause.code) : ''
    // the alert of a TLS that refuses our certificate comes behind our handshake
    if (code.startsWith('ERR_SSL'))
      return new MeshError('CALLEE_REFUSED', `TLS with ${id} failed: ${code}`, { cause })
    return new MeshError('CALLEE_UNREACHABLE', `${id} closed the connection before it spoke`, { cause })
  }

  /** Only what never was ready can fail. */
  #fail(error: MeshError): void {
    if (this.#phase !== 'unheard') return
    this.#phase = 'over'
    this.#wire.destroy()
    this.#owner.onFailed(error)
  }

  #over(): void {
    if (this.#phase === 'over') return
    this.#phase = 'over'
    this.#owner.onLeaving(this)
  }
}

/** Who shows a leaf that is about to end has none newer yet: it is asked again soon, and has its calls meanwhile. */
function staleAt(svid: Svid, now: number): number {
  const from = staleFrom(svid)
  return now < from ? from : Math.min(svid.notAfter, now + ASK_AGAIN_MS)
}

/** Its answer is heard like any other word. */
const NOTHING_MORE = (): void => undefined
