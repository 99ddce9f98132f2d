// Readers: small functions that turn an untrusted value into a type, or refuse it with the place that is wrong. Every wire
// message and config file is parsed with them, once, at its border. Unknown fields are ignored (wires are versioned).

import { MeshError, type MeshErrorCode } from './errors.js'

/** Reads one value; `at` names its place, e.g. `changes[3].serial`. */
export type Reader<T> = (value: unknown, at: string) => T
export type Read<R> = R extends Reader<infer T> ? T : never

class Mismatch extends Error {}

const fail = (at: string, wanted: string): never => {
  throw new Mismatch(`${at} must be ${wanted}`)
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
const CONTROL = /[\u0000-\u001f\u007f]/
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
const CONTROL_BUT_LAYOUT = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/

/** A string of at most `max` UTF-16 units without control characters. */
export const text =
  (max = 4096): Reader<string> =>
  (value, at) =>
    typeof value === 'string' && value.length <= max && !CONTROL.test(value)
      ? value
      : fail(at, `text of at most ${max} characters`)

/** Text of several lines, e.g. PEM or YAML: no control characters but tabs and line ends. */
export const lines =
  (max: number): Reader<string> =>
  (value, at) =>
    typeof value === 'string' && value.length <= max && !CONTROL_BUT_LAYOUT.test(value)
      ? value
      : fail(at, `text of at most ${max} characters`)

export const integer =
  (min: number, max = Number.MAX_SAFE_INTEGER): Reader<number> =>
  (value, at) =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
      ? value
      : fail(at, `a whole number from ${min} to ${max}`)

export const flag: Reader<boolean> = (value, at) =>
  typeof value === 'boolean' ? value : fail(at, 'true or false')

export const oneOf =
  <const T extends string>(...options: readonly T[]): Reader<T> =>
  (value, at) =>
    options.find((option) => option === value) ?? fail(at, `one of ${options.join(', ')}`)

export const listOf =
  <T>(read: Reader<T>, max: number): Reader<T[]> =>
  (value, at) => {
    if (!Array.isArray(value) || value.length > max) return fail(at, `a list of at most ${max}`)
    return value.map((item: unknown, index) => read(item, `${at}[${index}]`))
  }

export const nullable =
  <T>(read: Reader<T>): Reader<T | null> =>
  (value, at) =>
    value === null ? null : read(value, at)

/** The value when it is absent. */
export const withDefault =
  <T>(read: Reader<T>, absent: T): Reader<T> =>
  (value, at) =>
    value === undefined ? absent : read(value, at)

/** Text that a word parser (parseSpiffeId and the like) turns into its type. */
export const word =
  <T>(parse: (text: string) => T, max = 2048): Reader<T> =>
  (value, at) => {
    const raw = text(max)(value, at)
    try {
      return parse(raw)
    } catch (error) {
      return fail(at, `well-formed: ${error instanceof Error ? error.message : 'refused'}`)
    }
  }

/** A plain object with these fields. */
export const record =
  <F extends Record<string, Reader<unknown>>>(fields: F): Reader<{ [K in keyof F]: Read<F[K]> }> =>
  (value, at) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail(at, 'an object')
    const out: Record<string, unknown> = {}
    for (const [name, read] of Object.entries(fields)) {
      out[name] = read(
        Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined,
        at === '' ? name : `${at}.${name}`,
      )
    }
    return out as { [K in keyof F]: Read<F[K]> }
  }

/** A tagged union: `variants` by the value of the field `tag`. */
export const variant =
  <const T extends string, V extends Record<string, Reader<unknown>>>(
    tag: T,
    variants: V,
  ): Reader<{ [K in keyof V]: { readonly [P in T]: K } & Read<V[K]> }[keyof V]> =>
  (value, at) => {
    const name: unknown =
      typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[tag] : undefined
    const read = typeof name === 'string' && Object.hasOwn(variants, name) ? variants[name] : undefined
    if (read === undefined)
      return fail(at === '' ? tag : `${at}.${tag}`, `one of ${Object.keys(variants).join(', ')}`)
    return { [tag]: name, ...(read(value, at) as object) } as never
  }

/**
 * Reads one whole value.
 * @throws MeshError `code` naming `what` and the first place that is wrong
 */
export function readValue<T>(
  value: unknown,
  read: Reader<T>,
  what: string,
  code: MeshErrorCode = 'WIRE_MALFORMED',
): T {
  try {
    return read(value, '')
  } catch (error) {
    if (error instanceof Mismatch) throw new MeshError(code, `${what}: ${error.message.trim()}`)
    throw error
  }
}

/**
 * Reads JSON text or UTF-8 bytes; invalid UTF-8 is refused. Bound the size before calling.
 * @throws MeshError `code`
 */
export function readJson<T>(
  json: string | Uint8Array,
  read: Reader<T>,
  what: string,
  code: MeshErrorCode = 'WIRE_MALFORMED',
): T {
  let value: unknown
  try {
    value = JSON.parse(
      typeof json === 'string' ? json : new TextDecoder('utf-8', { fatal: true }).decode(json),
    )
  } catch {
    // without its cause: V8 quotes the text, which may be a secret
    throw new MeshError(code, `${what} is not JSON`)
  }
  return readValue(value, read, what, code)
}
