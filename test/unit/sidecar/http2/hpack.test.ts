import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HpackDecoder } from '../../../../sidecar/http2/hpack/decoder.js'
import { DynamicTable } from '../../../../sidecar/http2/hpack/dynamic-table.js'
import {
  BLOCK_OVERHEAD_BYTES,
  boundOfAll,
  HpackEncoder,
  type StringCoding,
} from '../../../../sidecar/http2/hpack/encoder.js'
import {
  decodedBound,
  decodeHuffman,
  encodeHuffman,
  huffmanLength,
} from '../../../../sidecar/http2/hpack/huffman.js'
import { block } from '../../../support/http2-raw.js'

interface Vector {
  readonly section: string
  readonly tableBytes: number
  readonly blocks: readonly {
    readonly hex: string
    readonly fields: readonly (readonly [string, string])[]
    readonly table: readonly (readonly [string, string])[]
    readonly bytes: number
  }[]
}

const VECTORS = JSON.parse(
  readFileSync(new URL('../../../vectors/hpack.json', import.meta.url), 'utf8'),
) as readonly Vector[]
const RUNS = process.env['SLOW'] === undefined ? 300 : 5000

const decode = (decoder: HpackDecoder, hex: string): string[] | null => {
  const bytes = Buffer.from(hex, 'hex')
  return decoder.decode(bytes, 0, bytes.length)
}

const entriesOf = (table: DynamicTable): string[][] =>
  Array.from({ length: table.length }, (_, age) => [table.nameAt(age) ?? '', table.valueAt(age) ?? ''])

const encode = (fields: readonly string[], coding: StringCoding): Buffer => {
  const encoder = new HpackEncoder(coding)
  const target = Buffer.alloc(boundOfAll(fields) + BLOCK_OVERHEAD_BYTES)
  encoder.begin(target, 0)
  encoder.fields(fields)
  return target.subarray(0, encoder.finish())
}

const asLatin1 = (text: string, bytes: Buffer): string => {
  const target = Buffer.alloc(decodedBound(bytes.length))
  expect(bytes).toHaveLength(huffmanLength(text))
  return target.toString('latin1', 0, decodeHuffman(bytes, 0, bytes.length, target))
}

describe('RFC 7541 appendix C', () => {
  for (const { section, tableBytes, blocks } of VECTORS)
    it(`${section} decodes to the fields and the table of the standard`, () => {
      const decoder = new HpackDecoder(65_536)
      decoder.table.resize(tableBytes)
      for (const { hex, fields, table, bytes } of blocks) {
        expect(decode(decoder, hex)).toEqual(fields.flat())
        expect(entriesOf(decoder.table)).toEqual(table)
        expect(decoder.table.bytes).toBe(bytes)
      }
    })

  it('C.1 reads integers of one octet and of several', () => {
    const decoder = new HpackDecoder(65_536)
    decode(decoder, '2a')
    expect(decoder.table.maxBytes).toBe(10)
    decode(decoder, '3f9a0a')
    expect(decoder.table.maxBytes).toBe(1337)
  })

  it('C.4 and C.6 strings are coded as the standard codes them', () => {
    for (const [text, hex] of [
      ['www.example.com', 'f1e3c2e5f23a6ba0ab90f4ff'],
      ['no-cache', 'a8eb10649cbf'],
      ['custom-key', '25a849e95ba97d7f'],
      ['custom-value', '25a849e95bb8e8b4bf'],
      ['302', '6402'],
      ['private', 'aec3771a4b'],
      ['Mon, 21 Oct 2013 20:13:21 GMT', 'd07abe941054d444a8200595040b8166e082a62d1bff'],
      ['https://www.example.com', '9d29ad171863c78f0b97c8e9ae82ae43d3'],
    ] as const) {
      const target = Buffer.alloc(64)
      expect(target.toString('hex', 0, encodeHuffman(text, target, 0))).toBe(hex)
    }
  })
})

