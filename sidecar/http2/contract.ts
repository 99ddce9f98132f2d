// What the codec and its user say to each other: the transport below, the connection's events, one sink a stream, and what may be done
// with a stream. Types only. Callbacks run inside `feed`, `flush` and `written`; one that throws is a bug of its owner.

import type { Http2Error } from './error-codes.js'
import type { RawFields, RequestHead, ResponseHead } from './head.js'

/** The transport: a TLS or plain socket, a pipe, a test. */
export interface Wire {
  /** Takes the bytes of a turn. They stay untouched until the user calls `written`; no second write comes before. */
  write(bytes: Buffer): void
  /** Asks for one `flush` at the end of this turn of the event loop: `setImmediate`. */
  schedule(): void
  /** The last byte was written and `written` was called for it: nothing more comes, nothing more is read. */
  close(): void
}

/** Whether a head is all there is, or a body or trailers follow. */
export type Follows = 'more' | 'nothing'

/**
 * What the user of a stream hears. Behind `onEnd` the peer says nothing more, but while our message is under way `onDrain` and `onReset` may
 * still come; behind `onReset` comes nothing.
 */
export interface StreamSink {
  /** A piece of body, good for this call only: copy what is kept. It counts against the window until `consume`. */
  onData(bytes: Buffer): void
  /** Behind the last piece of body, before `onEnd`. */
  onTrailers(fields: RawFields): void
  /** The peer has said all of its message. Ours may still be under way. */
  onEnd(): void
  /** The stream is over before both messages were: reset by the peer, refused, or lost with its connection. */
  onReset(error: Http2Error): void
  /** What `write` had to hold back is on its way. */
  onDrain(): void
}

export interface ResponseSink extends StreamSink {
  /** 1xx; any number of them before the head. */
  onInterim(head: ResponseHead): void
  onHead(head: ResponseHead): void
}

export interface Http2Stream {
  readonly id: number
  /** The peer has sent all of its message: no data and no trailers will come. */
  readonly isRemoteEnded: boolean
  /** Neither side can say anything more. */
  readonly isClosed: boolean

  /** Server only, before `respond`. */
  interim(head: ResponseHead): void
  /** Server only, once. */
  respond(head: ResponseHead, follows: Follows): void
  /**
   * Sends a piece of body; the bytes are copied.
   * @returns false when something had to be held back: wait for `onDrain`
   */
  write(bytes: Uint8Array): boolean
  /** The last piece of body, and the end of our message. */
  end(bytes: Uint8Array): void
  /** The end of our message, behind everything written. */
  endWithTrailers(fields: RawFields): void
  /** Gives back so many bytes of window: they were taken from `onData` and are no longer held. */
  consume(bytes: number): void
  /** Ends the stream at once with one of `H2`; the sink hears nothing more. */
  reset(code: number): void
}

export interface ConnectionEvents {
  /** The peer has (again) said what it allows. */
  onSettings(): void
  /** A stream that was refused before it reached a sink, or failed by a fault of the peer: for the record. */
  onRefused(error: Http2Error, streamId: number): void
  /** The peer takes no new streams. Those it has taken go on. */
  onGoaway(code: number): void
  /** After `capacity` was 0: streams may be opened again. */
  onCapacity(): void
  /** Once, and last. Undefined when both sides were done. */
  onClose(error: Http2Error | undefined): void
}

export interface ServerEvents extends ConnectionEvents {
  /** A request. The sink that is returned gets its body. */
  onRequest(stream: Http2Stream, head: RequestHead): StreamSink
}

export interface Limits {
  /** Streams that the peer may have open. */
  readonly maxConcurrentStreams: number
  /** Of one head: names, values and 32 for each field. */
  readonly maxHeaderListBytes: number
  /** Body of one stream that may arrive without `consume`. */
  readonly streamWindowBytes: number
  /** The same of all streams together. */
  readonly connectionWindowBytes: number
  /** The largest frame we take. */
  readonly maxFrameBytes: number
  /** The dynamic table that the peer's encoder may use. */
  readonly headerTableBytes: number
  /** Answers to the peer's own frames that may wait for it to read. */
  readonly maxBacklogBytes: number
}

export const DEFAULT_LIMITS: Limits = {
  maxConcurrentStreams: 256,
  maxHeaderListBytes: 64 * 1024,
  streamWindowBytes: 256 * 1024,
  connectionWindowBytes: 4 * 1024 * 1024,
  maxFrameBytes: 16 * 1024,
  headerTableBytes: 4096,
  maxBacklogBytes: 1024 * 1024,
}

export interface ConnectionOptions {
  readonly wire: Wire
  readonly limits: Limits
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number
}
