import fc from 'fast-check'
import { expect, it } from 'vitest'
import { CallIds } from '../../../../sidecar/call/call-id.js'
import { IdSet } from '../../../../sidecar/call/id-set.js'

const NOW = 1_800_000_000_000
const ids = new CallIds()

it('has what was added, once each, and nothing else', () => {
  const set = new IdSet(7)
  const added = Array.from({ length: 40_000 }, (_, nth) => ids.next(NOW + (nth % 1000)))
  for (const id of added) expect(set.add(id)).toBe('added')
  expect(set.size).toBe(added.length)
  for (const id of added) expect([set.has(id), set.add(id)]).toEqual([true, 'known'])
  expect(set.size).toBe(added.length)
  for (let nth = 0; nth < 40_000; nth++) expect(set.has(ids.next(NOW + nth))).toBe(false)
})

it('tells ids apart that differ in one digit, of the time or of what only counts up', () => {
  const digits = fc.stringMatching(/^[0-9a-f]{32}$/)
  fc.assert(
    fc.property(digits, fc.nat(31), fc.nat(15), (random, at, other) => {
      const shape = (text: string): string =>
        `${text.slice(0, 8)}-${text.slice(8, 12)}-7${text.slice(13, 16)}-8${text.slice(17, 20)}-${text.slice(20)}`
      const [id, changed] = [random, random.slice(0, at) + other.toString(16) + random.slice(at + 1)].map(
        shape,
      )
      const set = new IdSet(99)
      set.add(id ?? '')
      // the time counts by its last 32 bits, and of the random ones the 62 behind it
      const isSame = id === changed || at < 4 || (at >= 12 && at <= 16)
      expect(set.has(changed ?? '')).toBe(isSame)
    }),
    { seed: 20_261_123 },
  )
})

it('loses nothing when somebody makes ids that would lie side by side', () => {
  // no seed is secret here: every id has its first place among the same eight
  const set = new IdSet(0)
  const crowd: string[] = []
  let outcome: string = 'added'
  for (let nth = 0; outcome === 'added' && nth < 3_000_000; nth++) {
    const id = `0190aaaa-bbbb-7ccc-8ddd-0000${(nth * 64).toString(16).padStart(8, '0')}`
    if (!isNear(id)) continue
    outcome = set.add(id)
    if (outcome === 'added') crowd.push(id)
  }
  expect(outcome).toBe('full')
  expect(crowd.every((id) => set.has(id))).toBe(true)
})

/** As the set finds places with seed 0 in a table of at most 2048 slots. */
function isNear(id: string): boolean {
  const mix = (value: number): number => {
    let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
    return hash ^ (hash >>> 16)
  }
  const time = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
  const high = (Number.parseInt(id.slice(28), 16) ^ mix(time | 0)) >>> 0
  const low = Number.parseInt(id.slice(19, 23) + id.slice(24, 28), 16)
  return (mix(mix(high) ^ low) & 0xff0) === 0
}
