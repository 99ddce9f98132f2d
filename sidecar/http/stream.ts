// What a codec and its user say to each other about one exchange of messages, whatever the version on the wire: one sink a stream, and what
// may be done with a stream. Types only. Callbacks run inside the codec's own calls; one that throws is a bug of its owner.

import type { RawFields, ResponseHead } from './message.js'
import type { StreamError } from './stream-error.js'

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
  onReset(error: StreamError): void
  /** What `write` had to hold back is on its way. */
  onDrain(): void
}

export interface ResponseSink extends StreamSink {
  /** 1xx; any number of them before the head. */
  onInterim(head: ResponseHead): void
  onHead(head: ResponseHead): void
}

/** One exchange of messages, seen from one end. */
export interface HttpStream {
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
  /** Gives back so many bytes of window: they were taken from `onData` and are no longer held. Without it the peer comes to a stop. */
  consume(bytes: number): void
  /** Ends the stream at once with one of `H2`; the sink hears nothing more. HTTP/1.1 closes the connection, whatever the code. */
  reset(code: number): void
}
