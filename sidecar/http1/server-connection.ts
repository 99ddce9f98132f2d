// A connection of HTTP/1.1 (RFC 9112) in the server's role, over any transport: bytes are fed in, text is handed to the wire, requests go to sinks
// as structure, one at a time and in order. No sockets, no timers, no mesh: deadlines are its user's.

import type { RawFields, ResponseHead } from '../http/message.js'
import type { Follows } from '../http/stream.js'
import { H2, StreamError } from '../http/stream-error.js'
import { BodyReader, type BodySink } from './body-reader.js'
import { BodyWriter } from './body-writer.js'
import type { ServerEvents, ServerOptions, ServerPhase } from './contract.js'
import { lost, malformed } from './errors.js'
import { UNTIL_CLOSE } from './field-reader.js'
import { BlankLine, HeadGatherer } from './head-gatherer.js'
import { formatResponse, formatTunnelResponse, frameResponse } from './head-writer.js'
import { InputQueue } from './input-queue.js'
import { checkRequestLine, type ReadRequest, readRequest } from './request-reader.js'
import { Sender, type SenderEvents } from './sender.js'
import { Stream, type StreamCore } from './stream.js'

export class Http1Server implements StreamCore, SenderEvents, BodySink {
  readonly #options: ServerOptions
  readonly #events: ServerEvents
  readonly #sender: Sender
  readonly #gatherer: HeadGatherer
  readonly #body: BodyReader
  readonly #writer: BodyWriter
  readonly #queue = new InputQueue()
  #phase: ServerPhase = 'idle'
  #since: number
  #stream: Stream | null = null
  /** What is being answered. Null when the answer is one to bytes that were refused. */
  #request: ReadRequest | null = null
  readonly #blank = new BlankLine()
  /** `awaited`: a request for one, not answered yet. What comes is kept. */
  #tunnel: 'none' | 'awaited' | 'open' = 'none'
  #persists = true
  #isReading = false
  #isBeginning = false
  #isClosed = false
  #isPaused = false
  #droppedBytes = 0
  /** Why the connection closes behind the answer. */
  #refusal: StreamError | undefined

  constructor(options: ServerOptions, events: ServerEvents) {
    this.#options = options
    this.#events = events
    this.#since = options.now()
    this.#sender = new Sender(options.wire, this)
    this.#gatherer = new HeadGatherer(options.limits.maxHeadBytes, checkRequestLine)
    this.#body = new BodyReader(this, options.limits)
    this.#writer = new BodyWriter(this.#sender)
  }

  get phase(): ServerPhase {
    return this.#phase
  }

  /** `now()` when the phase began; of `head`: when its first byte came. */
  get since(): number {
    return this.#since
  }

