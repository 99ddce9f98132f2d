// Header fields as they stand in a head: lists of name and value, order and repetition kept. Knows which fields belong to one hop
// (RFC 9110 §7.6.1) and never passes them on. No mesh knowledge.

/** `[name, value, name, value, ...]`, as node:http gives and takes them. */
export type RawFields = readonly string[]

/** Consumed or regenerated at every hop: connection management, framing, addressing, and what speaks to a proxy. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** All values of a field, in order. `name` in lower case. */
export function valuesOf(fields: RawFields, name: string): string[] {
  const values: string[] = []
  for (let at = 0; at < fields.length; at += 2)
    if (fields[at]?.toLowerCase() === name) values.push(fields[at + 1] ?? '')
  return values
}

/** The members of a comma-separated list field, in lower case. */
export function tokensOf(fields: RawFields, name: string): string[] {
  return valuesOf(fields, name)
    .flatMap((value) => value.split(','))
    .map((token) => token.trim().toLowerCase())
    .filter((token) => token !== '')
}

/**
 * The fields that go on to the next hop.
 * @param keep false for further names to leave out; asked in lower case
 */
export function endToEnd(fields: RawFields, keep: (name: string) => boolean): string[] {
  const nominated = new Set(tokensOf(fields, 'connection'))
  const out: string[] = []
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? ''
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(foldName(name)) || nominated.has(lower) || !keep(lower)) continue
    out.push(name, fields[at + 1] ?? '')
  }
  return out
}

/** The name as CGI-like readers see it, to whom `_`, `.` and the like are one: two spellings of one field must not differ in trust. */
export function foldName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9-]/g, '-')
}