describe('Huffman code', () => {
  it('reads every octet back that it has written', () => {
    for (let octet = 0; octet < 256; octet++) {
      const text = String.fromCharCode(octet)
      for (const string of [text, text.repeat(7), `a${text}z`]) {
        const target = Buffer.alloc(40)
        expect(asLatin1(string, target.subarray(0, encodeHuffman(string, target, 0)))).toBe(string)
      }
    }
  })

  it('reads any string back that it has written', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
        const text = Buffer.from(octets).toString('latin1')
        const target = Buffer.alloc(1300)
        expect(asLatin1(text, target.subarray(0, encodeHuffman(text, target, 0)))).toBe(text)
      }),
      { numRuns: RUNS },
    )
  })
})

describe('HPACK decoder', () => {
  const refused = (hex: string, act: (decoder: HpackDecoder) => void = () => undefined): void => {
    const decoder = new HpackDecoder(65_536)
    act(decoder)
    expect(() => decode(decoder, hex), hex).toThrow(
      expect.objectContaining({ code: 'HTTP2_PROTOCOL', h2: 9 }) as Error,
    )
  }

  it('refuses what is no block', () => {
    for (const hex of [
      '80', // index 0
      'be', // beyond both tables
      '7f0100', // a name beyond both tables
      '40', // a literal without strings
      '0001', // a name that is cut off
      '000161', // the value is missing
      '00016105ab', // the value is cut off
      'ff', // an integer without its end
      'ffffffffffff00', // an integer beyond every limit
      '3fe21f', // a table of 4097
      '202020', // three table size updates
      '8220', // an update behind a field
      '0081ff0000', // padding of eight ones
      '0081fe00', // padding that is not of ones
    ])
      refused(hex)
  })

  it('wants to hear that a smaller table was taken note of', () => {
    refused('82', (decoder) => decoder.limitTable(0))
    const decoder = new HpackDecoder(65_536)
    decoder.limitTable(0)
    expect(decode(decoder, '2082')).toEqual([':method', 'GET'])
    expect(decode(decoder, '82')).toEqual([':method', 'GET'])
    refused('3f0182', (other) => other.limitTable(16))
  })

  it('keeps the table right where a list is too large to be returned', () => {
    const decoder = new HpackDecoder(100)
    expect(decode(decoder, `4001617f0a${'62'.repeat(137)}`)).toBeNull()
    expect(decoder.table.length).toBe(1)
    expect(decode(decoder, '82')).toEqual([':method', 'GET'])
  })

  it('never throws anything but its own error, whatever it is fed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (octets) => {
        const decoder = new HpackDecoder(4096)
        try {
          decoder.decode(Buffer.from(octets), 0, octets.length)
        } catch (error) {
          expect(error).toMatchObject({ code: 'HTTP2_PROTOCOL', h2: 9 })
        }
        expect(decoder.table.bytes).toBeLessThanOrEqual(4096)
      }),
      { numRuns: RUNS * 3 },
    )
  })
})

