// Why a message, a stream or a connection ended, as both codecs say it: the MeshError code for us, and the number that HTTP/2 has for it
// on the wire (RFC 9113 §7). HTTP/1.1 has no such number: there a reset closes the connection.

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
export class StreamError extends MeshError {
  readonly h2: number

  constructor(code: MeshErrorCode, h2: number, message: string) {
    super(code, message)
    this.name = 'StreamError'
    this.h2 = h2
  }
}
