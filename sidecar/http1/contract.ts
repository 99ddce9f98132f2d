// What a connection of HTTP/1.1 and its user say to each other. Types and figures only. Callbacks run inside `feed`, `flush`, `written` and the
// like; one that throws is a bug of its owner.

import type { RequestHead } from '../http/message.js'
import type { HttpStream, StreamSink } from '../http/stream.js'
import type { StreamError } from '../http/stream-error.js'
import type { TextWire } from '../http/wire.js'

export interface Http1Limits {
  /** Of a head, with its start line and all line breaks. */
  readonly maxHeadBytes: number
  readonly maxFields: number
  readonly maxTrailerBytes: number
  /** Body that may arrive without `consume`; a read more may come on top. */
  readonly windowBytes: number
  /** Input that may wait while a message is under way; a read more may come on top. */
  readonly maxQueuedBytes: number
}

export const DEFAULT_HTTP1_LIMITS: Http1Limits = {
  maxHeadBytes: 64 * 1024,
  maxFields: 200,
  maxTrailerBytes: 16 * 1024,
  windowBytes: 256 * 1024,
  maxQueuedBytes: 16 * 1024,
}

export interface ClientOptions {
  readonly wire: TextWire
  readonly limits: Http1Limits
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number
}

export interface ServerOptions extends ClientOptions {
  /** True for further folded names that Connection may not nominate (`foldName`). */
  readonly protects: (foldedName: string) => boolean
}

export interface ArrivedHead extends RequestHead {
  /** The target was an `http://` URL. */
  readonly isAbsolute: boolean
  readonly version: '1.0' | '1.1'
}

/** `head`: the first bytes of one are there. `message`: from a whole head to the end of both messages. */
export type ServerPhase = 'idle' | 'head' | 'message' | 'closing'

export interface ServerEvents {
  /** A request. The sink that is returned gets its body. */
  onRequest(stream: HttpStream, head: ArrivedHead): StreamSink
  /**
   * A head, or bytes, that are refused; a call that they were of has heard `onReset`. Nothing more of the connection is read.
   * @param answer of use for `respond` and `end` only, after which the connection closes. Null when an answer would be read as part of
   *   another one: the connection closes.
   */
  onRefused(error: StreamError, answer: HttpStream | null): void
  /** Once, and last. Undefined when both sides were done. */
  onClose(error: StreamError | undefined): void
}

export interface ClientEvents {
  /** The next request may be sent. */
  onIdle(): void
  /** Once, and last. Undefined when both sides were done. */
  onClose(error: StreamError | undefined): void
}
