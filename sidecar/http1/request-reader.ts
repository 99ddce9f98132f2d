// The head of a request as structure (RFC 9112 §3): judged once, strictly, where it arrives. It refuses, it never repairs. Pure.

import { H2, StreamError } from '../http/stream-error.js'
import type { ArrivedHead } from './contract.js'
import { malformed, upgradeRefused } from './errors.js'
import { CHUNKED, HeadFields, tokensOf } from './field-reader.js'

/** A request, and what the codec keeps of it for itself. */
export interface ReadRequest extends ArrivedHead {
  /** The length of the body in bytes, or CHUNKED. */
  readonly framing: number
  /** The client wants to go on with this connection. */
  readonly persists: boolean
  /** What an accepted WebSocket is answered with; null for anything else. */
  readonly websocketKey: string | null
}

const HEAD =
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e]+ HTTP\/1\.[01]\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/
const LINE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e]+(?: (HTTP\/\d(?:\.\d)?))?$/
const AUTHORITY = /^(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/
const ABSOLUTE = /^http:\/\/([^/?#]*)([/?].*)?$/i
/** 16 bytes in base64 (RFC 6455 §4.1). */
const WEBSOCKET_KEY = /^[A-Za-z0-9+/]{22}==$/

const SLASH = 0x2f
/** ` HTTP/1.x` */
const VERSION_LENGTH = 9

/**
 * @throws StreamError CALL_MALFORMED | CALL_VERSION_UNSUPPORTED for a start line that no head could save
 */
export function checkRequestLine(line: string): void {
  const match = LINE.exec(line)
  if (match === null) throw malformed('the request line is malformed')
  const version = match[1] ?? 'HTTP/0.9'
  if (version !== 'HTTP/1.1' && version !== 'HTTP/1.0')
    throw new StreamError('CALL_VERSION_UNSUPPORTED', H2.HTTP_1_1_REQUIRED, `${version} is not served`)
}

/**
 * @param text the lines of the head, each with its break
 * @param protects true for further folded names that Connection may not nominate
 * @throws StreamError CALL_MALFORMED | CALL_VERSION_UNSUPPORTED | CALL_CODING_UNSUPPORTED | CALL_HEAD_TOO_LARGE | CALL_UPGRADE_REFUSED
 */
export function readRequest(
  text: string,
  maxFields: number,
  protects: (foldedName: string) => boolean,
): ReadRequest {
  if (!HEAD.test(text)) {
    checkRequestLine(text.slice(0, text.indexOf('\r\n')))
    throw malformed('a field is malformed')
  }
  const methodEnd = text.indexOf(' ')
  const lineEnd = text.indexOf('\r', methodEnd)
  const method = text.slice(0, methodEnd)
  const target = text.slice(methodEnd + 1, lineEnd - VERSION_LENGTH)
  const isHttp11 = text.charCodeAt(lineEnd - 1) === 0x31
  const noted = new HeadFields()
  noted.read(text, lineEnd + 2, maxFields)
  // TRACE would show the caller what only the app may see: the secrets and the identity that the last hop adds.
  if (method === 'TRACE') throw malformed('TRACE is not served')
  const connection = noted.judgeConnection(protects)
  const websocketKey = noted.upgrade === null ? null : readUpgrade(noted, method, isHttp11, connection)
  noted.judgeFraming(isHttp11)
  checkExpect(noted, isHttp11)
  const place = readTarget(target, method, readHost(noted.host, isHttp11))
  return {
    method: websocketKey === null ? method : 'CONNECT',
    scheme: method === 'CONNECT' ? '' : 'http',
    authority: place.authority,
    path: place.path,
    protocol: websocketKey === null ? null : 'websocket',
    fields: noted.fields,
    isAbsolute: place.isAbsolute,
    version: isHttp11 ? '1.1' : '1.0',
    framing: framingOf(noted, method),
    persists: isHttp11 ? !connection.has('close') : connection.has('keep-alive') && !connection.has('close'),
    websocketKey,
  }
}

function framingOf(noted: HeadFields, method: string): number {
  const framing = noted.isChunked ? CHUNKED : (noted.length ?? 0)
  if (method === 'CONNECT' && framing !== 0) throw malformed('CONNECT with a body')
  return framing
}

function readHost(host: string | null, isHttp11: boolean): string | null {
  if (host === null) {
    if (isHttp11) throw malformed('the head has no Host')
    return null
  }
  if (!AUTHORITY.test(host)) throw malformed('Host is not host[:port]')
  return host
}

interface Place {
  readonly authority: string
  readonly path: string
  readonly isAbsolute: boolean
}

function readTarget(target: string, method: string, host: string | null): Place {
  if (method === 'CONNECT') {
    if (!AUTHORITY.test(target) || !/:\d+$/.test(target))
      throw malformed('the target of CONNECT is not host:port')
    checkSameHost(host, target, /:\d+$/)
    return { authority: target, path: '', isAbsolute: false }
  }
  if (target.charCodeAt(0) === SLASH) return { authority: host ?? '', path: target, isAbsolute: false }
  const absolute = ABSOLUTE.exec(target)
  if (absolute === null) throw malformed('the target is neither a path nor an http:// URL')
  const [, authority = '', rest = '/'] = absolute
  if (!AUTHORITY.test(authority)) throw malformed('the host of the target is not host[:port]')
  checkSameHost(host, authority, /:80$/)
  return { authority, path: rest.startsWith('?') ? `/${rest}` : rest, isAbsolute: true }
}

/** @param port how it reads where it may be left out */
function checkSameHost(host: string | null, authority: string, port: RegExp): void {
  if (host === null || host.toLowerCase() === authority.toLowerCase()) return
  if (host.toLowerCase().replace(port, '') !== authority.toLowerCase().replace(port, ''))
    throw malformed('Host and target name two different hosts')
}

function checkExpect(noted: HeadFields, isHttp11: boolean): void {
  if (noted.expect === null) return
  if (noted.expect !== '100-continue') throw malformed('Expect knows 100-continue only')
  // A server must not heed it (RFC 9110 §10.1.1).
  if (!isHttp11) noted.fields = noted.fields.filter((_, at, all) => all[at - (at % 2)] !== 'expect')
}

/**
 * Upgrade (RFC 9110 §7.8): `websocket` is served, an offer of `h2c` not heard, which leaves a plain request.
 * @returns the key of a WebSocket handshake (RFC 6455 §4.2.1)
 * @throws StreamError CALL_UPGRADE_REFUSED
 */
function readUpgrade(
  noted: HeadFields,
  method: string,
  isHttp11: boolean,
  connection: ReadonlySet<string>,
): string | null {
  const protocols = tokensOf(noted.upgrade ?? '')
  if (protocols.length > 0 && protocols.every((protocol) => protocol === 'h2c')) return null
  if (protocols.length !== 1 || protocols[0] !== 'websocket')
    throw upgradeRefused('upgrades to other protocols than websocket are not served')
  const isHandshake = method === 'GET' && isHttp11 && connection.has('upgrade')
  const isBodyless = noted.hasNoFraming
  if (!isHandshake || !isBodyless || noted.websocketVersion !== '13')
    throw upgradeRefused('the WebSocket handshake is none of version 13')
  if (noted.websocketKey === null || !WEBSOCKET_KEY.test(noted.websocketKey))
    throw upgradeRefused('the WebSocket handshake has no key of 16 bytes')
  return noted.websocketKey
}
