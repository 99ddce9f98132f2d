import { describe, expect, it } from 'vitest'
import * as der from '../../../mesh/der-writer.js'

const hex = (bytes: Buffer): string => bytes.toString('hex')
const bytes = (text: string): Buffer => Buffer.from(text, 'hex')

describe('the DER writer', () => {
  it('writes dates as UTCTime through 2049 and as GeneralizedTime from 2050, cut to seconds', () => {
    const timeAt = (text: string): string => {
      const [tag, ...rest] = der.time(Date.parse(text))
      return `${String(tag)} ${Buffer.from(rest.slice(1)).toString('latin1')}`
    }
    expect(timeAt('1950-01-01T00:00:00Z')).toBe('23 500101000000Z')
    expect(timeAt('2026-11-22T10:00:00.999Z')).toBe('23 261122100000Z')
    expect(timeAt('2049-12-31T23:59:59.999Z')).toBe('23 491231235959Z')
    expect(timeAt('2050-01-01T00:00:00Z')).toBe('24 20500101000000Z')
    expect(timeAt('9999-12-31T23:59:59Z')).toBe('24 99991231235959Z')
    for (const odd of [Date.parse('1949-12-31T23:59:59Z'), 253_402_300_800_000, Number.NaN])
      expect(() => der.time(odd)).toThrow(RangeError)
  })

  it('writes integers in their shortest form, positive whatever their top bit', () => {
    expect(hex(der.integer(0))).toBe('020100')
    expect(hex(der.integer(127))).toBe('02017f')
    expect(hex(der.integer(128))).toBe('02020080')
    expect(hex(der.integer(256))).toBe('02020100')
    expect(hex(der.integer(Number.MAX_SAFE_INTEGER))).toBe('02071fffffffffffff')
    expect(hex(der.integer(bytes('000000')))).toBe('020100')
    expect(hex(der.integer(bytes('0000017f')))).toBe('0202017f')
    expect(hex(der.integer(bytes('ff'.repeat(16))))).toBe(`021100${'ff'.repeat(16)}`)
    for (const odd of [-1, 0.5, 2 ** 53, bytes('')]) expect(() => der.integer(odd)).toThrow(RangeError)
    expect(hex(der.enumerated(4))).toBe('0a0104')
  })

  it('leaves out the zero bits at the end of a named bit list', () => {
    expect(hex(der.namedBits(0))).toBe('03020780')
    expect(hex(der.namedBits(5, 6))).toBe('03020106')
    expect(hex(der.namedBits(0, 8))).toBe('0303078080')
    expect(hex(der.namedBits())).toBe('030100')
    expect(hex(der.bitString(bytes('80')))).toBe('03020080')
  })

  it('writes lengths in as few octets as they need', () => {
    const headerOf = (size: number): string => hex(der.octetString(Buffer.alloc(size))).slice(0, -2 * size)
    expect(headerOf(127)).toBe('047f')
    expect(headerOf(128)).toBe('048180')
    expect(headerOf(255)).toBe('0481ff')
    expect(headerOf(256)).toBe('04820100')
    expect(headerOf(65_535)).toBe('0482ffff')
    expect(headerOf(65_536)).toBe('0483010000')
  })

  it('sorts the elements of a SET OF, and keeps those of a SEQUENCE', () => {
    const [one, two] = [der.integer(1), der.integer(2)]
    expect(hex(der.set(two, one))).toBe('3106020101020102')
    expect(hex(der.sequence(two, one))).toBe('3006020102020101')
  })

  it('writes object identifiers, and none that is not one', () => {
    expect(hex(der.oid('2.5.29.15'))).toBe('0603551d0f')
    expect(hex(der.oid('1.2.840.10045.4.3.2'))).toBe('06082a8648ce3d040302')
    expect(hex(der.oid('2.999'))).toBe('06028837')
    for (const odd of ['', '1', '3.1', '1.40', '1.2.x', '1.2.-3', '1.2.4294967296'])
      expect(() => der.oid(odd)).toThrow(RangeError)
  })

  it('writes strings of the repertoire of their type only', () => {
    expect(hex(der.printableString("Aa0 '()+,-./:=?"))).toBe('130f41613020272829' + '2b2c2d2e2f3a3d3f')
    for (const odd of ['a*b', 'a@b', 'a_b', 'ä', '\n'])
      expect(() => der.printableString(odd)).toThrow(RangeError)
    expect(hex(der.utf8String('ä'))).toBe('0c02c3a4')
    expect(hex(der.ia5String('a_@'))).toBe('1603615f40')
    expect(() => der.ia5String('ä')).toThrow(RangeError)
  })

  it('writes booleans, null and tags of their context', () => {
    expect(hex(der.boolean(true))).toBe('0101ff')
    expect(hex(der.boolean(false))).toBe('010100')
    expect(hex(der.nul())).toBe('0500')
    expect(hex(der.explicit(3, der.nul()))).toBe('a3020500')
    expect(hex(der.implicit(6, Buffer.from('a')))).toBe('860161')
    for (const odd of [-1, 31, 0.5]) expect(() => der.explicit(odd)).toThrow(RangeError)
  })
})
