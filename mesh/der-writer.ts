// Writes DER (X.690 §8, §10, §11): pure functions, one for each type that certificates, CRLs and encrypted keys are made of.
// Lengths are definite and shortest, named bits and SETs canonical. It writes only what this program means, so a value that the
// type cannot hold is a bug: a RangeError, never another encoding.

const MAX_OID_ARC = 2 ** 31

export const sequence = (...parts: readonly Uint8Array[]): Buffer => element(0x30, ...parts)

/** SET OF: its elements in ascending order of their bytes (X.690 §11.6). */
export const set = (...parts: readonly Uint8Array[]): Buffer =>
  element(0x31, ...[...parts].sort((one, other) => Buffer.compare(one, other)))

export const boolean = (value: boolean): Buffer => Buffer.from([0x01, 0x01, value ? 0xff : 0x00])

export const nul = (): Buffer => Buffer.from([0x05, 0x00])

/** @param value not negative; or its octets, most significant first, of any number: shortened or led by 00 as DER demands */
export function integer(value: number | Uint8Array): Buffer {
  return element(0x02, typeof value === 'number' ? octetsOf(value) : unsigned(value))
}

export const enumerated = (value: number): Buffer => element(0x0a, octetsOf(value))

export const octetString = (...content: readonly Uint8Array[]): Buffer => element(0x04, ...content)

/** A BIT STRING of whole octets. */
export const bitString = (content: Uint8Array): Buffer => element(0x03, NO_UNUSED_BITS, content)

/** A named bit list, bit 0 first, the zeros at its end left out (X.690 §11.2.2). */
export function namedBits(...bits: readonly number[]): Buffer {
  const last = Math.max(-1, ...bits)
  const octets = Buffer.alloc(Math.ceil((last + 1) / 8))
  for (const bit of bits) octets[bit >> 3] = (octets[bit >> 3] ?? 0) | (0x80 >> (bit & 7))
  return element(0x03, Buffer.from([octets.length * 8 - (last + 1)]), octets)
}

/** @param value ASCII of the repertoire of PrintableString (X.680 §41.4) */
export function printableString(value: string): Buffer {
  if (!isPrintable(value)) throw new RangeError('not a PrintableString')
  return element(0x13, Buffer.from(value, 'latin1'))
}

export const isPrintable = (value: string): boolean => /^[A-Za-z0-9 '()+,\-./:=?]*$/.test(value)

export const utf8String = (value: string): Buffer => element(0x0c, Buffer.from(value, 'utf8'))

export const ia5String = (value: string): Buffer => element(0x16, ascii(value))

/** The octets of an IA5String, for implicit tags. */
export function ascii(value: string): Buffer {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: IA5 is all of ASCII
  if (!/^[\x00-\x7f]*$/.test(value)) throw new RangeError('not ASCII')
  return Buffer.from(value, 'latin1')
}

/** @param dotted e.g. `2.5.29.15` */
export function oid(dotted: string): Buffer {
  const [first = -1, second = -1, ...rest] = dotted.split('.').map(Number)
  const arcs = [first * 40 + second, ...rest]
  const isRight = first <= 2 && second >= 0 && (first === 2 || second < 40)
  if (!isRight || !arcs.every((arc) => Number.isInteger(arc) && arc >= 0 && arc < MAX_OID_ARC))
    throw new RangeError('not an object identifier')
  return element(0x06, Buffer.from(arcs.flatMap(base128)))
}

/**
 * A Time (RFC 5280 §4.1.2.5): UTCTime through 2049, GeneralizedTime from 2050, both with seconds and `Z`.
 * @param at instant, ms since epoch, from 1950; cut to seconds
 */
export function time(at: number): Buffer {
  const year = new Date(at).getUTCFullYear()
  if (!(year >= 1950 && year <= 9999)) throw new RangeError('not a time of X.509')
  return year < 2050 ? element(0x17, Buffer.from(digitsOf(at).slice(2), 'latin1')) : generalizedTime(at)
}

/** @param at as for `time` */
export const generalizedTime = (at: number): Buffer => element(0x18, Buffer.from(digitsOf(at), 'latin1'))

/** `[n] EXPLICIT`, or `[n] IMPLICIT` of a constructed type: its elements are the content. */
export const explicit = (n: number, ...parts: readonly Uint8Array[]): Buffer =>
  element(0xa0 | tagNumber(n), ...parts)

/** `[n] IMPLICIT` of a primitive type: `content` without its own tag and length. */
export const implicit = (n: number, content: Uint8Array): Buffer => element(0x80 | tagNumber(n), content)

const NO_UNUSED_BITS = Buffer.from([0])

function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  let length = 0
  for (const part of parts) length += part.length
  const header = headerOf(tag, length)
  const out = Buffer.allocUnsafe(header.length + length)
  out.set(header)
  let at = header.length
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

function headerOf(tag: number, length: number): number[] {
  if (length < 0x80) return [tag, length]
  if (length < 0x100) return [tag, 0x81, length]
  if (length < 0x10000) return [tag, 0x82, length >> 8, length & 0xff]
  if (length < 0x1000000) return [tag, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff]
  if (length < 0x80000000)
    return [tag, 0x84, length >> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff]
  throw new RangeError('too large for an element')
}

function tagNumber(n: number): number {
  if (!Number.isInteger(n) || n < 0 || n > 30) throw new RangeError('not a tag of one octet')
  return n
}

function octetsOf(value: number): Uint8Array {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError('not a number from 0 to 2^53 - 1')
  const hex = value.toString(16)
  return unsigned(Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex'))
}

function unsigned(value: Uint8Array): Uint8Array {
  let from = 0
  while (from < value.length - 1 && value[from] === 0) from += 1
  const shortest = value.subarray(from)
  if (shortest.length === 0) throw new RangeError('a number without octets')
  return (shortest[0] ?? 0) < 0x80 ? shortest : Buffer.concat([Buffer.from([0]), shortest])
}

function base128(arc: number): number[] {
  const octets = [arc & 0x7f]
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128))
    octets.unshift((rest & 0x7f) | 0x80)
  return octets
}

/** `YYYYMMDDHHMMSSZ` */
const digitsOf = (at: number): string => `${new Date(at).toISOString().slice(0, 19).replace(/[-T:]/g, '')}Z`