describe('HPACK encoder', () => {
  const token = fc.stringMatching(/^[a-z0-9!#$%&'*+.^_`|~-]{1,30}$/)
  const value = fc.stringMatching(/^[\t\x20-\x7e\x80-\xff]{0,200}$/)

  it('says what a decoder hears, in both codings', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(token, value), { maxLength: 20 }), (pairs) => {
        for (const coding of ['plain', 'huffman'] as const) {
          const bytes = encode(pairs.flat(), coding)
          expect(new HpackDecoder(1 << 20).decode(bytes, 0, bytes.length)).toEqual(pairs.flat())
        }
      }),
      { numRuns: RUNS },
    )
  })

  it('lets nobody index what may be a secret', () => {
    expect(
      encode(['accept-encoding', 'gzip, deflate', 'cookie', 'a=1', 'x-a', 'b'], 'plain').toString('hex'),
    ).toBe(`901f1103${Buffer.from('a=1').toString('hex')}1003${Buffer.from('x-a').toString('hex')}0162`)
  })

  it('acknowledges a smaller table once', () => {
    const encoder = new HpackEncoder('plain')
    encoder.limitTable(0)
    const target = Buffer.alloc(64)
    const hexOf = (): string => {
      encoder.begin(target, 0)
      encoder.pseudo(':status', '200')
      return target.toString('hex', 0, encoder.finish())
    }
    expect([hexOf(), hexOf()]).toEqual(['2088', '88'])
  })

  it('says a steady field by its index from the third time on, and a changing one in full', () => {
    const encoder = new HpackEncoder('plain')
    const decoder = new HpackDecoder(65_536)
    const target = Buffer.alloc(10_000)
    const lengths = Array.from({ length: 300 }, (_, call) => {
      const fields = [
        'user-agent',
        'v'.repeat(50),
        'accept',
        `type/${call}`,
        'cookie',
        'same',
        'x-api-key',
        'same',
      ]
      encoder.begin(target, 0)
      encoder.pseudo(':authority', 'tools.mesh')
      encoder.fields(fields)
      const length = encoder.finish()
      expect(decoder.decode(target, 0, length)).toEqual([':authority', 'tools.mesh', ...fields])
      return length
    })
    expect(lengths[2]).toBeLessThan((lengths[0] ?? 0) - 55)
    expect(lengths[299]).toBeLessThanOrEqual((lengths[2] ?? 0) + 2)
    expect(entriesOf(decoder.table)).toEqual([
      ['user-agent', 'v'.repeat(50)],
      [':authority', 'tools.mesh'],
    ])
  })

  it('is understood by a decoder whatever is said, in whatever table, and after a head that could not be sent', () => {
    const names = fc.constantFrom('user-agent', 'accept', 'server', 'vary', 'te', 'x-a', 'cookie')
    const values = fc.constantFrom('a', 'b', 'c'.repeat(100), 'd'.repeat(400), 'e\n')
    const head = fc.array(fc.tuple(names, values), { maxLength: 5 })
    fc.assert(
      fc.property(
        fc.array(head, { maxLength: 40 }),
        fc.constantFrom(4096, 500, 100, 0),
        (heads, tableBytes) => {
          const encoder = new HpackEncoder('plain')
          const decoder = new HpackDecoder(65_536)
          encoder.limitTable(tableBytes)
          decoder.limitTable(tableBytes)
          const target = Buffer.alloc(4096)
          for (const pairs of heads) {
            encoder.begin(target, 0)
            try {
              encoder.fields(pairs.flat())
            } catch {
              continue
            }
            expect(decoder.decode(target, 0, encoder.finish())).toEqual(pairs.flat())
          }
        },
      ),
      { numRuns: RUNS * 3 },
    )
  })

  it.each([
    ['a line break', ['x-a', 'b\r\nx-evil: 1']],
    ['a letter that latin1 would cut to a line break', ['x-a', 'b\u010ac']],
    ['NUL', ['x-a', 'b\0']],
    ['upper case in a name', ['X-A', 'b']],
    ['a pseudo-field among the fields', [':path', '/other']],
    ['no name', ['', 'b']],
  ])('does not send %s', (_, fields) => {
    for (const coding of ['plain', 'huffman'] as const)
      expect(() => encode(fields, coding)).toThrow(
        expect.objectContaining({ code: 'CALL_MALFORMED' }) as Error,
      )
  })

  it('is cut off by no decoder where the test support codes strings itself', () => {
    const long = 'v'.repeat(70_000)
    const bytes = block([['x-long', long]])
    expect(new HpackDecoder(1 << 20).decode(bytes, 0, bytes.length)).toEqual(['x-long', long])
  })
})

describe('dynamic table', () => {
  it('holds the youngest entries that fit, as a plain list would', () => {
    const act = fc.oneof(
      fc.record({ add: fc.tuple(fc.string({ maxLength: 20 }), fc.string({ maxLength: 20 })) }),
      fc.record({ resize: fc.nat(300) }),
    )
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const table = new DynamicTable(200)
        let max = 200
        let list: (readonly [string, string])[] = []
        const sizeOf = (): number =>
          list.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0)
        for (const one of acts) {
          if ('add' in one) {
            list = [one.add, ...list]
            table.add(...one.add)
          } else {
            max = one.resize
            table.resize(max)
          }
          while (sizeOf() > max) list = list.slice(0, -1)
          expect(entriesOf(table)).toEqual(list)
          expect(table.bytes).toBe(sizeOf())
        }
      }),
      { numRuns: RUNS },
    )
  })
})
