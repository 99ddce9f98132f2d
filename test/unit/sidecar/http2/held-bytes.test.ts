import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Blocks, HeldBytes } from '../../../../sidecar/http2/held-bytes.js'

/** No two stretches of it are alike. */
const bytesOf = (length: number, first: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, at) => ((first + at) * 2654435761) >>> 24))

const ACTS = fc.array(
  fc.record({
    stream: fc.constantFrom(0, 1),
    act: fc.constantFrom('add', 'add', 'take', 'drop'),
    size: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 70_000 })),
    skip: fc.integer({ min: 0, max: 9 }),
  }),
  { maxLength: 40 },
)

it('of streams that share blocks each gets back its own bytes, in order, however they are put in and taken out', () => {
  fc.assert(
    fc.property(ACTS, (acts) => {
      const blocks = new Blocks()
      const held = [new HeldBytes(blocks), new HeldBytes(blocks)] as const
      const expected: [Buffer, Buffer] = [Buffer.alloc(0), Buffer.alloc(0)]
      let first = 0
      for (const { stream, act, size, skip } of acts) {
        const own = stream === 0 ? 0 : 1
        if (act === 'add') {
          first += 7919
          const bytes = bytesOf(size + skip, first)
          held[own].add(bytes, skip)
          expected[own] = Buffer.concat([expected[own], bytes.subarray(skip)])
          // what was added is copied
          bytes.fill(0xee)
        } else if (act === 'take') {
          const count = Math.min(size, held[own].length)
          const target = Buffer.alloc(count + skip)
          held[own].moveInto(target, skip, count)
          expect(target.subarray(skip).equals(expected[own].subarray(0, count))).toBe(true)
          expected[own] = expected[own].subarray(count)
        } else {
          held[own].drop()
          expected[own] = Buffer.alloc(0)
        }
        expect([held[0].length, held[1].length]).toEqual([expected[0].length, expected[1].length])
      }
      for (const own of [0, 1] as const) {
        const target = Buffer.alloc(held[own].length)
        held[own].moveInto(target, 0, target.length)
        expect(target.equals(expected[own])).toBe(true)
      }
    }),
  )
})

it('blocks of bodies that were sent or dropped serve the next ones, and no more than some are kept', () => {
  const blocks = new Blocks()
  const held = new HeldBytes(blocks)
  held.add(bytesOf(16 * 1024, 1), 0)
  held.drop()
  const used = blocks.take()
  blocks.giveBack(used)
  held.add(bytesOf(100, 2), 0)
  held.moveInto(Buffer.alloc(100), 0, 100)
  expect(blocks.take()).toBe(used)
  held.add(Buffer.alloc(100 * 16 * 1024), 0)
  held.drop()
  const kept = new Set(Array.from({ length: 200 }, () => blocks.take()))
  expect(kept.size).toBe(200)
  for (const block of kept) blocks.giveBack(block)
  const again = Array.from({ length: 200 }, () => blocks.take()).filter((block) => kept.has(block))
  expect(again).toHaveLength(32)
})

it('more than is held cannot be taken', () => {
  const held = new HeldBytes(new Blocks())
  held.add(bytesOf(10, 1), 0)
  expect(() => held.moveInto(Buffer.alloc(20), 0, 11)).toThrow(RangeError)
})
