// The head of an HTTP message as structure (RFC 9110 §6), the same for every version on the wire: both codecs read it and write it, and what
// lies between them never sees bytes.

/**
 * `[name, value, name, value, ...]`; names in lower case, pseudo-fields left out, order and repetition kept. Fields of one connection
 * (connection, keep-alive, proxy-connection, transfer-encoding, upgrade, and what Connection nominates) are never among them: framing is
 * the codec's. Content-Length is, when it was said.
 */
export type RawFields = readonly string[]

export interface RequestHead {
  readonly method: string
  /** Empty for CONNECT that is not extended. */
  readonly scheme: string
  /** `host[:port]` as it was said; in HTTP/1.0 it may be empty. Host is not among the fields. */
  readonly authority: string
  /** Origin form or `*`; empty for CONNECT that is not extended. */
  readonly path: string
  /**
   * The protocol that the stream becomes, `websocket` for one: CONNECT with `:protocol` (RFC 8441), and in HTTP/1.1 GET with Upgrade. The
   * method is CONNECT then, in both.
   */
  readonly protocol: string | null
  readonly fields: RawFields
}

export interface ResponseHead {
  /** Of an accepted `protocol`: 200, also where HTTP/1.1 says 101. */
  readonly status: number
  readonly fields: RawFields
}

/** What a head says about the body's length: a number of bytes, or null. */
export type DeclaredLength = number | null

/** All values of a field, in order. `name` in lower case. */
export function valuesOf(fields: RawFields, name: string): string[] {
  const values: string[] = []
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) values.push(fields[at + 1] ?? '')
  return values
}

/** The first value of a field; undefined when there is none. */
export function firstOf(fields: RawFields, name: string): string | undefined {
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1]
  return undefined
}

/** The value of a field that stands once; undefined when there is none, or more than one. */
export function onlyOf(fields: RawFields, name: string): string | undefined {
  let value: string | undefined
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] !== name) continue
    if (value !== undefined) return undefined
    value = fields[at + 1]
  }
  return value
}

/** The name as CGI-like readers see it, to whom `_`, `.` and the like are one: two spellings of one field must not differ in trust. */
export function foldName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9-]/g, '-')
}
