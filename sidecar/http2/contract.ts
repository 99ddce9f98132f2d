// What a connection says to its user. Types only. Callbacks run inside `feed`, `flush` and `written`; one that throws is a bug of its owner.

import type { RequestHead } from '../http/message.js'
import type { HttpStream, StreamSink } from '../http/stream.js'
import type { StreamError } from '../http/stream-error.js'
import type { Wire } from '../http/wire.js'

export interface Http2Stream extends HttpStream {
  readonly id: number
}

export interface ConnectionEvents {
  /** The peer has (again) said what it allows. */
  onSettings(): void
  /** A stream that was refused before it reached a sink, or failed by a fault of the peer: for the record. */
  onRefused(error: StreamError, streamId: number): void
  /** The peer takes no new streams. Those it has taken go on. */
  onGoaway(code: number): void
  /** After `capacity` was 0: streams may be opened again. */
  onCapacity(): void
  /** Once, and last. Undefined when both sides were done. */
  onClose(error: StreamError | undefined): void
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
