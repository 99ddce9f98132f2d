// Puts a header block together from HEADERS and CONTINUATION (RFC 9113 §4.3, §6.10) and decodes it. A block in one frame is decoded where it
// lies; pieces are gathered up to a limit of bytes and of frames, so that a block without an end costs little.

import { H2 } from '../http/stream-error.js'
import { flood, violation } from './errors.js'
import type { FrameHeader } from './frame-reader.js'
import { PRIORITY_BYTES } from './frame-rules.js'
import { FLAG, readUint31 } from './frames.js'
import { HpackDecoder } from './hpack/decoder.js'

/** A head of 64 KiB in the smallest frames that a sane peer cuts takes 5. */
const MAX_CONTINUATIONS = 32

export interface HeaderBlock {
  readonly streamId: number
  /** Null when the list is larger than allowed. */
  readonly list: string[] | null
  readonly endsStream: boolean
  /** The priority names the stream itself as its parent. */
  readonly isSelfDependent: boolean
}

export class HeaderBlocks {
  readonly decoder: HpackDecoder
  readonly #maxBytes: number
  #streamId = 0
  #endsStream = false
  #isSelfDependent = false
  #gathered: Buffer = Buffer.alloc(0)
  #length = 0
  #continuations = 0

  /** @param maxBytes of the decoded list; a coded block may be as large */
  constructor(maxBytes: number) {
    this.decoder = new HpackDecoder(maxBytes)
    this.#maxBytes = maxBytes
  }

  /** The stream whose block is not complete, 0 for none. */
  get open(): number {
    return this.#streamId
  }

  /** @returns the block when this frame ends it. @throws StreamError */
  begin(frame: FrameHeader, bytes: Buffer, start: number, end: number): HeaderBlock | null {
    const { flags, streamId } = frame
    let from = start
    let to = end
    if ((flags & FLAG.PADDED) !== 0) {
      if (from === to) throw violation(H2.FRAME_SIZE_ERROR, 'a padded frame has no room for its padding')
      to -= bytes[from] ?? 0
      from += 1
    }
    this.#isSelfDependent = false
    if ((flags & FLAG.PRIORITY) !== 0) {
      if (end - from < PRIORITY_BYTES)
        throw violation(H2.FRAME_SIZE_ERROR, 'HEADERS has no room for its priority')
      this.#isSelfDependent = readUint31(bytes, from) === streamId
      from += PRIORITY_BYTES
    }
    if (to < from) throw violation(H2.PROTOCOL_ERROR, 'padding is longer than its frame')
    this.#endsStream = (flags & FLAG.END_STREAM) !== 0
    if ((flags & FLAG.END_HEADERS) !== 0) return this.#finish(streamId, bytes, from, to)
    this.#streamId = streamId
    this.#length = 0
    this.#continuations = 0
    this.#gather(bytes, from, to)
    return null
  }

  /** A CONTINUATION of the open block. @returns the block when this frame ends it. @throws StreamError */
  proceed(frame: FrameHeader, bytes: Buffer, start: number, end: number): HeaderBlock | null {
    this.#continuations += 1
    if (this.#continuations > MAX_CONTINUATIONS) throw flood('a header block has too many frames')
    this.#gather(bytes, start, end)
    if ((frame.flags & FLAG.END_HEADERS) === 0) return null
    const { streamId } = frame
    this.#streamId = 0
    const gathered = this.#gathered
    this.#gathered = Buffer.alloc(0)
    return this.#finish(streamId, gathered, 0, this.#length)
  }

  #gather(bytes: Buffer, start: number, end: number): void {
    const needed = this.#length + end - start
    if (needed > this.#maxBytes) throw flood('a header block is too large')
    if (needed > this.#gathered.length) {
      const larger = Buffer.allocUnsafe(Math.min(this.#maxBytes, Math.max(needed, this.#gathered.length * 2)))
      this.#gathered.copy(larger, 0, 0, this.#length)
      this.#gathered = larger
    }
    bytes.copy(this.#gathered, this.#length, start, end)
    this.#length = needed
  }

  #finish(streamId: number, bytes: Buffer, start: number, end: number): HeaderBlock {
    const list = this.decoder.decode(bytes, start, end)
    return { streamId, list, endsStream: this.#endsStream, isSelfDependent: this.#isSelfDependent }
  }
}
