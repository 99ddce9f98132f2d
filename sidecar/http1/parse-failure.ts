// What Node's parser reports of a connection whose bytes are no request, as a code of ours; and an answer written straight to a
// socket, for the moments when node:http has no response to offer.

import { STATUS_CODES } from 'node:http'
import { MeshError } from '../../mesh/errors.js'

/** As node:http emits it; `reason` is the parser's own word. */
export interface ParseFailure extends NodeJS.ErrnoException {
  readonly reason?: string
}

/** The error of a `clientError` event. A reset or a plain disconnect is undefined: nobody is there to be answered. */
export function parseFailureOf(error: ParseFailure): MeshError | undefined {
  const code = error.code ?? ''
  switch (code) {
    case 'ECONNRESET':
    case 'EPIPE':
    case 'ECANCELED':
      return undefined
    case 'HPE_HEADER_OVERFLOW':
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new MeshError('CALL_HEAD_TOO_LARGE', 'the head is larger than 64 KiB', { cause: error })
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new MeshError('CALL_TIMEOUT', 'the head did not arrive in time', { cause: error })
    case 'HPE_INVALID_VERSION':
      // The parser gives the same code to a version that no line break follows.
      if (error.reason === 'Invalid HTTP version')
        return new MeshError('CALL_VERSION_UNSUPPORTED', 'the HTTP version is not served', { cause: error })
      return malformed(error)
    default:
      return malformed(error)
  }
}

/** The other side ended its stream where a message was not over. */
export const isEarlyEnd = (error: ParseFailure): boolean => error.code === 'HPE_INVALID_EOF_STATE'

const malformed = (cause: Error): MeshError =>
  new MeshError('CALL_MALFORMED', 'the request is not well-formed HTTP/1.1', { cause })

/** The bytes of a last answer on a connection. Field values must be free of line breaks; they are ours. */
export function formatAnswer(status: number, fields: Readonly<Record<string, string>>, body: string): string {
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  return `${head.join('\r\n')}\r\n\r\n${body}`
}
