// The fields of a head that was found well-formed: names in lower case, values without the white space around them, and those that speak of
// framing and of the connection set apart (RFC 9112 §5, §6; RFC 9110 §7.6.1, §7.8). It refuses, it never repairs.

import { foldName, type RawFields } from '../http/message.js'
import { H2, StreamError } from '../http/stream-error.js'
import { malformed, tooLarge } from './errors.js'

/** What a field is to the codec; `ordinary` ones are only passed on. */
type Kind =
  | 'ordinary'
  | 'host'
  | 'content-length'
  | 'transfer-encoding'
  | 'connection'
  | 'upgrade'
  | 'expect'
  | 'websocket-key'
  | 'websocket-version'
  | 'websocket-accept'
  | 'dropped'

const KINDS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ['host', 'host'],
  ['content-length', 'content-length'],
  ['transfer-encoding', 'transfer-encoding'],
  ['connection', 'connection'],
  ['upgrade', 'upgrade'],
  ['expect', 'expect'],
  ['sec-websocket-key', 'websocket-key'],
  ['sec-websocket-version', 'websocket-version'],
  ['sec-websocket-accept', 'websocket-accept'],
  ['keep-alive', 'dropped'],
  ['proxy-connection', 'dropped'],
])

const COMMON =
  'accept accept-encoding accept-language access-control-allow-origin age authorization cache-control content-disposition content-encoding content-language content-location content-range content-type cookie date etag expires forwarded from if-match if-modified-since if-none-match last-modified link location origin pragma range referer retry-after server set-cookie strict-transport-security te traceparent tracestate trailer troth-call user-agent vary via www-authenticate x-forwarded-for x-forwarded-host x-forwarded-proto x-request-id'

interface Known {
  readonly name: string
  readonly kind: Kind
}

/** Names as they are spelled: to look one up is cheaper than to lower it. */
const KNOWN: ReadonlyMap<string, Known> = new Map(
  [...COMMON.split(' '), ...KINDS.keys()].flatMap((name) => {
    const known: Known = { name, kind: KINDS.get(name) ?? 'ordinary' }
    const capital = name.replace(/(^|-)([a-z])/g, (letters) => letters.toUpperCase())
    return [
      [name, known],
      [capital, known],
    ] as const
  }),
)

/** Names that Connection must not take away from the next hop. */
const NOT_TO_NOMINATE = /^(?:authorization|content-.*|cookie|host|transfer-encoding)$/

const LENGTH = /^\d{1,15}$/
/** How a body is framed: this, or its length in bytes. */
export const CHUNKED = -1
export const UNTIL_CLOSE = -2

const SPACE = 0x20
const TAB = 0x09

export class HeadFields {
  /** What is passed on, Content-Length with it. */
  fields: string[] = []
  host: string | null = null
  /** Null when not said. */
  length: number | null = null
  isChunked = false
  expect: string | null = null
  /** All values of Upgrade. */
  upgrade: string | null = null
  websocketKey: string | null = null
  websocketVersion: string | null = null
  websocketAccept: string | null = null
  /** Connection, in lower case: `close`, `keep-alive`, `upgrade` are what the codec looks for. */
  connection = ''
  #coding: string | null = null
  #count = 0

  /**
   * @param text lines as `FIELD_LINES` has them
   * @param at where the first field begins
   * @throws StreamError CALL_MALFORMED | CALL_HEAD_TOO_LARGE
   */
  read(text: string, at: number, maxFields: number): void {
    const { fields } = this
    while (at < text.length) {
      const colon = text.indexOf(':', at)
      const end = text.indexOf('\r', colon)
      const value = trimmed(text, colon + 1, end)
      const spelled = text.slice(at, colon)
      const known = KNOWN.get(spelled)
      if (known?.kind === 'ordinary') fields.push(known.name, value)
      else if (known !== undefined) this.#note(known.kind, known.name, value, text.charCodeAt(end - 1))
      else this.#readUnknown(spelled.toLowerCase(), value, text.charCodeAt(end - 1))
      if (++this.#count > maxFields) throw tooLarge(`the head has more than ${maxFields} fields`)
      at = end + 2
    }
  }

  /** A name in a spelling that is not in the table. */
  #readUnknown(name: string, value: string, last: number): void {
    const kind = KINDS.get(name)
    if (kind === undefined) this.fields.push(name, value)
    else this.#note(kind, name, value, last)
  }

