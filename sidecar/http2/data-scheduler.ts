// When whose DATA leaves: the peer's windows (RFC 9113 §5.2), and turns. What may go at once goes straight into the outbox; what may not is
// held with its stream, and streams that could send take turns of a small share, so that a bulk body never stands before a small one.

import { H2, type StreamError } from '../http/stream-error.js'
import { violation } from './errors.js'
import { DEFAULT_MAX_FRAME_BYTES, DEFAULT_WINDOW_BYTES, FLAG, FRAME, LARGEST_WINDOW_BYTES } from './frames.js'
import { Blocks, HeldBytes } from './held-bytes.js'
import type { Outbox } from './outbox.js'
import type { Stream } from './stream.js'

/** What one write should carry: more would only make others wait longer. */
const TURN_BYTES = 128 * 1024
/** What one stream sends before the next one's turn. */
const SHARE_BYTES = 16 * 1024
/** A frame of a stream that has the wire for itself. */
const ALONE_BYTES = 64 * 1024
/** Smaller frames do not count as work done: a peer can make them smaller by its window (Data Dribble, CVE-2019-9511). */
const FAIR_FRAME_BYTES = 1024

export interface SchedulerEvents {
  /** The last byte of a body is in the outbox: its trailers, or nothing, are what is left to say. */
  onBodySent(stream: Stream): void
}

export class DataScheduler {
  readonly #outbox: Outbox
  readonly #events: SchedulerEvents
  readonly #blocks = new Blocks()
  #connectionWindow = DEFAULT_WINDOW_BYTES
  #maxFrameBytes = DEFAULT_MAX_FRAME_BYTES
  /** Streams with queued bytes and an open window, first come first served. */
  #first: Stream | null = null
  #last: Stream | null = null
  #drained: Stream[] = []
  #frameCount = 0

  constructor(outbox: Outbox, events: SchedulerEvents) {
    this.#outbox = outbox
    this.#events = events
  }

  set maxFrameBytes(bytes: number) {
    this.#maxFrameBytes = bytes
  }

  /** True when `fill` could move something. */
  get isReady(): boolean {
    return this.#first !== null && this.#connectionWindow > 0
  }

  /**
   * Sends or holds a piece of body; the bytes are copied.
   * @returns false when something is held
   */
  write(stream: Stream, bytes: Uint8Array): boolean {
    const sent = this.#sendDirectly(stream, bytes)
    if (sent === bytes.length) return true
    stream.held ??= new HeldBytes(this.#blocks)
    stream.held.add(bytes, sent)
    stream.wantsDrain = true
    this.#line(stream)
    return false
  }

  /** What goes out of turn, because nobody waits and there is room. The last piece of a body takes END_STREAM with it. */
  #sendDirectly(stream: Stream, bytes: Uint8Array): number {
    if (stream.queuedBytes > 0 || this.#first !== null) return 0
    let sent = 0
    while (sent < bytes.length) {
      const room = Math.min(stream.sendWindow, this.#connectionWindow, TURN_BYTES - this.#outbox.length)
      const length = Math.min(bytes.length - sent, room, this.#maxFrameBytes, ALONE_BYTES)
      if (length <= 0) break
      const isLast = sent + length === bytes.length
      const at = this.#outbox.reserve(length)
      this.#outbox.buffer.set(sent === 0 && isLast ? bytes : bytes.subarray(sent, sent + length), at)
      this.#seal(stream, length, isLast)
      sent += length
    }
    return sent
  }

  /** Moves held bytes into the outbox, a share for each stream in turn, until the outbox is full or the peer's windows are. */
  fill(): void {
    while (this.isReady && this.#outbox.length < TURN_BYTES) {
      const stream = this.#next()
      if (stream === null) return
      const share = this.#first === null ? ALONE_BYTES : SHARE_BYTES
      const length = Math.min(
        share,
        stream.queuedBytes,
        stream.sendWindow,
        this.#connectionWindow,
        this.#maxFrameBytes,
      )
      if (length > 0) this.#sendQueued(stream, length)
      this.#line(stream)
    }
  }

  #sendQueued(stream: Stream, length: number): void {
    const at = this.#outbox.reserve(length)
    stream.held?.moveInto(this.#outbox.buffer, at, length)
    this.#seal(stream, length, stream.queuedBytes === 0)
    if (stream.queuedBytes > 0 || !stream.wantsDrain) return
    stream.wantsDrain = false
    if (stream.local === 'body') this.#drained.push(stream)
  }

  #seal(stream: Stream, length: number, isLast: boolean): void {
    const isEnd = isLast && stream.local === 'ending'
    const flags = isEnd && stream.trailers === null ? FLAG.END_STREAM : 0
    this.#outbox.seal(FRAME.DATA, flags, stream.id, length)
    if (length >= FAIR_FRAME_BYTES) this.#frameCount += 1
    stream.sendWindow -= length
    this.#connectionWindow -= length
    if (isEnd) this.#events.onBodySent(stream)
  }

  /** Frames of DATA, of `FAIR_FRAME_BYTES` at least, that were sent since the last call. */
  takeFrameCount(): number {
    const count = this.#frameCount
    this.#frameCount = 0
    return count
  }

  /** Calls those whose held bytes have all gone. */
  callDrained(): void {
    if (this.#drained.length === 0) return
    const drained = this.#drained
    this.#drained = []
    for (const stream of drained) if (stream.local === 'body') stream.sink.onDrain()
  }

  /** WINDOW_UPDATE of a stream. @returns false when the window would be too large (RFC 9113 §6.9.1) */
  widenStream(stream: Stream, increment: number): boolean {
    if (stream.sendWindow + increment > LARGEST_WINDOW_BYTES) return false
    stream.sendWindow += increment
    this.#line(stream)
    return true
  }

  /** WINDOW_UPDATE of the connection. @throws StreamError FLOW_CONTROL_ERROR */
  widenConnection(increment: number): void {
    this.#connectionWindow += increment
    if (this.#connectionWindow > LARGEST_WINDOW_BYTES) throw overflow()
  }

  /** SETTINGS_INITIAL_WINDOW_SIZE has changed (RFC 9113 §6.9.2). @throws StreamError FLOW_CONTROL_ERROR */
  shiftWindows(streams: Iterable<Stream>, delta: number): void {
    if (delta === 0) return
    for (const stream of streams) if (!this.widenStream(stream, delta)) throw overflow()
  }

  /** Puts a stream behind the others when it could send; one whose window is shut waits for the peer. */
  #line(stream: Stream): void {
    if (stream.isWaiting || stream.queuedBytes === 0 || stream.sendWindow <= 0) return
    stream.isWaiting = true
    if (this.#last === null) this.#first = stream
    else this.#last.nextWaiting = stream
    this.#last = stream
  }

  /** A stream that was reset meanwhile has no bytes left and drops out here. */
  #next(): Stream | null {
    const stream = this.#first
    if (stream === null) return null
    this.#first = stream.nextWaiting
    if (this.#first === null) this.#last = null
    stream.nextWaiting = null
    stream.isWaiting = false
    return stream
  }
}

const overflow = (): StreamError => violation(H2.FLOW_CONTROL_ERROR, 'a window is larger than 2^31-1')
