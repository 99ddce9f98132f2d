// The table of open streams beside a plain map: whatever comes and goes, both hold the same.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Stream, type StreamCore } from '../../../../sidecar/http2/stream.js'
import { StreamTable } from '../../../../sidecar/http2/stream-table.js'

const unused = (): never => {
  throw new Error('the table says nothing to streams')
}
const CORE: StreamCore = {
  sendHead: unused,
  sendInterim: unused,
  sendData: unused,
  sendEnd: unused,
  consume: unused,
  reset: unused,
}

const own = (table: StreamTable): Stream => new Stream(table.takeOwnId(), CORE)

describe('the table of streams', () => {
  it('holds what a map would hold, also when old streams outlive thousands of younger ones', () => {
    // of each step: how many begin, and which of those that are open end
    const steps = fc.array(fc.tuple(fc.nat(40), fc.array(fc.nat(1_000_000), { maxLength: 40 })), {
      minLength: 20,
      maxLength: 60,
    })
    fc.assert(
      fc.property(steps, (all) => {
        const table = new StreamTable(1)
        const model = new Map<number, Stream>()
        for (const [begun, ended] of all) {
          for (let each = 0; each < begun; each++) {
            const stream = own(table)
            table.add(stream)
            model.set(stream.id, stream)
          }
          for (const pick of ended) {
            // the first ones live longest
            const young = [...model.values()].slice(4)
            const stream = young[pick % Math.max(1, young.length)]
            if (stream === undefined) continue
            table.remove(stream, 'us')
            model.delete(stream.id)
          }
          expect(table.size).toBe(model.size)
          expect(table.ownCount).toBe(model.size)
          expect(table.all().filter((stream) => model.get(stream.id) !== stream)).toEqual([])
          expect(table.all()).toHaveLength(model.size)
          const ids = Array.from({ length: table.nextOwn >> 1 }, (_, nth) => 2 * nth + 1)
          expect(ids.filter((id) => table.get(id) !== model.get(id))).toEqual([])
        }
      }),
      { numRuns: 10 },
    )
  })

  it('finds a stream that a younger one has driven from its slot, and ends each once', () => {
    const table = new StreamTable(1)
    const oldest = own(table)
    table.add(oldest)
    const others = Array.from({ length: 600 }, () => own(table))
    for (const stream of others) table.add(stream)
    expect(table.get(oldest.id)).toBe(oldest)
    table.remove(oldest, 'us')
    table.remove(oldest, 'us')
    expect(table.get(oldest.id)).toBeUndefined()
    expect(table.size).toBe(600)
    for (const stream of others) expect(table.get(stream.id)).toBe(stream)
  })

  it('takes the even ids of a server and the odd ones of its peer for different streams', () => {
    const table = new StreamTable(2)
    const [ours, theirs] = [own(table), new Stream(3, CORE)]
    table.add(ours)
    table.add(theirs)
    expect([table.get(2), table.get(3), table.get(1)]).toEqual([ours, theirs, undefined])
    table.remove(ours, 'us')
    expect([table.get(2), table.get(3), table.ownCount, table.size]).toEqual([undefined, theirs, 0, 1])
  })
})
