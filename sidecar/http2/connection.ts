// A connection of HTTP/2 (RFC 9113) in either role, over any transport: bytes are fed in, bytes are handed to the wire, and messages go to
// sinks as structure. No sockets, no timers, no mesh: deadlines are its user's, who calls `close` when one has passed.

import type { RequestHead } from '../http/message.js'
import type { Follows, ResponseSink } from '../http/stream.js'
import { H2, StreamError } from '../http/stream-error.js'
import type { ConnectionEvents, ConnectionOptions, Http2Stream, ServerEvents } from './contract.js'
import { Core } from './core.js'
import { violation } from './errors.js'
import { FrameReader } from './frame-reader.js'
import { LARGEST_STREAM_ID } from './frames.js'
import { Inbound, type UpkeepEvents } from './inbound.js'
import { Messages, type Side } from './messages.js'
import type { Role, Settings } from './settings.js'

/** PINGs that may be under way at once. */
const MAX_PINGS = 8

export class Http2Connection implements UpkeepEvents {
  protected readonly core: Core
  protected readonly messages: Messages
  readonly #reader: FrameReader
  readonly #inbound: Inbound
  readonly #now: () => number
  /** What to call when each PING comes back, in order. */
  readonly #pings: (() => void)[] = []
  #pingsSent = 0
  #pongs = 0
  #peerLastStreamId = LARGEST_STREAM_ID
  /** What has begun to arrive and is not whole, as a number of its own; 0: nothing. */
  #unfinished = 0
  #unfinishedSince = Number.POSITIVE_INFINITY

