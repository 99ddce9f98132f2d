// HTTP/2's error codes (RFC 9113 §7) and the one error type of this codec, which carries both: the number for the peer and the
// MeshError code for us.

import { MeshError, type MeshErrorCode } from '../../mesh/errors.js'

export const H2 = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
  HTTP_1_1_REQUIRED: 13,
} as const

const NAMES: readonly string[] = Object.keys(H2)

/** `CANCEL`; codes that no standard knows read `code 99`. */
export const nameOfCode = (code: number): string => NAMES[code] ?? `code ${code}`

/**
 * Why a stream or a connection ended.
 *
 * `code` is ours: HTTP2_PROTOCOL and HTTP2_FLOOD for what the peer did wrong, CALL_MALFORMED and CALL_HEAD_TOO_LARGE for a head,
 * HTTP2_STREAM_REFUSED for a request that the peer surely never looked at, HTTP2_STREAM_RESET and HTTP2_CONNECTION_LOST for
 * answers that will not be whole. `h2` is what was, or would be, said on the wire.
 */
export class Http2Error extends MeshError {
  readonly h2: number

  constructor(code: MeshErrorCode, h2: number, message: string) {
    super(code, message)
    this.name = 'Http2Error'
    this.h2 = h2
  }
}

/** The peer broke a rule of RFC 9113 or RFC 7541. */
export const violation = (h2: number, message: string): Http2Error =>
  new Http2Error('HTTP2_PROTOCOL', h2, message)

/** The peer keeps us busy with what brings no call forward. */
export const flood = (message: string): Http2Error =>
  new Http2Error('HTTP2_FLOOD', H2.ENHANCE_YOUR_CALM, message)

/** A head, trailers or a body that does not match its head: malformed (RFC 9113 §8.1.1). */
export const malformed = (message: string): Http2Error =>
  new Http2Error('CALL_MALFORMED', H2.PROTOCOL_ERROR, message)
