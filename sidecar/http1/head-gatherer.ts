// Bytes until the empty line that ends a head (RFC 9112 §2.1). A head that arrives in one piece is never copied; one that does not is held up
// to its limit, searched once, and refused as soon as it cannot become a good one.

import { malformed, tooLarge } from './errors.js'

const END = Buffer.from('\r\n\r\n')
const CR = 0x0d
const LF = 0x0a
const FIRST_BYTES = 512

export class HeadGatherer {
  readonly #maxBytes: number
  readonly #checkStartLine: (line: string) => void
  #held: Buffer | null = null
  #length = 0
  /** Up to here line breaks were looked at. */
  #scanned = 0
  #knowsStartLine = false
  /** What `take` has found: all lines with their breaks, without the empty one. */
  text = ''

  /** @param checkStartLine throws what a whole head with that start line would be refused with */
  constructor(maxBytes: number, checkStartLine: (line: string) => void) {
    this.#maxBytes = maxBytes
    this.#checkStartLine = checkStartLine
  }

  /** Nothing is held. */
  get isEmpty(): boolean {
    return this.#length === 0
  }

  /** Begins with a line break that was read elsewhere: lines without a start line follow. */
  beginTrailers(): void {
    this.#hold(END, 0, 2)
    this.#scanned = 2
    this.#knowsStartLine = true
  }

  /**
   * Looks for the end of the head.
   * @returns the position behind it; -1 when all bytes were taken and more are needed
   * @throws StreamError CALL_MALFORMED | CALL_HEAD_TOO_LARGE, or what the start line is refused with
   */
  take(bytes: Buffer, at: number): number {
    if (this.#length > 0) return this.#takeMore(bytes, at)
    const end = bytes.indexOf(END, at)
    if (end < 0 || end + END.length - at > this.#maxBytes) return this.#takeMore(bytes, at)
    this.text = bytes.toString('latin1', at, end + 2)
    return end + END.length
  }

  drop(): void {
    this.#held = null
    this.#length = 0
    this.#scanned = 0
    this.#knowsStartLine = false
  }

  #takeMore(bytes: Buffer, at: number): number {
    const before = this.#length
    const held = this.#hold(bytes, at, Math.min(bytes.length - at, this.#maxBytes - before))
    const end = held.indexOf(END, Math.max(0, before + 1 - END.length))
    if (end >= 0) {
      this.text = held.toString('latin1', 0, end + 2)
      this.drop()
      return at + end + END.length - before
    }
    this.#scan(held)
    if (held.length >= this.#maxBytes) throw tooLarge(`the head is larger than ${this.#maxBytes} bytes`)
    return -1
  }

  #hold(bytes: Buffer, at: number, count: number): Buffer {
    const length = this.#length + count
    let held = this.#held
    if (held === null || held.length < length) {
      held = Buffer.allocUnsafe(Math.max(length, Math.min(this.#maxBytes, this.#length * 2), FIRST_BYTES))
      this.#held?.copy(held, 0, 0, this.#length)
      this.#held = held
    }
    bytes.copy(held, this.#length, at, at + count)
    this.#length = length
    return held.subarray(0, length)
  }

  /** A bare line feed would never end; a start line that is no good need not wait for the rest. */
  #scan(held: Buffer): void {
    const first = held[0] ?? 0
    if (!this.#knowsStartLine && (first <= 0x20 || first >= 0x7f))
      throw malformed('the first line is not of HTTP/1.1')
    for (let at = held.indexOf(LF, this.#scanned); at >= 0; at = held.indexOf(LF, at + 1)) {
      if (held[at - 1] !== CR) throw malformed('a line ends without CR')
      if (this.#knowsStartLine) continue
      this.#knowsStartLine = true
      this.#checkStartLine(held.toString('latin1', 0, at - 1))
    }
    this.#scanned = held.length
  }
}

/** One empty line before a request line is not heard: some clients send it behind a body (RFC 9112 §2.2). */
export class BlankLine {
  #seen: 'none' | 'cr' | 'line' = 'none'

  /** A head has been read: another empty line may come. */
  begin(): void {
    this.#seen = 'none'
  }

  /**
   * @returns the position behind what was skipped
   * @throws StreamError CALL_MALFORMED
   */
  skip(bytes: Buffer, from: number): number {
    let at = from
    if (this.#seen === 'none' && bytes[at] === CR) {
      this.#seen = 'cr'
      at += 1
    }
    if (this.#seen !== 'cr' || at === bytes.length) return at
    if (bytes[at] !== LF) throw malformed('a CR stands alone')
    this.#seen = 'line'
    return at + 1
  }
}
