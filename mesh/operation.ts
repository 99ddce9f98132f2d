// What is called: a protocol, a method and a path in one canonical form. The form that is judged is the form that is forwarded,
// so whatever two readers could read differently is refused here and nowhere else (RFC 3986 §2, §3.3, §6.2.2; RFC 9110 §9.1).

import { MeshError } from './errors.js'

export interface Operation {
  readonly protocol: 'http'
  readonly method: string
  /** Canonical, without the query. */
  readonly path: string
}

export interface Target {
  /** Canonical. */
  readonly path: string
  /** `''`, or `?` and what followed it, as it came. */
  readonly query: string
}

/** The longest request target, in bytes. */
export const TARGET_MAX_BYTES = 8192

/** Segments of unreserved characters that do not begin with a dot, perhaps a slash at the end: canonical as they stand. */
const PLAIN = /^(?:\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+\/?$/
const METHOD = /^[A-Z][A-Z-]{0,31}$/
const PRINTABLE = /^[!-~]*$/
const BROKEN_TRIPLET = /%(?![0-9A-Fa-f]{2})/
const UNRESERVED = /[A-Za-z0-9._~-]/
/** ASCII in more bytes than it takes: no UTF-8 (RFC 3629 §3), but some decoders read a dot or a slash. */
const OVERLONG = /%(?:C[01]%[89AB]|E0%[89]|F0%8)/
/** Printable ASCII that RFC 3986 does not let stand in a path; clients send some of it raw. */
const NOT_A_PATH_CHARACTER = /["<>[\]^`{|}]/g

/**
 * An HTTP method as it stands: upper-case, compared exactly.
 * @throws MeshError CALL_MALFORMED
 */
export function parseMethod(raw: string): string {
  if (!METHOD.test(raw))
    throw new MeshError('CALL_MALFORMED', `${JSON.stringify(raw.slice(0, 40))} is not an HTTP method`, {
      hint: 'write the method in upper case, such as GET',
    })
  return raw
}

/**
 * A request target in origin form (RFC 9112 §3.2.1): the path made canonical (percent-encoded unreserved characters decoded,
 * characters that may not stand raw encoded, hex in upper case), the query as it came. Reading the answer again changes nothing.
 * @throws MeshError CALL_PATH_REFUSED for what two readers could take for two different paths
 */
export function parseTarget(originForm: string): Target {
  if (originForm.length <= TARGET_MAX_BYTES && PLAIN.test(originForm)) return { path: originForm, query: '' }
  if (originForm.length > TARGET_MAX_BYTES)
    refuse(`the target is longer than ${TARGET_MAX_BYTES} bytes`, originForm)
  if (!originForm.startsWith('/')) refuse('the target does not begin with /', originForm)
  if (!PRINTABLE.test(originForm))
    refuse('the target holds a space, a control or a non-ASCII character', originForm)
  if (originForm.includes('#')) refuse('the target holds a fragment', originForm)
  if (BROKEN_TRIPLET.test(originForm))
    refuse('the target holds a % that two hex digits do not follow', originForm)
  const question = originForm.indexOf('?')
  const path = canonicalPath(question === -1 ? originForm : originForm.slice(0, question), originForm)
  const query = question === -1 ? '' : originForm.slice(question)
  if (path.length + query.length > TARGET_MAX_BYTES)
    refuse(`the target is longer than ${TARGET_MAX_BYTES} bytes`, originForm)
  return { path, query }
}

/** `GET /tickets/42`: how an operation stands in records, answers and texts. */
export function formatOperation({ method, path }: Operation): string {
  return `${method} ${path}`
}

function canonicalPath(raw: string, target: string): string {
  if (raw.includes('\\')) refuse('the path holds a backslash', target)
  const path = raw
    .replace(/%([0-9A-Fa-f]{2})/g, (triplet, hex: string) => canonicalTriplet(triplet, hex, target))
    .replace(NOT_A_PATH_CHARACTER, encode)
  if (/%25[0-9A-Fa-f]{2}/.test(path)) refuse('the path is encoded twice', target)
  if (path.includes('//')) refuse('the path holds an empty segment', target)
  // Servlet containers take `;...` off a segment before they resolve dots
  if (/\/\.\.?(;[^/]*)?(\/|$)/.test(path)) refuse('the path holds a dot segment', target)
  if (OVERLONG.test(path)) refuse('the path holds an overlong UTF-8 sequence', target)
  return path
}

function canonicalTriplet(triplet: string, hex: string, target: string): string {
  const byte = Number.parseInt(hex, 16)
  const character = String.fromCharCode(byte)
  if (byte < 0x20 || byte === 0x7f || character === '/' || character === '\\')
    refuse('the path holds an encoded slash, backslash or control character', target)
  return UNRESERVED.test(character) ? character : triplet.toUpperCase()
}

const encode = (character: string): string => `%${character.charCodeAt(0).toString(16).toUpperCase()}`

function refuse(why: string, target: string): never {
  throw new MeshError('CALL_PATH_REFUSED', `${why}: ${JSON.stringify(target.slice(0, 120))}`)
}
