// The head of a response as structure (RFC 9112 §4, §6.3), and how its body ends. Judged once, strictly: who answers may be hostile, and what
// it says must not be read in two ways further on. Pure.

import type { RawFields } from '../http/message.js'
import { malformed } from './errors.js'
import { CHUNKED, HeadFields, tokensOf, UNTIL_CLOSE } from './field-reader.js'

export interface ReadResponse {
  readonly status: number
  readonly fields: RawFields
  /** The length of the body in bytes, CHUNKED or UNTIL_CLOSE. */
  readonly framing: number
  /** The server goes on with this connection. */
  readonly persists: boolean
  /** Of a 101 that names `websocket`: Sec-WebSocket-Accept. */
  readonly websocketAccept: string | null
}

const HEAD =
  /^HTTP\/1\.[01] [1-5]\d\d(?: [\t\x20-\x7e\x80-\xff]*)?\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/
const LINE = /^HTTP\/1\.[01] [1-5]\d\d(?: [\t\x20-\x7e\x80-\xff]*)?$/

/** @throws StreamError CALL_MALFORMED */
export function checkStatusLine(line: string): void {
  if (!LINE.test(line)) throw malformed('the status line is malformed')
}

/**
 * @param text the lines of the head, each with its break
 * @param method of the request that is answered
 * @throws StreamError CALL_MALFORMED | CALL_CODING_UNSUPPORTED | CALL_HEAD_TOO_LARGE
 */
export function readResponse(text: string, maxFields: number, method: string): ReadResponse {
  if (!HEAD.test(text)) {
    checkStatusLine(text.slice(0, text.indexOf('\r\n')))
    throw malformed('a field is malformed')
  }
  const isHttp11 = text.charCodeAt(7) === 0x31
  const status = Number(text.slice(9, 12))
  const noted = new HeadFields()
  noted.read(text, text.indexOf('\r') + 2, maxFields)
  const connection = noted.judgeConnection(protectsNothing)
  noted.judgeFraming(isHttp11)
  const isBodyless = status < 200 || status === 204
  if (isBodyless && (noted.isChunked || (noted.length ?? 0) > 0))
    throw malformed('a length or coding where no body can be')
  const isUpgraded = status === 101 && connection.has('upgrade') && isWebsocket(noted.upgrade)
  return {
    status,
    fields: isBodyless && noted.length !== null ? without(noted.fields, 'content-length') : noted.fields,
    framing: framingOf(noted, isBodyless || status === 304 || method === 'HEAD'),
    persists:
      !mayTrail(noted, status, method) &&
      (isHttp11 ? !connection.has('close') : connection.has('keep-alive') && !connection.has('close')),
    websocketAccept: isUpgraded ? noted.websocketAccept : null,
  }
}

/**
 * An answer without a body to which careless servers send one all the same, perhaps later: it would be read as the answer to the next
 * request, of somebody else.
 */
function mayTrail({ isChunked, length }: HeadFields, status: number, method: string): boolean {
  return method === 'HEAD' || ((status === 204 || status === 304) && (isChunked || (length ?? 0) > 0))
}

function framingOf(noted: HeadFields, isBodyless: boolean): number {
  if (isBodyless) return 0
  return noted.isChunked ? CHUNKED : (noted.length ?? UNTIL_CLOSE)
}

const isWebsocket = (upgrade: string | null): boolean => {
  const protocols = tokensOf(upgrade ?? '')
  return protocols.length === 1 && protocols[0] === 'websocket'
}

const without = (fields: RawFields, name: string): RawFields =>
  fields.filter((_, at) => fields[at - (at % 2)] !== name)

const protectsNothing = (): boolean => false
