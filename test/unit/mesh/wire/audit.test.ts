import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  formatShipmentPlace,
  linesOfShipment,
  readShipmentPlace,
  SHIP_MAX_RECORDS,
} from '../../../../mesh/wire/audit.js'

const malformed = expect.objectContaining({ code: 'WIRE_MALFORMED' }) as Error

describe('the place of a shipment', () => {
  it('reads as it was written', () => {
    const place = { firstSeq: 123_456, encoding: 1 }
    expect(readShipmentPlace(new URLSearchParams(formatShipmentPlace(place)))).toEqual(place)
  })

  it.each([
    '',
    'firstSeq=1',
    'encoding=1',
    'firstSeq=-1&encoding=1',
    'firstSeq=1e3&encoding=1',
    'firstSeq=1&firstSeq=1&encoding=1',
  ])('is not %j', (query) => {
    expect(() => readShipmentPlace(new URLSearchParams(query))).toThrow(malformed)
  })

  it.each([
    'firstSeq=9007199254740993&encoding=1',
    'firstSeq=1&encoding=0',
    'firstSeq=1&encoding=01',
    'firstSeq=1&encoding=1000',
  ])('is not %j, beyond what is counted', (query) => {
    expect(() => readShipmentPlace(new URLSearchParams(query))).toThrow(malformed)
  })
})

describe('the lines of a shipment', () => {
  it('are what was joined by line ends, empty ones too', () => {
    const line = fc.string().map((text) => text.replaceAll('\n', ''))
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 20 }), (lines) => {
        const body = Buffer.from(lines.join('\n'))
        const wanted = body.length === 0 ? [] : lines
        expect(linesOfShipment(body).map(String)).toEqual(wanted)
      }),
      { seed: 20_261_123 },
    )
  })

  it('are as many as are allowed, and not one more', () => {
    const full = Array.from({ length: SHIP_MAX_RECORDS }, () => '{}').join('\n')
    expect(linesOfShipment(Buffer.from(full))).toHaveLength(SHIP_MAX_RECORDS)
    expect(() => linesOfShipment(Buffer.from(`${full}\n`))).toThrow(malformed)
  })
})
