// The three ways a peer can be wrong in HTTP/2, as errors.

import { H2, StreamError } from '../http/stream-error.js'

/** The peer broke a rule of RFC 9113 or RFC 7541. */
export const violation = (h2: number, message: string): StreamError =>
  new StreamError('HTTP2_PROTOCOL', h2, message)

/** The peer keeps us busy with what brings no call forward. */
export const flood = (message: string): StreamError =>
  new StreamError('HTTP2_FLOOD', H2.ENHANCE_YOUR_CALM, message)

/** A head, trailers or a body that does not match its head: malformed (RFC 9113 §8.1.1). */
export const malformed = (message: string): StreamError =>
  new StreamError('CALL_MALFORMED', H2.PROTOCOL_ERROR, message)
