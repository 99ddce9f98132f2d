import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../../mesh/errors.js'
import {
  flag,
  integer,
  lines,
  listOf,
  nullable,
  oneOf,
  type Reader,
  readJson,
  readValue,
  record,
  text,
  variant,
  withDefault,
  word,
} from '../../../mesh/parse.js'

const even = word((raw) => {
  if (Number(raw) % 2 !== 0) throw new Error('odd')
  return Number(raw)
}, 4)

const shape = variant('kind', { a: record({ x: integer(0) }), b: record({ y: text(3) }) })

const taken: [string, Reader<unknown>, unknown, unknown][] = [
  ['text with other scripts', text(), 'grüße 🐢', 'grüße 🐢'],
  ['text of the greatest length', text(3), 'abc', 'abc'],
  ['lines with tabs', lines(9), 'a\n\tb\r\n', 'a\n\tb\r\n'],
  ['the least and greatest integer', listOf(integer(-1, 2), 2), [-1, 2], [-1, 2]],
  ['a flag', flag, false, false],
  ['an option', oneOf('a', 'b'), 'b', 'b'],
  ['null where it may be', nullable(flag), null, null],
  ['an absent field with a default', record({ a: withDefault(flag, true) }), {}, { a: true }],
  ['a word', even, '42', 42],
  ['unknown fields, which are dropped', record({ a: flag }), { a: true, b: 1 }, { a: true }],
  ['a variant', shape, { kind: 'b', y: 'abc', x: 1 }, { kind: 'b', y: 'abc' }],
]

const refused: [string, Reader<unknown>, unknown, string][] = [
  ['text that is too long', text(3), 'abcd', 'at most 3'],
  ['text with a newline', text(), 'a\nb', 'text'],
  ['text with an escape', text(), '\u001b[31m', 'text'],
  ['lines with an escape', lines(99), 'a\n\u001b[31m', 'text'],
  ['lines with a NUL', lines(99), 'a\u0000', 'text'],
  ['a number for text', text(), 1, 'text'],
  ['a fraction', integer(0), 1.5, 'whole number'],
  ['a number beyond 2^53', integer(0), 2 ** 53, 'whole number'],
  ['NaN', integer(0), Number.NaN, 'whole number'],
  ['digits for a number', integer(0), '1', 'whole number'],
  ['1 for a flag', flag, 1, 'true or false'],
  ['an unknown option', oneOf('a', 'b'), 'c', 'one of a, b'],
  ['a list that is too long', listOf(flag, 1), [true, true], 'at most 1'],
  ['a record for a list', listOf(flag, 1), { 0: true, length: 1 }, 'list'],
  ['a list for a record', record({}), [], 'object'],
  ['null for a record', record({}), null, 'object'],
  ['an absent field', record({ a: flag }), {}, 'a must be'],
  ['an inherited field', record({ toString: text() }), {}, 'toString must be'],
  [
    'a wrong item, named by its place',
    record({ a: listOf(record({ b: flag }), 9) }),
    { a: [{ b: true }, { b: 1 }] },
    'a[1].b',
  ],
  ['a word its parser refuses', even, '43', 'odd'],
  ['an unknown variant', shape, { kind: 'c' }, 'kind must be one of a, b'],
  ['an inherited variant', shape, { kind: 'constructor' }, 'one of a, b'],
]

describe('a reader', () => {
  it.each(taken)('takes %s', (_what, read, value, wanted) => {
    expect(readValue(value, read, 'thing')).toEqual(wanted)
  })

  it.each(refused)('refuses %s', (_what, read, value, part) => {
    expect(() => readValue(value, read, 'thing')).toThrow(
      expect.objectContaining({
        code: 'WIRE_MALFORMED',
        message: expect.stringContaining(part) as string,
      }) as MeshError,
    )
  })

  it('lets a bug in a reader through as it is', () => {
    const broken: Reader<never> = () => {
      throw new TypeError('bug')
    }
    expect(() => readValue(1, broken, 'thing')).toThrow(TypeError)
  })
})

describe('JSON', () => {
  it('is read from text and from bytes', () => {
    expect(readJson('{"a":true}', record({ a: flag }), 'thing')).toEqual({ a: true })
    expect(readJson(Buffer.from('{"a":true}'), record({ a: flag }), 'thing')).toEqual({ a: true })
  })

  it('is refused without a word of it: it may be a secret', () => {
    const secret = 'hunter2'
    try {
      readJson(`{"secret": ${secret}}`, text(), 'thing')
    } catch (error) {
      const { message, cause } = error as MeshError
      expect([message, cause]).toEqual(['thing is not JSON', undefined])
      return
    }
    throw new Error('it was read')
  })

  it.each<[string, string | Uint8Array]>([
    ['nothing', ''],
    ['text that is not JSON', '{a:1}'],
    ['bytes that are not UTF-8', Buffer.from([0x22, 0xc3, 0x28, 0x22])],
    ['two values', '{} {}'],
  ])('is refused as %s, with the code of the caller', (_what, json) => {
    expect(() => readJson(json, text(), 'thing', 'CSR_INVALID')).toThrow(
      expect.objectContaining({ code: 'CSR_INVALID' }) as MeshError,
    )
  })

  it('cannot reach the prototype', () => {
    const read = readJson(
      '{"__proto__":{"b":true},"a":true}',
      record({ a: flag, b: withDefault(flag, false) }),
      'thing',
    )
    expect(read).toEqual({ a: true, b: false })
  })
})
