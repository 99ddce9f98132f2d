// A connection of HTTP/1.1 (RFC 9112) in the client's role, over any transport: one request at a time, answers go to sinks as structure. What a server
// says at the wrong time ends the connection: it could be taken for the answer to the next request.

import type { RawFields, RequestHead } from '../http/message.js'
import type { Follows, HttpStream, ResponseSink } from '../http/stream.js'
import { H2, StreamError } from '../http/stream-error.js'
import { BodyReader, type BodySink } from './body-reader.js'
import { BodyWriter } from './body-writer.js'
import type { ClientEvents, ClientOptions } from './contract.js'
import { lost, malformed } from './errors.js'
import { UNTIL_CLOSE } from './field-reader.js'
import { HeadGatherer } from './head-gatherer.js'
import { formatRequest, formatWebsocketRequest, frameRequest } from './head-writer.js'
import { checkStatusLine, type ReadResponse, readResponse } from './response-reader.js'
import { Sender, type SenderEvents } from './sender.js'
import { Stream, type StreamCore } from './stream.js'
import { acceptOf, makeWebsocketKey } from './websocket.js'

/** Interim responses to one request; a server that sends more never answers. */
const MAX_INTERIMS = 100

export class Http1Client implements StreamCore, SenderEvents, BodySink {
  readonly #options: ClientOptions
  readonly #events: ClientEvents
  readonly #sender: Sender
  readonly #gatherer: HeadGatherer
  readonly #body: BodyReader
  readonly #writer: BodyWriter
  #stream: Stream | null = null
  #sink: ResponseSink | null = null
  #method = ''
  #websocketKey: string | null = null
  #isTunnel = false
  /** `silent`: not a byte of it has come. */
  #answer: 'silent' | 'head' | 'body' = 'silent'
  #interims = 0
  #tookBody = false
  #persists = true
  #isPaused = false
  #isReading = false
  #isClosed = false

  constructor(options: ClientOptions, events: ClientEvents) {
    this.#options = options
    this.#events = events
    this.#sender = new Sender(options.wire, this)
    this.#gatherer = new HeadGatherer(options.limits.maxHeadBytes, checkStatusLine)
    this.#body = new BodyReader(this, options.limits)
    this.#writer = new BodyWriter(this.#sender)
  }

  /** No request is under way, and one may be sent. */
  get isIdle(): boolean {
    return this.#stream === null && this.isReusable
  }

  /** As far as is known, the connection may take a request after the one that is under way. */
  get isReusable(): boolean {
    return this.#persists && !this.#isClosed
  }

  /**
   * Sends a request.
   * @throws StreamError HTTP1_CONNECTION_LOST when the connection is not idle, CALL_MALFORMED when the head cannot be sent
   */
  request(head: RequestHead, follows: Follows, sink: ResponseSink): HttpStream {
    if (!this.isIdle) throw lost(H2.REFUSED_STREAM, 'the connection takes no request')
    if (head.protocol === null) this.#sendHead(head, follows)
    else this.#sendHandshake(head)
    const stream = new Stream(this)
    stream.sink = sink
    stream.local = follows === 'nothing' && head.protocol === null ? 'closed' : 'body'
    this.#stream = stream
    this.#sink = sink
    this.#isTunnel = false
    this.#answer = 'silent'
    this.#interims = 0
    this.#tookBody = false
    this.#sender.wake()
    return stream
  }

