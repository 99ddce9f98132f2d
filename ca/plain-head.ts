// Looks into the first bytes of a connection that is not TLS: is it a whole GET or HEAD of HTTP/1, and nothing else? The door has no
// other use for plain HTTP. It reads untrusted bytes: pure, bounded; the HTTP parser reads the same bytes again.

import { MeshError } from '../mesh/errors.js'

/** `more`: not yet whole. `junk`: neither GET nor HEAD, and no answer to it. `refused`: it is, and gets an answer. */
export type PlainPeek =
  | { readonly state: 'more' | 'junk' | 'whole' }
  | { readonly state: 'refused'; readonly error: MeshError }

/** What is asked for here is a path of less than 100 bytes. */
export const PLAIN_HEAD_MAX_BYTES = 4096

const BEGINNINGS = ['GET /', 'HEAD /'].map((text) => Buffer.from(text, 'latin1'))
const END = '\r\n\r\n'

/** @param bytes everything received so far, at least one */
export function peekPlainHead(bytes: Buffer): PlainPeek {
  const begins = BEGINNINGS.some((beginning) => {
    const length = Math.min(beginning.length, bytes.length)
    return beginning.subarray(0, length).equals(bytes.subarray(0, length))
  })
  if (!begins) return { state: 'junk' }
  const end = bytes.indexOf(END, 0, 'latin1')
  if (end === -1 ? bytes.length >= PLAIN_HEAD_MAX_BYTES : end > PLAIN_HEAD_MAX_BYTES)
    return refused('WIRE_TOO_LARGE', `the request head is larger than ${PLAIN_HEAD_MAX_BYTES} bytes`)
  if (end === -1) return { state: 'more' }
  return bytes.length === end + END.length
    ? { state: 'whole' }
    : refused('WIRE_MALFORMED', 'something follows the request head: a body, or a second request')
}

const refused = (code: 'WIRE_TOO_LARGE' | 'WIRE_MALFORMED', message: string): PlainPeek => ({
  state: 'refused',
  error: new MeshError(code, message),
})
