// Plain bytes as the far side of an exchange: the answer is 200 without fields, the bodies are what the socket carries, and an end is a
// half-close (RFC 9110 §9.3.6). Decides nothing.

import { type Sweep, type Swept, UNWATCHED } from '../../host/sweep.js'
import type { Far } from '../call/exchange-contract.js'
import type { RequestHead } from '../http/message.js'
import type { Follows, HttpStream, ResponseSink } from '../http/stream.js'
import { H2, StreamError } from '../http/stream-error.js'
import type { TextWire } from '../http/wire.js'
import { Sender, type SenderEvents } from '../http1/sender.js'
import type { Codec } from '../transport/socket-wire.js'

/** Received and not yet taken by the near side; a read more may come on top. */
const WINDOW_BYTES = 256 * 1024
/** How long the host may take to read the last bytes after both sides have ended. */
const LAST_BYTES_MS = 10_000
const NOTHING = new Uint8Array()

/** What it needs of a socket's wire. */
export interface TunnelWire extends TextWire {
  attach(codec: Codec): void
  destroy(): void
}

export class TunnelStream implements Far, HttpStream, Codec, SenderEvents, Swept {
  watchedAt = UNWATCHED
  readonly isUsed = false
  readonly #wire: TunnelWire
  readonly #sweep: Sweep
  readonly #sender: Sender
  #sink: ResponseSink | undefined
  #heldBytes = 0
  #isPaused = false
  #isLocalEnded = false
  isRemoteEnded = false
  #endsAt = 0

  /** @param wire of a socket that is connected and was not read from */
  constructor(wire: TunnelWire, sweep: Sweep) {
    this.#wire = wire
    this.#sweep = sweep
    this.#sender = new Sender(wire, this)
  }

  get isClosed(): boolean {
    return this.isRemoteEnded && this.#isLocalEnded
  }

  open(_head: RequestHead, follows: Follows, sink: ResponseSink): HttpStream {
    this.#sink = sink
    if (follows === 'nothing') this.end(NOTHING)
    return this
  }

  /** Answers, and begins to read. */
  begin(): void {
    this.#sink?.onHead({ status: 200, fields: [] })
    this.#wire.attach(this)
  }

  // The exchange's side.

  interim(): void {}

  respond(): void {}

  write(bytes: Uint8Array): boolean {
    this.#sender.bytes(bytes)
    return this.#sender.wakeOrHold()
  }

  end(bytes: Uint8Array): void {
    if (this.#isLocalEnded) return
    this.#sender.bytes(bytes)
    this.#isLocalEnded = true
    this.#sender.shut()
    this.#settle()
  }

  /** A tunnel has no trailers (RFC 9113 §8.5). */
  endWithTrailers(): void {
    this.end(NOTHING)
  }

  consume(bytes: number): void {
    this.#heldBytes -= bytes
    this.#balance()
  }

  reset(): void {
    this.#sink = undefined
    this.#wire.destroy()
  }

  // The socket's side.

  feed(bytes: Buffer): void {
    this.#heldBytes += bytes.length
    this.#sink?.onData(bytes)
    this.#balance()
  }

  ended(): void {
    this.isRemoteEnded = true
    this.#sink?.onEnd()
    this.#settle()
  }

  flush(): void {
    this.#sender.flushed()
  }

  written(): void {
    this.#sender.written()
  }

  onDrained(): void {
    if (!this.#isLocalEnded) this.#sink?.onDrain()
  }

  lost(): void {
    this.#sender.stop()
    this.#sweep.forget(this)
    const sink = this.#sink
    this.#sink = undefined
    if (!this.isClosed)
      sink?.onReset(new StreamError('HTTP1_CONNECTION_LOST', H2.CONNECT_ERROR, 'it was lost'))
  }

  #settle(): void {
    if (!this.isClosed) return
    this.#sender.end()
    this.#endsAt = this.#sweep.now() + LAST_BYTES_MS
    this.#sweep.watch(this, this.#endsAt)
  }

  look(now: number): number {
    if (now < this.#endsAt) return this.#endsAt
    this.#wire.destroy()
    return Number.POSITIVE_INFINITY
  }

  #balance(): void {
    const isFull = this.#heldBytes > WINDOW_BYTES
    if (isFull === this.#isPaused || this.isRemoteEnded) return
    this.#isPaused = isFull
    if (isFull) this.#wire.pause()
    else this.#wire.resume()
  }
}
