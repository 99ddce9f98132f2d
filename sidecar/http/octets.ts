// Which octets may stand in names, values and pseudo-fields (RFC 9110 §5.1, §5.5; RFC 9113 §8.2.1, §8.3.1). Tables and loops, pure;
// the same tables judge what comes in and what goes out.

/** Octets of a field name, as a bit of `CLASSES`. */
export const NAME = 1
/** Octets of a field value. */
export const VALUE = 2
const PATH = 4
const AUTHORITY = 8
const SCHEME = 16
const METHOD = 32

/** What each octet may be part of; the encoder looks it up as it copies. */
export const CLASSES: Uint8Array = classify()

/** A token without upper case. */
export const isFieldName = (text: string): boolean => text !== '' && consistsOf(text, NAME)

/** No control but the tab, no NUL, and no white space at either end. */
export function isFieldValue(text: string): boolean {
  if (!consistsOf(text, VALUE)) return false
  return text === '' || !(isBlank(text.charCodeAt(0)) || isBlank(text.charCodeAt(text.length - 1)))
}

export const isMethod = (text: string): boolean => text !== '' && consistsOf(text, METHOD)
/** Visible ASCII: what stands in `:path` goes into a request line further on. */
export const isPath = (text: string): boolean => text !== '' && consistsOf(text, PATH)
/** `host[:port]` without user information (RFC 9113 §8.3.1). */
export const isAuthority = (text: string): boolean => text !== '' && consistsOf(text, AUTHORITY)
export const isScheme = (text: string): boolean =>
  text === 'https' || text === 'http' || (/^[A-Za-z]/.test(text) && consistsOf(text, SCHEME))

function consistsOf(text: string, kind: number): boolean {
  for (let at = 0; at < text.length; at++)
    if (((CLASSES[text.charCodeAt(at)] ?? 0) & kind) === 0) return false
  return true
}

const isBlank = (octet: number): boolean => octet === 0x20 || octet === 0x09

function classify(): Uint8Array {
  const classes = new Uint8Array(256)
  const mark = (octets: string, kind: number): void => {
    for (const octet of octets) {
      const at = octet.charCodeAt(0)
      classes[at] = (classes[at] ?? 0) | kind
    }
  }
  const digits = '0123456789'
  const lower = 'abcdefghijklmnopqrstuvwxyz'
  const upper = lower.toUpperCase()
  const symbols = "!#$%&'*+-.^_`|~"
  mark(digits + lower + symbols, NAME)
  mark(digits + lower + upper + symbols, METHOD)
  mark(`${digits}${lower}${upper}+-.`, SCHEME)
  mark(`${digits}${lower}${upper}-._~!$&'()*+,;=:%[]`, AUTHORITY)
  for (let octet = 0x21; octet < 0x7f; octet++) mark(String.fromCharCode(octet), PATH | VALUE)
  mark(' \t', VALUE)
  for (let octet = 0x80; octet <= 0xff; octet++) classes[octet] = VALUE
  return classes
}