  /** @param last the octet before the line break: some readers take no tab behind what frames a body */
  #note(kind: Kind, name: string, value: string, last: number): void {
    switch (kind) {
      case 'host':
        this.host = once(this.host, value, 'Host')
        return
      case 'content-length':
        if (this.length !== null || !LENGTH.test(value) || last === TAB)
          throw malformed('Content-Length is not one number')
        this.length = Number(value)
        break
      case 'transfer-encoding':
        this.#coding = this.#coding === null && last !== TAB ? value.toLowerCase() : 'unknown'
        return
      case 'connection':
        this.connection = joined(this.connection, value)
        return
      case 'upgrade':
        this.upgrade = joined(this.upgrade ?? '', value)
        return
      case 'expect':
        this.expect = once(this.expect, value.toLowerCase(), 'Expect')
        break
      case 'websocket-key':
        this.websocketKey = once(this.websocketKey, value, 'Sec-WebSocket-Key')
        return
      case 'websocket-version':
        this.websocketVersion = once(this.websocketVersion, value, 'Sec-WebSocket-Version')
        break
      case 'websocket-accept':
        this.websocketAccept = once(this.websocketAccept, value, 'Sec-WebSocket-Accept')
        return
      case 'dropped':
        return
      case 'ordinary':
    }
    this.fields.push(name, value)
  }

  /** Neither Content-Length nor Transfer-Encoding was said. */
  get hasNoFraming(): boolean {
    return this.length === null && this.#coding === null
  }

  /**
   * Transfer-Encoding, held against Content-Length and the version (RFC 9112 §6.1).
   * @throws StreamError CALL_MALFORMED | CALL_CODING_UNSUPPORTED
   */
  judgeFraming(isHttp11: boolean): void {
    if (this.#coding === null) return
    if (!isHttp11) throw malformed('HTTP/1.0 has no Transfer-Encoding')
    if (this.length !== null) throw malformed('the head has Content-Length and Transfer-Encoding')
    if (this.#coding !== 'chunked')
      throw new StreamError(
        'CALL_CODING_UNSUPPORTED',
        H2.PROTOCOL_ERROR,
        'only the transfer coding chunked is served',
      )
    this.isChunked = true
  }

  /**
   * Takes away what Connection nominates (RFC 9110 §7.6.1).
   * @param protects true for further names that it may not nominate
   * @returns what of it is about the connection itself
   * @throws StreamError CALL_MALFORMED
   */
  judgeConnection(protects: (foldedName: string) => boolean): ReadonlySet<string> {
    const said = SIMPLE.get(this.connection)
    if (said !== undefined) return said
    const tokens = new Set(tokensOf(this.connection))
    for (const token of tokens) {
      const name = foldName(token)
      if (NOT_TO_NOMINATE.test(name) || protects(name))
        throw malformed(`Connection nominates ${JSON.stringify(name.slice(0, 40))}`)
    }
    const { fields } = this
    this.fields = fields.filter((_, at) => !tokens.has(fields[at - (at % 2)] ?? ''))
    return tokens
  }
}

const SIMPLE: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['', new Set<string>()],
  ['close', new Set(['close'])],
  ['keep-alive', new Set(['keep-alive'])],
])

/** The members of a list, lower case. */
export const tokensOf = (list: string): string[] =>
  list
    .split(',')
    .map((token) => trimmed(token, 0, token.length).toLowerCase())
    .filter((token) => token !== '')

const joined = (before: string, value: string): string =>
  before === '' ? value.toLowerCase() : `${before},${value.toLowerCase()}`

function once(before: string | null, value: string, name: string): string {
  if (before !== null) throw malformed(`more than one ${name}`)
  return value
}

/** Without the spaces and tabs around it; other white space is part of a value. */
function trimmed(text: string, from: number, to: number): string {
  while (from < to && isBlank(text.charCodeAt(from))) from++
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--
  return text.slice(from, to)
}

const isBlank = (octet: number): boolean => octet === SPACE || octet === TAB

/** Fields that would change how a message was framed or routed after it was judged (RFC 9110 §6.5.1). */
export const NOT_IN_TRAILERS: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

const TRAILERS = /^(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/

/**
 * @param lines each with its break
 * @throws StreamError CALL_MALFORMED | CALL_HEAD_TOO_LARGE
 */
export function readTrailers(lines: string, maxFields: number): RawFields {
  if (!TRAILERS.test(lines)) throw malformed('a trailer is malformed')
  const fields: string[] = []
  for (const line of lines.split('\r\n')) {
    if (line === '') continue
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    if (NOT_IN_TRAILERS.has(name)) throw malformed('trailers hold a field of the head')
    fields.push(name, trimmed(line, colon + 1, line.length))
  }
  if (fields.length > 2 * maxFields) throw tooLarge(`more than ${maxFields} trailers`)
  return fields
}
