import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type FrameHeader, FrameReader } from '../../../../sidecar/http2/frame-reader.js'
import { data, frame, PADDED, PREFACE } from '../../../support/http2-raw.js'
import { heldBytes } from '../../../support/memory.js'

/** What a sink hears, with the pieces of a body put together. */
function read(pieces: readonly Uint8Array[], preface: 'preface' | 'no-preface' = 'no-preface'): string[] {
  const lines: string[] = []
  let body = ''
  const reader = new FrameReader(
    {
      onFrameHeader: ({ type, length }) => lines.push(`header ${type} ${length}`),
      onFrame: ({ type }, bytes, start, end) =>
        lines.push(`frame ${type} ${bytes.toString('hex', start, end)}`),
      onData: (_, bytes, start, end) => {
        expect(end).toBeGreaterThan(start)
        body += bytes.toString('hex', start, end)
      },
      onDataEnd: ({ streamId }: FrameHeader) => {
        lines.push(`data ${streamId} ${body}`)
        body = ''
      },
    },
    preface,
  )
  for (const piece of pieces) {
    const copy = Buffer.from(piece)
    reader.feed(copy)
    // The user may use its buffer again: nothing may still refer to it.
    copy.fill(0xee)
  }
  return lines
}

const aFrame = fc
  .tuple(fc.nat(12), fc.nat(255), fc.nat(9), fc.uint8Array({ maxLength: 40 }))
  // PADDED on DATA needs a pad length that fits; that is for the tests below.
  .map(([type, flags, id, payload]) => frame(type, type === 0 ? flags & ~PADDED : flags, id, payload))

it('reads the same frames wherever the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(aFrame, { maxLength: 8 }),
      fc.array(fc.nat(400), { maxLength: 12 }),
      (frames, cuts) => {
        const bytes = Buffer.concat(frames)
        const places = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length]
        const pieces = places.slice(1).map((end, index) => bytes.subarray(places[index], end))
        expect(read(pieces)).toEqual(read([bytes]))
        expect(read([...bytes].map((octet) => Buffer.of(octet)))).toEqual(read([bytes]))
      },
    ),
  )
})

it('hands on DATA without padding', () => {
  expect(
    read([data(1, '\x03abc\0\0\0', PADDED), data(1, '\x02\0\0', PADDED), data(3, '\0', PADDED)]),
  ).toEqual(['header 0 7', 'data 1 616263', 'header 0 3', 'data 1 ', 'header 0 1', 'data 3 '])
})

it('refuses padding that is longer than its frame, or has no room', () => {
  expect(() => read([data(1, '\x03ab', PADDED)])).toThrow(expect.objectContaining({ h2: 1 }) as Error)
  expect(() => read([data(1, '', PADDED)])).toThrow(expect.objectContaining({ h2: 6 }) as Error)
})

it('refuses a wrong preface at its first wrong octet', () => {
  expect(read([PREFACE, frame(4, 0, 0, '')], 'preface')).toEqual(['header 4 0', 'frame 4 '])
  expect(() => read([Buffer.from('GET ')], 'preface')).toThrow(expect.objectContaining({ h2: 1 }) as Error)
  expect(() => read([PREFACE.subarray(0, 23), Buffer.from('x')], 'preface')).toThrow()
})

it('gathers nothing of a frame that it does not know', () => {
  const huge = Buffer.alloc(9 + 16_000_000)
  huge.writeUIntBE(16_000_000, 0, 3)
  huge[3] = 0x42
  const before = heldBytes()
  expect(read([huge.subarray(0, 9), huge.subarray(9, 50)])).toEqual(['header 66 16000000'])
  expect(heldBytes() - before).toBeLessThan(1_000_000)
})
