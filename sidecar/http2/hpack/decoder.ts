// Decodes header blocks (RFC 7541 §6) into a flat list of names and values. Strict, bounded in what it makes of a block, and always to the
// block's end: the table must follow the peer's even when the list is not wanted. Knows nothing of what fields mean.

import { H2, type StreamError } from '../../http/stream-error.js'
import { flood, violation } from '../errors.js'
import { DynamicTable, entryBytes } from './dynamic-table.js'
import { decodedBound, decodeHuffman } from './huffman.js'
import { STATIC_LENGTH, STATIC_NAMES, STATIC_VALUES } from './static-table.js'

/** What a table may take before SETTINGS say otherwise (RFC 9113 §6.5.2). */
export const DEFAULT_TABLE_BYTES = 4096

/** A list this many times too large is no mistake: a small block can name a large entry thousands of times. */
const BOMB_FACTOR = 4

/** No integer of a sane block needs more: five octets with their prefix hold 2^28. */
const MAX_INTEGER_OCTETS = 4

export class HpackDecoder {
  readonly table = new DynamicTable(DEFAULT_TABLE_BYTES)
  readonly #maxListBytes: number
  /** Up to where the peer may size the table. */
  #maxTableBytes = DEFAULT_TABLE_BYTES
  /** We have lowered the maximum: the next block must begin with the peer's word that it followed (RFC 7541 §4.2). */
  #awaitsResize = false

  // The block at hand and the position in it; fields rather than results of many small functions, to allocate nothing.
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0
  #end = 0
  #scratch: Buffer = Buffer.alloc(0)
  #fields: string[] = []
  #listBytes = 0

  /** @param maxListBytes of names and values and 32 a field, as SETTINGS_MAX_HEADER_LIST_SIZE counts */
  constructor(maxListBytes: number) {
    this.#maxListBytes = maxListBytes
  }

  /** To be called when the peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE. */
  limitTable(bytes: number): void {
    this.#maxTableBytes = bytes
    if (bytes < this.table.maxBytes) this.#awaitsResize = true
  }

  /**
   * Decodes a whole block; `bytes` may be reused afterwards.
   * @returns `[name, value, name, value, ...]`, or null when the list is larger than allowed
   * @throws StreamError COMPRESSION_ERROR, or HTTP2_FLOOD for a bomb: the connection cannot go on
   */
  decode(bytes: Buffer, start: number, end: number): string[] | null {
    this.#bytes = bytes
    this.#at = start
    this.#end = end
    this.#listBytes = 0
    this.#fields = []
    this.#readResizes()
    while (this.#at < this.#end) this.#readField()
    const fields = this.#fields
    this.#fields = []
    return this.#listBytes > this.#maxListBytes ? null : fields
  }

  #readField(): void {
    const first = this.#bytes[this.#at] ?? 0
    if (first >= 0x80) {
      const index = this.#readInteger(0x7f)
      this.#take(this.#nameAt(index), this.#valueAt(index))
      return
    }
    if ((first & 0xe0) === 0x20) throw corrupt('a table size update stands behind a field')
    const isIndexed = first >= 0x40
    const index = this.#readInteger(isIndexed ? 0x3f : 0x0f)
    const name = index === 0 ? this.#readString() : this.#nameAt(index)
    const value = this.#readString()
    if (isIndexed) this.table.add(name, value)
    this.#take(name, value)
  }

  #take(name: string, value: string): void {
    this.#listBytes += entryBytes(name, value)
    if (this.#listBytes > this.#maxListBytes * BOMB_FACTOR)
      throw flood('a header block names a list of enormous size')
    if (this.#listBytes <= this.#maxListBytes) this.#fields.push(name, value)
  }

  /** Table size updates stand at a block's beginning only, two at most (RFC 7541 §4.2). */
  #readResizes(): void {
    let count = 0
    while (this.#at < this.#end && ((this.#bytes[this.#at] ?? 0) & 0xe0) === 0x20) {
      const bytes = this.#readInteger(0x1f)
      count += 1
      if (count > 2) throw corrupt('more than two table size updates in a block')
      if (bytes > this.#maxTableBytes) throw corrupt('the table would be larger than SETTINGS allow')
      this.table.resize(bytes)
      this.#awaitsResize = false
    }
    if (this.#awaitsResize) throw corrupt('the table was not made smaller as SETTINGS say')
  }

  /** RFC 7541 §5.1; `mask` covers the prefix. */
  #readInteger(mask: number): number {
    let value = (this.#bytes[this.#at++] ?? 0) & mask
    if (value < mask) return value
    for (let octets = 0; octets < MAX_INTEGER_OCTETS; octets++) {
      if (this.#at >= this.#end) throw corrupt('an integer is cut off')
      const octet = this.#bytes[this.#at++] ?? 0
      value += (octet & 0x7f) * 2 ** (7 * octets)
      if (octet < 0x80) return value
    }
    throw corrupt('an integer is too large')
  }

  /** RFC 7541 §5.2. */
  #readString(): string {
    if (this.#at >= this.#end) throw corrupt('a field is cut off')
    const isHuffman = (this.#bytes[this.#at] ?? 0) >= 0x80
    const length = this.#readInteger(0x7f)
    const start = this.#at
    const end = start + length
    if (end > this.#end) throw corrupt('a string is cut off')
    this.#at = end
    if (!isHuffman) return this.#bytes.toString('latin1', start, end)
    const bound = decodedBound(length)
    if (this.#scratch.length < bound) this.#scratch = Buffer.allocUnsafe(Math.max(1024, bound))
    const decoded = decodeHuffman(this.#bytes, start, end, this.#scratch)
    return this.#scratch.toString('latin1', 0, decoded)
  }

  #nameAt(index: number): string {
    const name = index <= STATIC_LENGTH ? STATIC_NAMES[index] : this.table.nameAt(index - STATIC_LENGTH - 1)
    if (name === undefined || index === 0) throw corrupt('an index lies outside of both tables')
    return name
  }

  #valueAt(index: number): string {
    const value =
      index <= STATIC_LENGTH ? STATIC_VALUES[index] : this.table.valueAt(index - STATIC_LENGTH - 1)
    if (value === undefined) throw corrupt('an index lies outside of both tables')
    return value
  }
}

const corrupt = (why: string): StreamError => violation(H2.COMPRESSION_ERROR, why)
