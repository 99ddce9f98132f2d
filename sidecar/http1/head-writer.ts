// Heads as text (RFC 9112 §3, §4). The framing is ours, and fields that could be read as more than one, or as framing, are refused: what came in
// by HTTP/2 was judged by other rules.

import { STATUS_CODES } from 'node:http'
import type { RawFields, RequestHead, ResponseHead } from '../http/message.js'
import { isAuthority, isFieldName, isMethod, isPath } from '../http/octets.js'
import type { Follows } from '../http/stream.js'
import type { BodyForm } from './body-writer.js'
import { malformed } from './errors.js'
import { NOT_IN_TRAILERS } from './field-reader.js'
import { acceptOf } from './websocket.js'

/** Fields that only the codec writes. */
const OWN: ReadonlySet<string> = new Set([
  'connection',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

const WEBSOCKET_LINES = 'connection: upgrade\r\nupgrade: websocket\r\n'
const NOT_OF_TUNNELS: ReadonlySet<string> = new Set(['content-length', 'sec-websocket-accept'])
const NOT_OF_HANDSHAKES: ReadonlySet<string> = new Set([
  'content-length',
  'sec-websocket-key',
  'sec-websocket-version',
])

const NOT_A_VALUE = /[^\t\x20-\x7e\x80-\xff]/
const LENGTH = /^\d{1,15}$/

/** The framing of a message on its way out. */
export interface Framing {
  readonly form: BodyForm
  readonly length: number
  /** The line that says so, with its break; empty when the fields do, or nothing is to be said. */
  readonly line: string
}

const NOTHING: Framing = { form: 'none', length: 0, line: '' }
const NOTHING_SAID: Framing = { form: 'none', length: 0, line: 'content-length: 0\r\n' }
const CHUNKS: Framing = { form: 'chunked', length: 0, line: 'transfer-encoding: chunked\r\n' }
const REST: Framing = { form: 'raw', length: 0, line: '' }

/**
 * @param version what the client understands
 * @throws StreamError CALL_MALFORMED
 */
export function frameResponse(
  head: ResponseHead,
  follows: Follows,
  method: string,
  version: '1.0' | '1.1',
): Framing {
  const length = declaredLength(head.fields)
  if (head.status === 204 && length !== null) throw malformed('content-length where no body can be')
  if (head.status === 204 || head.status === 304 || method === 'HEAD') return NOTHING
  if (follows === 'nothing') return nothing(length, NOTHING_SAID)
  if (length !== null) return { form: 'length', length, line: '' }
  return version === '1.1' ? CHUNKS : REST
}

/** @throws StreamError CALL_MALFORMED */
export function frameRequest(head: RequestHead, follows: Follows): Framing {
  const length = declaredLength(head.fields)
  const { method } = head
  // RFC 9110 §8.6: methods that have a meaning for a body say that there is none.
  const isBodyExpected = method === 'POST' || method === 'PUT' || method === 'PATCH'
  if (follows === 'nothing') return nothing(length, isBodyExpected ? NOTHING_SAID : NOTHING)
  return length === null ? CHUNKS : { form: 'length', length, line: '' }
}

function nothing(length: number | null, unsaid: Framing): Framing {
  if (length === null) return unsaid
  if (length > 0) throw malformed('a body is declared and none follows')
  return NOTHING
}

/**
 * @param lines further ones, each with its break
 * @throws StreamError CALL_MALFORMED
 */
export const formatResponse = ({ status, fields }: ResponseHead, lines: string): string =>
  `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${formatFields(fields)}${lines}\r\n`

/**
 * The head that opens a tunnel.
 * @param websocketKey null for CONNECT that is no WebSocket
 * @throws StreamError CALL_MALFORMED
 */
export function formatTunnelResponse(head: ResponseHead, websocketKey: string | null): string {
  const fields = without(head.fields, NOT_OF_TUNNELS)
  if (websocketKey === null) return formatResponse({ status: head.status, fields }, '')
  const proof = `${WEBSOCKET_LINES}sec-websocket-accept: ${acceptOf(websocketKey)}\r\n`
  return formatResponse({ status: 101, fields }, proof)
}

/**
 * The request of a WebSocket handshake.
 * @throws StreamError CALL_MALFORMED
 */
export function formatWebsocketRequest(head: RequestHead, websocketKey: string): string {
  const fields = without(head.fields, NOT_OF_HANDSHAKES)
  const lines = `${WEBSOCKET_LINES}sec-websocket-version: 13\r\nsec-websocket-key: ${websocketKey}\r\n`
  return formatRequest('GET', { ...head, fields }, lines)
}

/**
 * @param lines further ones, each with its break
 * @throws StreamError CALL_MALFORMED
 */
export function formatRequest(method: string, head: RequestHead, lines: string): string {
  const { path, authority, fields } = head
  if (!isMethod(method) || !isPath(path)) throw malformed('the request line cannot be written')
  if (authority !== '' && !isAuthority(authority)) throw malformed('the authority is not host[:port]')
  return `${method} ${path} HTTP/1.1\r\nhost: ${authority}\r\n${formatFields(fields)}${lines}\r\n`
}

/**
 * Lines of fields, each with its break.
 * @throws StreamError CALL_MALFORMED
 */
export function formatFields(fields: RawFields): string {
  let text = ''
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? ''
    const value = fields[at + 1] ?? ''
    // RFC 9110 §10.1.4: of one connection in HTTP/1.1, and we make no use of it there.
    if (name === 'te') continue
    if (OWN.has(name) || !isFieldName(name) || NOT_A_VALUE.test(value))
      throw malformed('a field cannot be written')
    text += `${name}: ${value}\r\n`
  }
  return text
}

/** @throws StreamError CALL_MALFORMED when they cannot be written behind a body */
export function checkTrailers(fields: RawFields): void {
  for (let at = 0; at < fields.length; at += 2)
    if (NOT_IN_TRAILERS.has(fields[at] ?? '')) throw malformed('trailers hold a field of the head')
  formatFields(fields)
}

const without = (fields: RawFields, names: ReadonlySet<string>): RawFields =>
  fields.filter((_, at) => !names.has(fields[at - (at % 2)] ?? ''))

function declaredLength(fields: RawFields): number | null {
  let length: number | null = null
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] !== 'content-length') continue
    const value = fields[at + 1] ?? ''
    if (length !== null || !LENGTH.test(value)) throw malformed('content-length is not one number')
    length = Number(value)
  }
  return length
}
