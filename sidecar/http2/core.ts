// The heart of a connection: its streams, its sender, the windows towards the peer, what the peer may do for nothing, and the one way in
// which a stream or the whole connection ends. Frames are read by Inbound, heads by Messages; both act through this.

import type { ResponseHead } from '../http/message.js'
import type { Follows } from '../http/stream.js'
import { H2, nameOfCode, StreamError } from '../http/stream-error.js'
import { type Allowance, Budget } from './budget.js'
import type { ConnectionEvents, ConnectionOptions, Limits } from './contract.js'
import { flood, violation } from './errors.js'
import { DEFAULT_WINDOW_BYTES } from './frames.js'
import { Sender, type SenderEvents } from './sender.js'
import { formatSettings, INITIAL_SETTINGS, type Role, type Settings } from './settings.js'
import { Stream, type StreamCore } from './stream.js'
import { StreamTable } from './stream-table.js'

/** Streams that end by a reset of the peer's or by a fault of its: HTTP/2 Rapid Reset and its kin (CVE-2023-44487, CVE-2025-8671). */
const RESETS: Allowance = { burst: 1000, perSecond: 100 }
/** PING, SETTINGS, PRIORITY, DATA without data, interim heads, frames of unknown types; beyond one for each such frame. */
const UPKEEP: Allowance = { burst: 1000, perSecond: 100 }
/** WINDOW_UPDATE, beyond two for each frame of DATA worth the name that it got from us. */
const WINDOW_UPDATES: Allowance = { burst: 10_000, perSecond: 5000 }

/** Streams that we open before the peer has said how many it bears. */
const UNTOLD_STREAMS = 100
/** Heads may fill the outbox as well as answers; so much more than the answers alone before it is a flood. */
const HEADS_FACTOR = 4

export class Core implements StreamCore, SenderEvents {
  readonly role: Role
  readonly limits: Limits
  readonly events: ConnectionEvents
  readonly streams: StreamTable
  readonly sender: Sender
  readonly #resets: Budget
  readonly #upkeep: Budget
  readonly #windowUpdates: Budget
  readonly #onDead: () => void
  readonly #now: () => number
  peer: Settings = INITIAL_SETTINGS
  /** `draining`: we open no streams, but take what the peer sent before it could know. `leaving`: closed when the last stream is over. */
  life: 'open' | 'draining' | 'leaving' | 'closed' = 'open'
  /** What the peer may send to a new stream, as far as it has acknowledged it. */
  #streamWindow = DEFAULT_WINDOW_BYTES
  #receiveWindow: number
  #credit = 0
  #wasFull = false

  /** @param onDead nothing more may be read */
  constructor(role: Role, options: ConnectionOptions, events: ConnectionEvents, onDead: () => void) {
    this.role = role
    this.limits = options.limits
    this.events = events
    this.#onDead = onDead
    this.#now = options.now
    this.streams = new StreamTable(role === 'client' ? 1 : 2)
    this.sender = new Sender(options.wire, this)
    this.#resets = new Budget('streams that were reset', RESETS, options.now)
    this.#upkeep = new Budget('frames that bring no call forward', UPKEEP, options.now)
    this.#windowUpdates = new Budget('frames of WINDOW_UPDATE', WINDOW_UPDATES, options.now)
    this.#receiveWindow = DEFAULT_WINDOW_BYTES
  }

  /** Says the first words. */
  greet(enableConnectProtocol: boolean): void {
    const { limits } = this
    const settings: Settings = {
      headerTableBytes: limits.headerTableBytes,
      maxConcurrentStreams: limits.maxConcurrentStreams,
      initialWindowBytes: limits.streamWindowBytes,
      maxFrameBytes: limits.maxFrameBytes,
      maxHeaderListBytes: limits.maxHeaderListBytes,
      enableConnectProtocol,
    }
    this.sender.preface(this.role, formatSettings(settings, this.role))
    const more = limits.connectionWindowBytes - DEFAULT_WINDOW_BYTES
    if (more <= 0) return
    this.sender.windowUpdate(0, more)
    this.#receiveWindow += more
  }

