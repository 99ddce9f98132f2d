import { describe, expect, it } from 'vitest'
import { readTime } from '../../../mesh/certificate-der.js'
import { NotDer, readChildren, readElements, readOid } from '../../../mesh/der.js'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const [UTC, GENERALIZED] = [0x17, 0x18]

function timeOf(tag: number, text: string): number {
  const content = Buffer.from(text, 'latin1')
  return readTime({ tag, content, raw: content })
}

describe('the reader of DER', () => {
  it.each([
    ['a tag of several octets', '1f 01 00'],
    ['an indefinite length', '30 80 00 00'],
    ['a length in more octets than it needs', '04 81 01 00'],
    ['a length with a leading zero', `04 82 00 80 ${'00'.repeat(128)}`],
    ['a length of four octets', '04 84 00 00 00 01 00'],
    ['an element longer than what holds it', '04 05 aa'],
    ['a tag without a length', '04'],
    ['a length that is cut off', '04 82 01'],
  ])('refuses %s', (_what, der) => {
    expect(() => readElements(hex(der))).toThrow(NotDer)
  })

  it('refuses a second element where one is wanted, and other tags within', () => {
    expect(readChildren(hex('30 02 05 00'), 0x30, [0x05])).toHaveLength(1)
    for (const der of ['30 02 05 00 30 00', '31 02 05 00', '30 02 04 00', '30 04 05 00 05 00', '30 00'])
      expect(() => readChildren(hex(der), 0x30, [0x05])).toThrow(NotDer)
  })

  it.each(['', '80 01', '2a 80 01', '2a 86', '2a ff ff ff ff ff ff ff 7f'])(
    'refuses the identifier %s',
    (oid) => {
      expect(() => readOid({ tag: 6, content: hex(oid), raw: hex(oid) })).toThrow(NotDer)
    },
  )
})

describe('the reader of times', () => {
  it('takes UTCTime through 2049 and GeneralizedTime from then on', () => {
    expect(timeOf(UTC, '491231235959Z')).toBe(Date.UTC(2049, 11, 31, 23, 59, 59))
    expect(timeOf(UTC, '500101000000Z')).toBe(Date.UTC(1950, 0, 1))
    expect(timeOf(GENERALIZED, '20500101000000Z')).toBe(Date.UTC(2050, 0, 1))
    expect(timeOf(UTC, '280229000000Z')).toBe(Date.UTC(2028, 1, 29))
  })

  it.each([
    [UTC, '261301000000Z'],
    [UTC, '260001000000Z'],
    [UTC, '260230000000Z'],
    [UTC, '260100000000Z'],
    [UTC, '260101240000Z'],
    [UTC, '260101006000Z'],
    [UTC, '260101000060Z'],
    [UTC, '2601010000Z'],
    [UTC, '260101000000+0000'],
    [UTC, '20500101000000Z'],
    [GENERALIZED, '20491231235959Z'],
    [GENERALIZED, '20501301000000Z'],
    [GENERALIZED, '20500101000000.5Z'],
    [0x04, '260101000000Z'],
  ])('refuses tag %i with %s', (tag, text) => {
    expect(() => timeOf(tag, text)).toThrow(NotDer)
  })
})
