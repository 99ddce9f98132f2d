// Bytes of bodies that wait for a window, in blocks that are used again: a body of megabytes leaves no garbage of its own size. Knows no streams
// and no windows; how much may wait is its users' matter.

/** A share of the scheduler's: what is taken at once is mostly one block. */
const BLOCK_BYTES = 16 * 1024
/** So many are kept for the next body, 512 KB. */
const KEPT_BLOCKS = 32

/** The blocks of one connection that nobody uses. */
export class Blocks {
  readonly #free: Buffer[] = []

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES)
  }

  giveBack(block: Buffer): void {
    if (this.#free.length < KEPT_BLOCKS) this.#free.push(block)
  }
}

/** What one stream waits with, first in, first out. */
export class HeldBytes {
  readonly #blocks: Blocks
  readonly #held: Buffer[] = []
  /** Where the first block begins, and the last one ends. */
  #start = 0
  #end = 0
  #length = 0

  constructor(blocks: Blocks) {
    this.#blocks = blocks
  }

  get length(): number {
    return this.#length
  }

  /** Copies what stands in `bytes` from `from` on. */
  add(bytes: Uint8Array, from: number): void {
    let at = from
    while (at < bytes.length) {
      let last = this.#held.at(-1)
      if (last === undefined || this.#end === BLOCK_BYTES) {
        last = this.#blocks.take()
        this.#held.push(last)
        this.#end = 0
      }
      const count = Math.min(bytes.length - at, BLOCK_BYTES - this.#end)
      last.set(bytes.subarray(at, at + count), this.#end)
      this.#end += count
      at += count
    }
    this.#length += bytes.length - from
  }

  /** Moves the first `count` bytes, not more than there are, to `target` from `at` on. */
  moveInto(target: Buffer, at: number, count: number): void {
    let rest = count
    while (rest > 0) {
      const [first] = this.#held
      if (first === undefined) throw new RangeError('more was taken than is held')
      const end = this.#held.length === 1 ? this.#end : BLOCK_BYTES
      const taken = Math.min(rest, end - this.#start)
      first.copy(target, at + count - rest, this.#start, this.#start + taken)
      this.#start += taken
      rest -= taken
      if (this.#start === end) this.#dropFirst(first)
    }
    this.#length -= count
  }

  #dropFirst(first: Buffer): void {
    this.#held.shift()
    this.#start = 0
    this.#blocks.giveBack(first)
  }

  /** Holds nothing any more. */
  drop(): void {
    for (const block of this.#held) this.#blocks.giveBack(block)
    this.#held.length = 0
    this.#start = 0
    this.#length = 0
  }
}
