// Input that waits because a message is under way: the bytes of requests behind it, or of a tunnel that is not open yet. Its user bounds it by
// not reading on.

const FIRST_BYTES = 1024

export class InputQueue {
  #bytes: Buffer | null = null
  #from = 0
  #to = 0

  get length(): number {
    return this.#to - this.#from
  }

  /** Adds a copy of what stands at `at` and behind it. */
  add(bytes: Buffer, at: number): void {
    const count = bytes.length - at
    const room = this.#room(count)
    bytes.copy(room, this.#to, at)
    this.#to += count
  }

  /** What waits. Good until the next `add`. */
  peek(): Buffer {
    return this.#bytes?.subarray(this.#from, this.#to) ?? Buffer.alloc(0)
  }

  /** So many bytes wait no longer. */
  drop(count: number): void {
    this.#from += count
    if (this.#from < this.#to) return
    this.#bytes = null
    this.#from = 0
    this.#to = 0
  }

  #room(count: number): Buffer {
    const { length } = this
    const before = this.#bytes
    if (before !== null && this.#to + count <= before.length) return before
    const after = Buffer.allocUnsafe(Math.max(FIRST_BYTES, 2 * (length + count)))
    before?.copy(after, 0, this.#from, this.#to)
    this.#bytes = after
    this.#from = 0
    this.#to = length
    return after
  }
}