  /** How many streams may be opened now. */
  get capacity(): number {
    if (this.life !== 'open' || this.streams.nextOwn > 0x7fff_ffff) return 0
    const allowed = this.peer === INITIAL_SETTINGS ? UNTOLD_STREAMS : this.peer.maxConcurrentStreams
    const isStuck = this.sender.backlogBytes > this.limits.maxBacklogBytes
    const free = isStuck ? 0 : Math.max(0, allowed - this.streams.ownCount)
    this.#wasFull = free === 0
    return free
  }

  makeStream(id: number): Stream {
    const stream = new Stream(id, this)
    stream.sendWindow = this.peer.initialWindowBytes
    stream.receiveWindow = this.#streamWindow
    this.streams.add(stream)
    return stream
  }

  sendInterim(stream: Stream, head: ResponseHead): void {
    this.sender.response(stream.id, head, 'more')
  }

  sendHead(stream: Stream, head: ResponseHead, follows: Follows): void {
    this.sender.response(stream.id, head, follows)
    if (follows === 'more') stream.local = 'body'
    else this.#endLocal(stream)
  }

  sendData(stream: Stream, bytes: Uint8Array): boolean {
    return this.sender.data(stream, bytes)
  }

  sendEnd(stream: Stream, bytes: Uint8Array): void {
    stream.local = 'ending'
    if (bytes.length > 0) this.sender.data(stream, bytes)
    else if (stream.queuedBytes === 0) {
      if (stream.trailers === null) this.sender.endData(stream.id)
      this.onBodySent(stream)
    }
    if (stream.queuedBytes > 0) stream.endingSince = this.#now()
  }

  /** The body has gone; END_STREAM with it, unless trailers are what ends the stream. */
  onBodySent(stream: Stream): void {
    if (stream.trailers !== null) this.sender.trailers(stream.id, stream.trailers)
    this.#endLocal(stream)
  }

