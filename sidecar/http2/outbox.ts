// Bytes on their way out: frames are written one behind the other into one buffer, and what a turn has written leaves as one write. One
// write is outstanding at a time; what comes meanwhile gathers in the next buffer. Knows frames as bytes, no streams.

import { FLAG, FRAME, FRAME_HEADER_BYTES } from './frames.js'

const FIRST_BYTES = 4096
/** A buffer that had to grow beyond this is not kept. */
const KEEP_BYTES = 256 * 1024

export class Outbox {
  #buffer: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES)
  #length = 0
  /** Where the last frame begins; -1: none waits. */
  #lastAt = -1
  /** The buffer of the last write, to be used again when the transport is done with it. */
  #spare: Buffer | null = null

  /** How many bytes wait for the next write. */
  get length(): number {
    return this.#length
  }

  /** Where frames are written; another one after each `reserve`. */
  get buffer(): Buffer {
    return this.#buffer
  }

  /**
   * Makes room for a frame of at most `bytes` of payload, which `seal` then makes a frame of. Nothing counts before.
   * @returns where in `buffer` the payload begins
   */
  reserve(bytes: number): number {
    this.#ensure(FRAME_HEADER_BYTES + bytes)
    return this.#length + FRAME_HEADER_BYTES
  }

  /** Makes a frame of what was written behind `reserve`. */
  seal(type: number, flags: number, streamId: number, length: number): void {
    this.#header(type, flags, streamId, length)
    this.#length += length
  }

  /** A whole frame. */
  frame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    this.#ensure(FRAME_HEADER_BYTES + payload.length)
    this.#header(type, flags, streamId, payload.length)
    this.#buffer.set(payload, this.#length)
    this.#length += payload.length
  }

  /** A frame whose payload are 32-bit numbers: RST_STREAM, WINDOW_UPDATE, GOAWAY. */
  numbers(type: number, streamId: number, first: number, second?: number): void {
    this.#ensure(FRAME_HEADER_BYTES + 8)
    this.#header(type, 0, streamId, second === undefined ? 4 : 8)
    this.#uint32(first)
    if (second !== undefined) this.#uint32(second)
  }

  /**
   * Makes the last frame the end of its stream, when it is one of that stream that may say so: an empty frame is saved.
   * @returns false when it is not
   */
  endLast(streamId: number): boolean {
    const at = this.#lastAt
    if (at < 0 || this.#buffer.readUInt32BE(at + 5) !== streamId) return false
    const type = this.#buffer[at + 3]
    const flags = this.#buffer[at + 4] ?? 0
    const isWhole = type === FRAME.DATA || (type === FRAME.HEADERS && (flags & FLAG.END_HEADERS) !== 0)
    if (isWhole) this.#buffer[at + 4] = flags | FLAG.END_STREAM
    return isWhole
  }

  raw(bytes: Uint8Array): void {
    this.#ensure(bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
    this.#lastAt = -1
  }

  /** Everything gathered, to be left alone until `giveBack`. */
  take(): Buffer {
    const full = this.#buffer
    const bytes = full.subarray(0, this.#length)
    this.#buffer = this.#spare ?? Buffer.allocUnsafeSlow(FIRST_BYTES)
    this.#spare = full
    this.#length = 0
    this.#lastAt = -1
    return bytes
  }

  /** The transport no longer needs what was taken. */
  giveBack(): void {
    if (this.#spare !== null && this.#spare.length > KEEP_BYTES) this.#spare = null
  }

  #header(type: number, flags: number, streamId: number, length: number): void {
    const buffer = this.#buffer
    const at = this.#length
    this.#lastAt = at
    buffer[at] = length >>> 16
    buffer[at + 1] = length >>> 8
    buffer[at + 2] = length
    buffer[at + 3] = type
    buffer[at + 4] = flags
    buffer[at + 5] = streamId >>> 24
    buffer[at + 6] = streamId >>> 16
    buffer[at + 7] = streamId >>> 8
    buffer[at + 8] = streamId
    this.#length = at + FRAME_HEADER_BYTES
  }

  #uint32(value: number): void {
    const buffer = this.#buffer
    const at = this.#length
    buffer[at] = value >>> 24
    buffer[at + 1] = value >>> 16
    buffer[at + 2] = value >>> 8
    buffer[at + 3] = value
    this.#length = at + 4
  }

  #ensure(bytes: number): void {
    const needed = this.#length + bytes
    if (needed <= this.#buffer.length) return
    let size = this.#buffer.length * 2
    while (size < needed) size *= 2
    const larger = Buffer.allocUnsafeSlow(size)
    this.#buffer.copy(larger, 0, 0, this.#length)
    this.#buffer = larger
  }
}
