// The ways an HTTP/1.1 peer can be wrong, or gone, as errors.

import { H2, StreamError } from '../http/stream-error.js'

/** Bytes, a head or a body that break a rule of RFC 9112 or RFC 9110. */
export const malformed = (why: string): StreamError =>
  new StreamError('CALL_MALFORMED', H2.PROTOCOL_ERROR, why)

export const tooLarge = (why: string): StreamError =>
  new StreamError('CALL_HEAD_TOO_LARGE', H2.ENHANCE_YOUR_CALM, why)

export const upgradeRefused = (why: string): StreamError =>
  new StreamError('CALL_UPGRADE_REFUSED', H2.HTTP_1_1_REQUIRED, why)

/** @param h2 REFUSED_STREAM when the peer cannot have acted on the request, as far as can be seen */
export const lost = (h2: number, why: string): StreamError =>
  new StreamError('HTTP1_CONNECTION_LOST', h2, why)
