// Heads as structure: what a decoded field list must be to count as a request, a response or trailers (RFC 9113 §8.2, §8.3, §8.5; RFC 8441
// §4). Judged once, strictly, where it arrives; it refuses, it never repairs. Pure.

import type { DeclaredLength, RawFields, RequestHead, ResponseHead } from '../http/message.js'
import { isAuthority, isFieldName, isFieldValue, isMethod, isPath, isScheme } from '../http/octets.js'
import type { StreamError } from '../http/stream-error.js'
import { malformed } from './errors.js'

/** Fields of one connection of HTTP/1.1: forbidden in HTTP/2 (RFC 9113 §8.2.2). */
const CONNECTION_SPECIFIC: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])
/** Fields that would change how a message was framed or routed after it was judged (RFC 9110 §6.5.1). */
const NOT_IN_TRAILERS: ReadonlySet<string> = new Set(['content-length', 'host', 'te', 'trailer'])

const COLON = 0x3a

/**
 * @param list as decoded, pseudo-fields first
 * @param knowsProtocol we have announced SETTINGS_ENABLE_CONNECT_PROTOCOL
 * @throws StreamError CALL_MALFORMED
 */
export function readRequestHead(list: RawFields, knowsProtocol: boolean): RequestHead {
  const pseudo = readPseudoFields(list)
  const { method, scheme, path, protocol } = pseudo
  const { fields, host } = readFields(list, pseudo.first)
  if (method === null || !isMethod(method)) throw malformed(':method is missing or not a token')
  const authority = readAuthority(pseudo.authority, host)
  if (protocol !== null && (method !== 'CONNECT' || !knowsProtocol || !isMethod(protocol)))
    throw malformed(':protocol stands where it may not')
  if (method === 'CONNECT' && protocol === null) {
    if (scheme !== null || path !== null) throw malformed('CONNECT with :scheme or :path')
    return { method, scheme: '', authority, path: '', protocol, fields }
  }
  if (scheme === null || !isScheme(scheme)) throw malformed(':scheme is missing or no scheme')
  if (path === null || !isTarget(path, method)) throw malformed(':path is missing or neither a path nor *')
  return { method, scheme, authority, path, protocol, fields }
}

/** @throws StreamError CALL_MALFORMED */
export function readResponseHead(list: RawFields): ResponseHead {
  const [name, status = ''] = list
  // RFC 9113 §8.6: there is no 101 in HTTP/2.
  if (name !== ':status' || !/^[1-5]\d\d$/.test(status) || status === '101')
    throw malformed(':status is missing or no status')
  const fields = list.slice(2)
  checkFields(fields)
  if (status === '204' || status.startsWith('1'))
    return { status: Number(status), fields: withoutLength(fields, status) }
  return { status: Number(status), fields }
}

/** A response that can have no body declares no length (RFC 9110 §8.6); that of nothing is common with 204, and dropped. */
function withoutLength(fields: string[], status: string): RawFields {
  const declared = declaredLength(fields)
  if (declared === null) return fields
  if (declared !== 0 || status !== '204') throw malformed('content-length where no body can be')
  return fields.flatMap((name, at) =>
    at % 2 === 0 && name !== 'content-length' ? [name, fields[at + 1] ?? ''] : [],
  )
}

/** @throws StreamError CALL_MALFORMED */
export function readTrailers(list: RawFields): RawFields {
  for (let at = 0; at < list.length; at += 2)
    if (NOT_IN_TRAILERS.has(list[at] ?? '')) throw malformed('trailers hold a field of the head')
  checkFields(list)
  return list
}

/**
 * Content-Length of a head.
 * @throws StreamError CALL_MALFORMED when it is not one number
 */
export function declaredLength(fields: RawFields): DeclaredLength {
  let declared: DeclaredLength = null
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] !== 'content-length') continue
    const value = fields[at + 1] ?? ''
    if (declared !== null || !/^\d{1,15}$/.test(value)) throw malformed('content-length is not one number')
    declared = Number(value)
  }
  return declared
}

interface PseudoFields {
  method: string | null
  scheme: string | null
  authority: string | null
  path: string | null
  protocol: string | null
  /** The position of the first field that is none of them. */
  first: number
}

/** The pseudo-fields of a request stand before its fields, each is known, and each stands once (RFC 9113 §8.3). */
function readPseudoFields(list: RawFields): PseudoFields {
  const pseudo: PseudoFields = {
    method: null,
    scheme: null,
    authority: null,
    path: null,
    protocol: null,
    first: 0,
  }
  for (; (list[pseudo.first] ?? '').charCodeAt(0) === COLON; pseudo.first += 2) {
    const value = list[pseudo.first + 1] ?? ''
    switch (list[pseudo.first] ?? '') {
      case ':method':
        pseudo.method = once(pseudo.method, value)
        break
      case ':scheme':
        pseudo.scheme = once(pseudo.scheme, value)
        break
      case ':authority':
        pseudo.authority = once(pseudo.authority, value)
        break
      case ':path':
        pseudo.path = once(pseudo.path, value)
        break
      case ':protocol':
        pseudo.protocol = once(pseudo.protocol, value)
        break
      default:
        throw malformed('an unknown pseudo-field')
    }
  }
  return pseudo
}

function once(before: string | null, value: string): string {
  if (before !== null) throw malformed('a pseudo-field stands twice')
  return value
}

function checkFields(fields: RawFields): void {
  for (let at = 0; at < fields.length; at += 2) checkField(fields[at] ?? '', fields[at + 1] ?? '')
}

/** Judges a request's fields from `first` on, and takes Host out of them. */
function readFields(list: RawFields, first: number): { fields: RawFields; host: string | null } {
  const fields: string[] = []
  let host: string | null = null
  for (let at = first; at < list.length; at += 2) {
    const name = list[at] ?? ''
    const value = list[at + 1] ?? ''
    checkField(name, value)
    if (name === 'host') {
      if (host !== null) throw malformed('more than one Host')
      host = value
    } else fields.push(name, value)
  }
  return { fields, host }
}

function checkField(name: string, value: string): void {
  if (!isFieldName(name)) throw notAName(name)
  if (!isFieldValue(value)) throw malformed('a field value holds a forbidden octet')
  if (CONNECTION_SPECIFIC.has(name)) throw malformed('a field that HTTP/2 has not')
  if (name === 'te' && value.toLowerCase() !== 'trailers') throw malformed('te is not trailers')
}

const notAName = (name: string): StreamError =>
  malformed(name.startsWith(':') ? 'a pseudo-field behind a field' : 'a field name is no lower-case token')

/** Origin form; `*` for OPTIONS only. */
const isTarget = (path: string, method: string): boolean =>
  isPath(path) && (path.startsWith('/') || (path === '*' && method === 'OPTIONS'))

function readAuthority(pseudo: string | null, host: string | null): string {
  const authority = pseudo ?? host
  if (authority === null || !isAuthority(authority))
    throw malformed('neither :authority nor Host is host[:port]')
  if (host !== null && host.toLowerCase() !== authority.toLowerCase())
    throw malformed(':authority and Host name two different hosts')
  return authority
}