  get #isOpen(): boolean {
    return this.#phase !== 'closing'
  }

  /** Bytes from the transport. They are used up when this returns. */
  feed(bytes: Buffer): void {
    if (this.#phase === 'closing') return
    if (this.#queue.length > 0) this.#queue.add(bytes, 0)
    else {
      const at = this.#read(bytes)
      if (at < bytes.length && this.#isOpen) this.#queue.add(bytes, at)
    }
    this.#balance()
  }

  /** The end of a turn: what it has written leaves, and what waited behind an answer is read. */
  flush(): void {
    this.#sender.flushed()
    this.#readQueue()
  }

  /** The transport has taken the last write. */
  written(): void {
    this.#sender.written()
  }

  /** The peer has half-closed: outside of a tunnel it is taken for gone. */
  ended(): void {
    if (this.#phase === 'closing') return
    if (this.#tunnel === 'open') {
      this.#readQueue()
      if (this.#stream !== null) this.#endRemote(this.#stream)
    } else if (this.#phase === 'head') this.#refuse(malformed('the head has no end'))
    else this.#finish(this.#stream === null ? undefined : lost(H2.CANCEL, 'the client left'))
  }

  /** The transport is gone: nothing can be written any more. */
  lost(): void {
    this.#sender.stop()
    this.#finish(this.#stream === null ? undefined : lost(H2.CANCEL, 'the connection was lost'))
  }

  /** Takes no new requests: closes behind the message that is under way, at once when there is none. */
  drain(): void {
    this.#persists = false
    if (this.#phase === 'idle' && this.#queue.length === 0) this.#finish(undefined)
  }

  /** Ends everything now; a stream hears HTTP1_CONNECTION_LOST. */
  close(): void {
    this.#finish(this.#stream === null ? undefined : lost(H2.CANCEL, 'the connection was closed'))
  }

  /** The head has taken too long: it is refused with CALL_TIMEOUT. */
  expireHead(): void {
    if (this.#phase === 'head')
      this.#refuse(new StreamError('CALL_TIMEOUT', H2.CANCEL, 'the head did not arrive in time'))
  }

  #readQueue(): void {
    if (this.#queue.length === 0 || this.#isReading) return
    this.#queue.drop(this.#read(this.#queue.peek()))
    this.#balance()
  }

  /** @returns the position behind what was used */
  #read(bytes: Buffer): number {
    this.#isReading = true
    let at = 0
    try {
      while (at < bytes.length && this.#phase !== 'closing') {
        const before = at
        // Who does not take the answers away is not asked for more.
        if (this.#stream === null) at = this.#sender.isFull() ? at : this.#readHead(bytes, at)
        else if (!this.#body.isWhole) at = this.#readBody(this.#stream, bytes, at)
        if (at === before) break
      }
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      this.#refuse(error)
    } finally {
      this.#isReading = false
    }
    return at
  }

  #readHead(bytes: Buffer, from: number): number {
    const at = this.#gatherer.isEmpty ? this.#blank.skip(bytes, from) : from
    if (at >= bytes.length) return at
    const next = this.#gatherer.take(bytes, at)
    if (next < 0) {
      if (this.#phase === 'idle') this.#enter('head')
      return bytes.length
    }
    this.#blank.begin()
    const { limits, protects } = this.#options
    this.#begin(readRequest(this.#gatherer.text, limits.maxFields, protects))
    return next
  }

  #begin(request: ReadRequest): void {
    const stream = new Stream(this)
    this.#request = request
    this.#stream = stream
    this.#droppedBytes = 0
    if (!request.persists) this.#persists = false
    this.#body.begin(request.framing)
    this.#enter('message')
    const isTunnel = request.method === 'CONNECT'
    if (isTunnel) this.#tunnel = 'awaited'
    const isWhole = this.#body.isWhole && !isTunnel
    if (isWhole) stream.remote = 'closed'
    // It may be answered at once, and is over only when its user has heard of its end.
    this.#isBeginning = true
    stream.sink = this.#events.onRequest(stream, request)
    if (isWhole && !stream.isAbandoned) stream.sink.onEnd()
    this.#isBeginning = false
    if (stream.isClosed) this.#over(stream)
  }

  #readBody(stream: Stream, bytes: Buffer, from: number): number {
    const at = this.#body.read(bytes, from)
    if (this.#body.isWhole && !stream.isAbandoned) this.#endRemote(stream)
    return at
  }

  /** Not for users: the body reader calls it. */
  onBody(bytes: Buffer): void {
    const stream = this.#stream
    if (stream === null) return
    if (this.#isDropping) {
      this.#droppedBytes += bytes.length
      if (this.#droppedBytes > this.#options.limits.windowBytes) this.#finish(undefined)
      return
    }
    stream.heldBytes += bytes.length
    stream.sink.onData(bytes)
  }

  /** Not for users: the body reader calls it. */
  onTrailers(fields: RawFields): void {
    if (!this.#isDropping) this.#stream?.sink.onTrailers(fields)
  }

  /** The answer is over: the rest of the request is read for a while, so that the client gets to see the answer. */
  get #isDropping(): boolean {
    return this.#tunnel !== 'open' && this.#stream?.local === 'closed'
  }

  #endRemote(stream: Stream): void {
    this.#body.stop()
    stream.remote = 'closed'
    stream.sink.onEnd()
    if (stream.isClosed) this.#over(stream)
  }

  sendInterim(head: ResponseHead): void {
    // HTTP/1.0 knows no interim responses (RFC 9110 §15.2).
    if (this.#request?.version !== '1.1') return
    this.#sender.text(formatResponse(head, ''))
    this.#sender.wake()
  }

  sendHead(head: ResponseHead, follows: Follows): void {
    const stream = this.#stream
    if (stream === null) return
    if (this.#tunnel === 'awaited') {
      if (head.status < 300) {
        this.#openTunnel(stream, head)
        if (follows === 'nothing') this.#endLocal(stream)
        return
      }
      this.#tunnel = 'none'
      // What its client sends behind CONNECT may be meant for the tunnel.
      if (this.#request?.websocketKey == null) this.#persists = false
      stream.remote = 'closed'
    }
    const { method, version } = this.#request ?? UNKNOWN
    const framing = frameResponse(head, follows, method, version)
    if (framing.form === 'raw' || !this.#body.isWhole) this.#persists = false
    this.#sender.text(formatResponse(head, framing.line + this.#connectionLine(version)))
    this.#writer.begin(framing.form, framing.length)
    stream.local = 'body'
    this.#sender.wake()
    if (follows === 'nothing') this.#endLocal(stream)
  }

  #connectionLine(version: '1.0' | '1.1'): string {
    if (!this.#persists) return 'connection: close\r\n'
    return version === '1.0' ? 'connection: keep-alive\r\n' : ''
  }

  #openTunnel(stream: Stream, head: ResponseHead): void {
    this.#sender.text(formatTunnelResponse(head, this.#request?.websocketKey ?? null))
    this.#sender.wake()
    this.#tunnel = 'open'
    this.#persists = false
    this.#body.begin(UNTIL_CLOSE)
    this.#writer.begin('raw', 0)
    stream.local = 'body'
  }

  sendBody(bytes: Uint8Array): boolean {
    return !this.#write(bytes, null) || this.#sender.wakeOrHold()
  }

  sendEnd(bytes: Uint8Array, trailers: RawFields): void {
    const stream = this.#stream
    if (stream !== null && this.#write(bytes, trailers)) this.#endLocal(stream)
  }

  /** @returns false when it was not what the head had declared, which ends the connection */
  #write(bytes: Uint8Array, trailers: RawFields | null): boolean {
    const fault = this.#writer.write(bytes, trailers)
    if (fault !== undefined) this.#finish(fault)
    return fault === undefined
  }

  #endLocal(stream: Stream): void {
    stream.local = 'closed'
    if (this.#tunnel === 'open') this.#sender.shut()
    else this.#sender.wake()
    if (stream.isClosed) this.#over(stream)
    else this.#balance()
  }

  /** Both messages are over. */
  #over(stream: Stream): void {
    if (this.#isBeginning || this.#stream !== stream) return
    const isLast = this.#request?.persists === false && !this.#isReading
    this.#stream = null
    this.#request = null
    this.#tunnel = 'none'
    this.#sender.settle()
    if (!this.#persists) {
      // who says that a request is its last one sends nothing behind it (RFC 9112 §9.6)
      if (isLast && this.#queue.length === 0) this.#sender.leave()
      this.#finish(this.#refusal)
      return
    }
    this.#enter('idle')
    if (this.#queue.length > 0 && !this.#isReading) this.#sender.wake()
    this.#balance()
  }

  onConsumed(): void {
    this.#balance()
  }

  onDrained(): void {
    if (this.#stream === null) this.#readQueue()
    else if (this.#stream.local === 'body') this.#stream.sink.onDrain()
  }

  /** The user ends it: without an end of the answer, there is only the end of the connection. */
  reset(): void {
    this.#stream?.abandon()
    this.#finish(undefined)
  }

  /** Nothing more is read; the peer is told why, if it can be. */
  #refuse(error: StreamError): void {
    const stream = this.#stream
    const isAnswering = stream !== null && stream.local !== 'head'
    this.#stopReading()
    if (stream !== null) {
      stream.abandon()
      stream.sink.onReset(error)
    }
    if (this.#isClosed) return
    if (isAnswering) {
      this.#events.onRefused(error, null)
      this.#finish(error)
      return
    }
    const answer = new Stream(this)
    answer.remote = 'closed'
    this.#stream = answer
    this.#request = null
    this.#tunnel = 'none'
    this.#persists = false
    this.#refusal = error
    this.#events.onRefused(error, answer)
  }

  #stopReading(): void {
    this.#enter('closing')
    this.#body.stop()
    this.#gatherer.drop()
    this.#queue.drop(this.#queue.length)
  }

  #finish(error: StreamError | undefined): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#stopReading()
    const stream = this.#stream
    this.#stream = null
    if (stream !== null && !stream.isAbandoned && !stream.isClosed) {
      stream.abandon()
      stream.sink.onReset(error ?? lost(H2.CANCEL, 'the connection was closed'))
    }
    this.#sender.end()
    this.#events.onClose(error)
  }

  #enter(phase: ServerPhase): void {
    this.#phase = phase
    this.#since = this.#options.now()
  }

  /** Who sends more than may wait is not read from. */
  #balance(): void {
    if (this.#phase === 'closing') return
    const { limits, wire } = this.#options
    const isFull =
      this.#queue.length >= limits.maxQueuedBytes ||
      (this.#stream !== null && !this.#isDropping && this.#stream.heldBytes > limits.windowBytes)
    if (isFull === this.#isPaused) return
    this.#isPaused = isFull
    if (isFull) wire.pause()
    else wire.resume()
  }
}

/** What is known of a request that was refused: nothing. */
const UNKNOWN = { method: '', version: '1.0' } as const