  #endLocal(stream: Stream): void {
    stream.local = 'closed'
    if (stream.remote === 'closed') this.#remove(stream, 'us')
  }

  /** The peer has said everything on this stream. */
  endRemote(stream: Stream): void {
    stream.remote = 'closed'
    stream.sink.onEnd()
    if (stream.isClosed) this.#remove(stream, 'us')
  }

  /** The user ends it. */
  reset(stream: Stream, code: number): void {
    this.sender.reset(stream.id, code)
    if (stream.remote !== 'closed') this.streams.forgive(stream.id)
    this.#abandon(stream, 'us')
  }

  /** A fault of the peer ends it; the connection goes on (RFC 9113 §5.4.2). @throws StreamError HTTP2_FLOOD */
  failStream(stream: Stream, error: StreamError): void {
    this.reset(stream, error.h2)
    stream.sink.onReset(error)
    this.events.onRefused(error, stream.id)
    this.#resets.spend()
  }

  /** A stream that never came to be. @throws StreamError HTTP2_FLOOD */
  refuse(streamId: number, error: StreamError): void {
    this.sender.reset(streamId, error.h2)
    this.streams.forgive(streamId)
    this.events.onRefused(error, streamId)
    this.#resets.spend()
  }

  /** The peer ends it. @throws StreamError HTTP2_FLOOD */
  resetByPeer(stream: Stream, code: number): void {
    this.#abandon(stream, 'peer')
    stream.sink.onReset(resetError(code))
    // Only who may open streams at will can make a flood of their ends.
    if (this.role === 'server') this.#resets.spend()
  }

  #abandon(stream: Stream, knower: 'peer' | 'us'): void {
    stream.abandon()
    this.credit(stream.heldBytes)
    stream.heldBytes = 0
    this.#remove(stream, knower)
  }

  #remove(stream: Stream, knower: 'peer' | 'us'): void {
    this.streams.remove(stream, knower)
    this.announceCapacity()
    this.leaveWhenEmpty()
  }

  /** Says so when streams may be opened again. */
  announceCapacity(): void {
    if (this.#wasFull && this.capacity > 0) this.events.onCapacity()
  }

  /** A frame that brings no call forward. @throws StreamError HTTP2_FLOOD */
  spendUpkeep(): void {
    this.#earn()
    this.#upkeep.spend()
  }

  /** @throws StreamError HTTP2_FLOOD */
  spendWindowUpdate(): void {
    this.#earn()
    this.#windowUpdates.spend()
  }

  /** A peer that makes us answer and does not read may not make us keep the answers. @throws StreamError HTTP2_FLOOD */
  checkBacklog(): void {
    const { maxBacklogBytes } = this.limits
    if (
      this.sender.answerBytes > maxBacklogBytes ||
      this.sender.backlogBytes > maxBacklogBytes * HEADS_FACTOR
    )
      throw flood('too many answers wait for the peer to read')
  }

  /** Peers measure with PING, and widen windows, as bodies flow: what we have sent pays for that, dribbles aside. */
  #earn(): void {
    const frames = this.sender.bodies.takeFrameCount()
    if (frames === 0) return
    this.#upkeep.earn(frames)
    this.#windowUpdates.earn(2 * frames)
  }

  /** Counts a frame of DATA. @throws StreamError FLOW_CONTROL_ERROR when it is more than was allowed */
  charge(bytes: number): void {
    if (bytes > this.#receiveWindow)
      throw violation(H2.FLOW_CONTROL_ERROR, 'more was sent than the window of the connection allows')
    this.#receiveWindow -= bytes
  }

  /** Bytes of DATA that are held no longer. */
  credit(bytes: number): void {
    this.#credit += bytes
    if (this.#credit * 2 < this.limits.connectionWindowBytes || this.life === 'closed') return
    this.sender.windowUpdate(0, this.#credit)
    this.#receiveWindow += this.#credit
    this.#credit = 0
  }

  consume(stream: Stream, bytes: number): void {
    stream.heldBytes -= bytes
    this.credit(bytes)
    this.creditStream(stream, bytes)
  }

  creditStream(stream: Stream, bytes: number): void {
    stream.creditBytes += bytes
    if (stream.remote === 'closed' || stream.creditBytes * 2 < this.limits.streamWindowBytes) return
    this.sender.windowUpdate(stream.id, stream.creditBytes)
    stream.receiveWindow += stream.creditBytes
    stream.creditBytes = 0
  }

  /** The peer has taken note of our SETTINGS. */
  onSettingsAck(): void {
    const delta = this.limits.streamWindowBytes - this.#streamWindow
    this.#streamWindow += delta
    for (const stream of this.streams.all()) stream.receiveWindow += delta
  }

  leaveWhenEmpty(): void {
    if (this.life === 'leaving' && this.streams.size === 0) this.close(undefined)
  }

  /** A fault of the connection: the peer is told, everything ends (RFC 9113 §5.4.1). */
  fail(error: StreamError): void {
    if (this.life === 'closed') return
    this.sender.goaway(this.streams.lastOfPeer, error.h2)
    this.close(error)
  }

  /** Ends everything; what is in the outbox still leaves. */
  close(error: StreamError | undefined): void {
    if (this.life === 'closed') return
    this.life = 'closed'
    this.#onDead()
    for (const stream of [...this.streams.all()]) {
      this.streams.remove(stream, 'us')
      stream.abandon()
      stream.sink.onReset(lostError(error))
    }
    this.sender.end()
    this.events.onClose(error)
  }

  onHandedOver(): void {
    this.streams.onHandedOver()
  }

  onWritten(): void {
    this.streams.onWritten()
    this.announceCapacity()
  }
}

const resetError = (code: number): StreamError =>
  code === H2.REFUSED_STREAM
    ? new StreamError('HTTP2_STREAM_REFUSED', code, 'the peer refused the stream')
    : new StreamError('HTTP2_STREAM_RESET', code, `the peer reset the stream: ${nameOfCode(code)}`)

const lostError = (error: StreamError | undefined): StreamError =>
  new StreamError(
    'HTTP2_CONNECTION_LOST',
    error?.h2 ?? H2.CANCEL,
    `the connection ended${error === undefined ? '' : `: ${error.message}`}`,
  )
