// A set of call ids that keeps no string: of each id 64 bits, in one array, so that many thousands cost a few hundred kilobytes, no garbage
// and one look into memory. Two ids that share those bits (by chance one in 10^14 for 100,000 others) are one to it.

import { hexAt, timeOfCallId } from './call-id.js'

const FIRST_SLOTS = 32
/** In a row: more is no chance while half of the slots are free, and nobody shall make us look further. */
const MAX_LOOKS = 512

export class IdSet {
  size = 0
  readonly #seed: number
  /** Two words a slot; a free one is all zero, which no id is: its variant is 10. */
  #slots = new Uint32Array(2 * FIRST_SLOTS)

  /** @param seed 32 random bits that only this process knows */
  constructor(seed: number) {
    this.#seed = seed
  }

  has(id: string): boolean {
    const at = this.#find(highOf(id), lowOf(id))
    return at >= 0 && this.#slots[at + 1] !== 0
  }

  /** @returns `full` when it finds no place for it, by ids that were made to crowd: it still has all others */
  add(id: string): 'added' | 'known' | 'full' {
    if (4 * this.size >= this.#slots.length && !this.#grow()) return 'full'
    const high = highOf(id)
    const low = lowOf(id)
    const at = this.#find(high, low)
    if (at < 0) return 'full'
    if (this.#slots[at + 1] !== 0) return 'known'
    this.#slots[at] = high
    this.#slots[at + 1] = low
    this.size += 1
    return 'added'
  }

  /** @returns where it is, or could be; -1 when that is too far */
  #find(high: number, low: number): number {
    const slots = this.#slots
    // an even number below the length, which is a power of two
    const mask = slots.length - 2
    let at = mix(mix(high ^ this.#seed) ^ low) & mask
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      if (slots[at + 1] === 0 || (slots[at] === high && slots[at + 1] === low)) return at
      at = (at + 2) & mask
    }
    return -1
  }

  #grow(): boolean {
    const before = this.#slots
    this.#slots = new Uint32Array(2 * before.length)
    for (let from = 0; from < before.length; from += 2) {
      const high = before[from] ?? 0
      const low = before[from + 1] ?? 0
      if (low === 0) continue
      const at = this.#find(high, low)
      if (at < 0) {
        this.#slots = before
        return false
      }
      this.#slots[at] = high
      this.#slots[at + 1] = low
    }
    return true
  }
}

/** Every bit of the number has a say in every bit of the result (the finalizer of MurmurHash3). */
function mix(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

/** 32 random bits and the time: some make ids that only count within a millisecond. */
const highOf = (id: string): number => (hexAt(id, 28, 8) ^ mix(timeOfCallId(id) | 0)) >>> 0

/** The variant, which is never zero, and 30 random bits. */
const lowOf = (id: string): number => ((hexAt(id, 19, 4) << 16) | hexAt(id, 24, 4)) >>> 0