  /** Bytes from the transport. They are used up when this returns. */
  feed(bytes: Buffer): void {
    if (this.#isClosed) return
    this.#isReading = true
    try {
      this.#read(bytes)
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      this.#finish(error)
    } finally {
      this.#isReading = false
    }
    if (this.isIdle) this.#events.onIdle()
    this.#balance()
  }

  flush(): void {
    this.#sender.flushed()
  }

  /** The transport has taken the last write. */
  written(): void {
    this.#sender.written()
  }

  /** The server says nothing more: the end of some bodies, and of everything else too early. */
  ended(): void {
    if (this.#isClosed) return
    this.#persists = false
    const stream = this.#stream
    if (stream !== null && this.#body.isUntilClose) this.#endRemote(stream)
    else this.#lose('the server ended the connection')
  }

  /** The transport is gone: nothing can be written any more. */
  lost(): void {
    this.#sender.stop()
    this.#lose('the connection was lost')
  }

  /** Ends everything now; a stream hears HTTP1_CONNECTION_LOST. */
  close(): void {
    this.#lose('the connection was closed')
  }

  #sendHead(head: RequestHead, follows: Follows): void {
    if (head.method === 'CONNECT') throw malformed('CONNECT is not sent')
    const framing = frameRequest(head, follows)
    this.#sender.text(formatRequest(head.method, head, framing.line))
    this.#writer.begin(framing.form, framing.length)
    this.#method = head.method
    this.#websocketKey = null
  }

  #sendHandshake(head: RequestHead): void {
    if (head.protocol !== 'websocket') throw malformed('HTTP/1.1 is upgraded to websocket only')
    const key = makeWebsocketKey()
    this.#sender.text(formatWebsocketRequest(head, key))
    // What is written before the server agrees waits: it would be read as HTTP.
    this.#writer.begin('none', 0)
    this.#method = 'GET'
    this.#websocketKey = key
  }

  #read(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length && !this.#isClosed) {
      const stream = this.#stream
      if (stream === null) throw malformed('the server says what nobody has asked for')
      at = this.#answer === 'body' ? this.#readBody(stream, bytes, at) : this.#readHead(stream, bytes, at)
    }
  }

  #readHead(stream: Stream, bytes: Buffer, at: number): number {
    this.#answer = 'head'
    const next = this.#gatherer.take(bytes, at)
    if (next < 0) return bytes.length
    const head = readResponse(this.#gatherer.text, this.#options.limits.maxFields, this.#method)
    if (head.status === 101) this.#beginTunnel(head)
    else if (head.status < 200) this.#interim(head)
    else this.#beginBody(stream, head)
    return next
  }

  #interim({ status, fields, persists }: ReadResponse): void {
    if (!persists) throw malformed('an interim response ends the connection')
    if (++this.#interims > MAX_INTERIMS) throw malformed('too many interim responses')
    this.#sink?.onInterim({ status, fields })
  }

  #beginBody(stream: Stream, { status, fields, framing, persists }: ReadResponse): void {
    // A user to whom 2xx means that the tunnel stands must not hear of it.
    if (this.#websocketKey !== null && status < 300)
      throw malformed('the server answers a WebSocket handshake as a plain request')
    if (!persists || framing === UNTIL_CLOSE) this.#persists = false
    if (this.#websocketKey !== null) {
      stream.local = 'closed'
      stream.isMute = true
    }
    this.#answer = 'body'
    this.#body.begin(framing)
    const isWhole = this.#body.isWhole
    this.#sink?.onHead({ status, fields })
    if (isWhole && !stream.isAbandoned) this.#endRemote(stream)
  }

  #beginTunnel({ fields, websocketAccept }: ReadResponse): void {
    if (this.#websocketKey === null) throw malformed('101 where no upgrade was asked for')
    if (websocketAccept !== acceptOf(this.#websocketKey))
      throw malformed('the WebSocket handshake is not proved')
    this.#persists = false
    this.#isTunnel = true
    this.#answer = 'body'
    this.#body.begin(UNTIL_CLOSE)
    this.#writer.begin('raw', 0)
    this.#sink?.onHead({ status: 200, fields })
  }

  #readBody(stream: Stream, bytes: Buffer, from: number): number {
    const at = this.#body.read(bytes, from)
    if (this.#body.isWhole && !stream.isAbandoned) this.#endRemote(stream)
    return at
  }

  /** Not for users: the body reader calls it. */
  onBody(bytes: Buffer): void {
    if (this.#stream === null) return
    this.#stream.heldBytes += bytes.length
    this.#stream.sink.onData(bytes)
  }

  /** Not for users: the body reader calls it. */
  onTrailers(fields: RawFields): void {
    this.#stream?.sink.onTrailers(fields)
  }

  #endRemote(stream: Stream): void {
    this.#body.stop()
    // Of a request that is still being sent the server may or may not read the rest.
    if (stream.local !== 'closed') this.#persists = false
    stream.remote = 'closed'
    stream.sink.onEnd()
    if (stream.isClosed) this.#over(stream)
  }

  /** Never called: only a server has them. */
  sendInterim(): void {
    throw new TypeError('a client sends no interim response')
  }

  /** Never called: the head is sent with `request`. */
  sendHead(): void {
    throw new TypeError('a client sends no response')
  }

  sendBody(bytes: Uint8Array): boolean {
    return !this.#write(bytes, null) || this.#sender.wakeOrHold()
  }

  sendEnd(bytes: Uint8Array, trailers: RawFields): void {
    const stream = this.#stream
    if (stream === null || !this.#write(bytes, trailers)) return
    stream.local = 'closed'
    if (this.#isTunnel) this.#sender.shut()
    else this.#sender.wake()
    if (stream.isClosed) this.#over(stream)
  }

  /** @returns false when it was not what the head had declared, which ends the connection */
  #write(bytes: Uint8Array, trailers: RawFields | null): boolean {
    if (bytes.length > 0) this.#tookBody = true
    const fault = this.#writer.write(bytes, trailers)
    if (fault !== undefined) this.#finish(fault)
    return fault === undefined
  }

  /** Both messages are over. */
  #over(stream: Stream): void {
    if (this.#stream !== stream) return
    this.#stream = null
    this.#sink = null
    this.#sender.settle()
    if (!this.#persists) this.#finish(undefined)
    else if (!this.#isReading) {
      this.#balance()
      this.#events.onIdle()
    }
  }

  onConsumed(): void {
    this.#balance()
  }

  onDrained(): void {
    if (this.#stream?.local === 'body') this.#stream.sink.onDrain()
  }

  /** The user ends it: there is only the end of the connection. */
  reset(): void {
    this.#stream?.abandon()
    this.#finish(undefined)
  }

  #lose(why: string): void {
    const isUnanswered = this.#answer === 'silent' && !this.#tookBody
    this.#finish(this.#stream === null ? undefined : lost(isUnanswered ? H2.REFUSED_STREAM : H2.CANCEL, why))
  }

  #finish(error: StreamError | undefined): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#body.stop()
    this.#gatherer.drop()
    const stream = this.#stream
    this.#stream = null
    this.#sink = null
    if (stream !== null && !stream.isClosed) {
      stream.abandon()
      stream.sink.onReset(error ?? lost(H2.CANCEL, 'the connection was closed'))
    }
    this.#sender.end()
    this.#events.onClose(error)
  }

  /** An answer that is not taken away is not read. */
  #balance(): void {
    if (this.#isClosed) return
    const isFull = this.#stream !== null && this.#stream.heldBytes > this.#options.limits.windowBytes
    if (isFull === this.#isPaused) return
    this.#isPaused = isFull
    if (isFull) this.#options.wire.pause()
    else this.#options.wire.resume()
  }
}