  protected constructor(role: Role, options: ConnectionOptions, events: ConnectionEvents, side: Side) {
    this.#now = options.now
    this.core = new Core(role, options, events, () => this.#reader.stop())
    this.messages = new Messages(this.core, side)
    this.#inbound = new Inbound(this.core, this.messages, this)
    this.#reader = new FrameReader(this.#inbound, role === 'server' ? 'preface' : 'no-preface')
    this.core.greet(side.allowsExtendedConnect && role === 'server')
  }

  /** What the peer allows. */
  get peer(): Settings {
    return this.core.peer
  }

  /** The peer has acknowledged our SETTINGS; one that does not for long is broken (SETTINGS_TIMEOUT). */
  get isAcknowledged(): boolean {
    return this.#inbound.isAcknowledged
  }

  /** Streams that are open, of both sides. */
  get openStreams(): number {
    return this.core.streams.size
  }

  get isClosed(): boolean {
    return this.core.life === 'closed'
  }

  /** Since when a head, or a frame beside DATA, has been arriving that is not whole yet; Infinity: none is. */
  get unfinishedSince(): number {
    return this.#unfinishedSince
  }

  /** Bytes from the transport. They are used up when this returns. */
  feed(bytes: Buffer): void {
    if (this.isClosed) return
    try {
      this.#reader.feed(bytes)
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      this.core.fail(error)
    }
    // a head keeps its time whatever frames it comes in; each other frame has its own
    const unfinished = this.#inbound.openBlock === 0 ? this.#reader.unfinished : -this.#inbound.openBlock
    if (unfinished === this.#unfinished) return
    this.#unfinished = unfinished
    this.#unfinishedSince = unfinished === 0 ? Number.POSITIVE_INFINITY : this.#now()
  }

  /** The end of a turn: what it has written leaves. */
  flush(): void {
    this.core.sender.flush()
  }

  /** The transport has taken the last write. */
  written(): void {
    this.core.sender.written()
  }

  /** The peer has half-closed the transport: its streams cannot go on, and there is nothing else to say. */
  ended(): void {
    this.core.sender.abort()
    this.lost()
  }

  /** The transport is gone, in whatever way: nothing can be written any more. */
  lost(): void {
    this.core.sender.stop()
    const { streams } = this.core
    this.core.close(
      streams.size === 0
        ? undefined
        : new StreamError('HTTP2_CONNECTION_LOST', H2.CANCEL, 'the connection ended while streams were open'),
    )
  }

  /**
   * Asks the peer for a sign of life.
   * @param onPong called when it comes
   * @returns false when too many are under way already
   */
  ping(onPong: () => void): boolean {
    if (this.isClosed || this.#pings.length >= MAX_PINGS) return false
    const payload = Buffer.alloc(8)
    payload.writeUInt32BE(this.#pingsSent++, 4)
    this.#pings.push(onPong)
    this.core.sender.ping(payload)
    return true
  }

  /** Takes and opens no new streams; the connection closes when the last one is over (RFC 9113 §6.8). */
  drain(): void {
    if (this.core.life !== 'open') return
    this.announceLeave()
  }

  /** How a side says that it leaves. */
  protected announceLeave(): void {
    this.core.life = 'leaving'
    this.core.sender.goaway(this.core.streams.lastOfPeer, H2.NO_ERROR)
    this.core.leaveWhenEmpty()
  }

  /** Ends everything now: open streams hear HTTP2_CONNECTION_LOST. @param code one of `H2`, for the peer */
  close(code: number): void {
    if (this.isClosed) return
    this.core.sender.goaway(this.core.streams.lastOfPeer, code)
    this.core.close(undefined)
  }

  /** Not for users: the inbound side calls it. */
  onPong(payload: Buffer): void {
    if (this.#pings.length === 0 || payload.readUInt32BE(4) !== this.#pongs) return
    this.#pongs += 1
    this.#pings.shift()?.()
  }

  /** Not for users: the inbound side calls it. */
  onGoaway(lastStreamId: number, code: number): void {
    const { core } = this
    core.spendUpkeep()
    if (lastStreamId > this.#peerLastStreamId)
      throw violation(H2.PROTOCOL_ERROR, 'GOAWAY takes streams back that it had refused')
    this.#peerLastStreamId = lastStreamId
    for (const stream of [...core.streams.all()])
      if (core.streams.isOwn(stream.id) && stream.id > lastStreamId)
        core.resetByPeer(stream, H2.REFUSED_STREAM)
    core.events.onGoaway(code)
    if (core.life !== 'closed') core.life = 'leaving'
    core.leaveWhenEmpty()
  }
}

export class ServerConnection extends Http2Connection {
  /** @param extendedConnect whether CONNECT may name a protocol (RFC 8441) */
  constructor(
    options: ConnectionOptions,
    events: ServerEvents,
    extendedConnect: 'extended-connect' | 'plain-connect',
  ) {
    super('server', options, events, {
      server: events,
      allowsExtendedConnect: extendedConnect === 'extended-connect',
    })
  }

  /**
   * Requests that were sent before the peer could know are still taken: a first GOAWAY names no last stream, and a second one follows when
   * a PING has shown that the first was seen (RFC 9113 §6.8).
   */
  protected override announceLeave(): void {
    this.core.life = 'draining'
    this.core.sender.goaway(LARGEST_STREAM_ID, H2.NO_ERROR)
    const isAsked = this.ping(() => this.#refuseNew())
    if (!isAsked) this.#refuseNew()
  }

  /** What is arriving has taken too long: the connection ends with CALL_TIMEOUT, for nothing else can come behind it. */
  expireHead(): void {
    this.core.fail(new StreamError('CALL_TIMEOUT', H2.ENHANCE_YOUR_CALM, 'a head did not arrive in time'))
  }

  /** Resets streams whose answers were whole before `before` and wait since for a window of the peer's. */
  expireAnswers(before: number): void {
    const { core } = this
    for (const stream of [...core.streams.all()])
      if (stream.local === 'ending' && stream.endingSince < before) core.reset(stream, H2.CANCEL)
  }

  #refuseNew(): void {
    const { core, messages } = this
    if (core.life === 'closed') return
    core.life = 'leaving'
    messages.lastAccepted = core.streams.lastOfPeer
    core.sender.goaway(messages.lastAccepted, H2.NO_ERROR)
    core.leaveWhenEmpty()
  }
}

export class ClientConnection extends Http2Connection {
  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    super('client', options, events, { server: null, allowsExtendedConnect: false })
  }

  /** How many requests may be sent now. After a 0, `onCapacity` says when to ask again. */
  get capacity(): number {
    return this.core.capacity
  }

  /** The peer has said that CONNECT may name a protocol (RFC 8441 §3). */
  get knowsExtendedConnect(): boolean {
    return this.core.peer.enableConnectProtocol
  }

  /**
   * Sends a request.
   *
   * @throws StreamError HTTP2_STREAM_REFUSED when there is no `capacity`, or no extended CONNECT with this peer; CALL_MALFORMED when the head
   *   cannot be sent
   */
  request(head: RequestHead, follows: Follows, sink: ResponseSink): Http2Stream {
    const { core } = this
    if (core.capacity === 0) throw cannotOpen('no more streams may be opened on this connection')
    if (head.protocol !== null && !this.knowsExtendedConnect)
      throw cannotOpen('the peer knows no extended CONNECT')
    const id = core.streams.nextOwn
    // An id that was not used for want of a sendable head is used for the next one.
    core.sender.request(id, head, follows)
    const stream = core.makeStream(core.streams.takeOwnId())
    stream.local = follows === 'more' ? 'body' : 'closed'
    stream.isBodyless = head.method === 'HEAD'
    stream.isConnect = head.method === 'CONNECT'
    stream.sink = sink
    stream.responseSink = sink
    return stream
  }
}

const cannotOpen = (why: string): StreamError =>
  new StreamError('HTTP2_STREAM_REFUSED', H2.REFUSED_STREAM, why)
