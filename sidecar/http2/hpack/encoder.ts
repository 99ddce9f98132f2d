// Encodes header blocks for the hot path: whole fields of the static table as one octet, everything else as a literal that is never
// indexed (RFC 7541 §6.2.3). So no table is kept, what a peer marked as sensitive stays so, and a block costs about its copy; what Huffman
// code and a dynamic table save in bytes they would cost in CPU, which is what neighbours on a fast network are short of.

import { H2, Http2Error } from '../error-codes.js'
import { isNameOctet, isValueOctet } from '../octets.js'
import { DEFAULT_TABLE_BYTES } from './decoder.js'
import { encodeHuffman, huffmanLength } from './huffman.js'
import { STATIC_INDEX_OF_NAME, STATIC_NAMES, STATIC_VALUES } from './static-table.js'

/** Prefix, index and two string lengths of any literal that fits a block. */
const LITERAL_OVERHEAD_BYTES = 12
const NEVER_INDEXED = 0x10
const HUFFMAN = 0x80
const COLON = 0x3a

/** `plain`: least CPU. `huffman`: least bytes, where a string gets shorter by it. */
export type StringCoding = 'plain' | 'huffman'

export class HpackEncoder {
  readonly #coding: StringCoding
  #owesResize = false
  #target: Buffer = Buffer.alloc(0)
  #at = 0

  constructor(coding: StringCoding) {
    this.#coding = coding
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE: when it is below the default, our next block must say that we follow (RFC 7541 §4.2). */
  limitTable(bytes: number): void {
    if (bytes < DEFAULT_TABLE_BYTES) this.#owesResize = true
  }

  /** Begins a block at `at`; the target must have room for `boundOf` every field and for one octet. */
  begin(target: Buffer, at: number): void {
    this.#target = target
    this.#at = at
    if (this.#owesResize) this.#target[this.#at++] = 0x20
  }

  /** Ends a block: @returns the position behind it. */
  finish(): number {
    this.#owesResize = false
    return this.#at
  }

  fields(fields: readonly string[]): void {
    for (let at = 0; at + 1 < fields.length; at += 2) this.field(fields[at] ?? '', fields[at + 1] ?? '')
  }

  /** @throws Http2Error CALL_MALFORMED for octets that no field may hold: they would reach the peer as another field */
  field(name: string, value: string): void {
    const index = STATIC_INDEX_OF_NAME.get(name) ?? 0
    if (name === '' || name.charCodeAt(0) === COLON) throw notAllowed()
    if (this.#whole(index, name, value)) return
    this.#integer(NEVER_INDEXED, 0x0f, index)
    if (index === 0) this.#string(name, isNameOctet)
    this.#string(value, isValueOctet)
  }

  /** `name` with its colon; ours, not from outside. */
  pseudo(name: string, value: string): void {
    const index = STATIC_INDEX_OF_NAME.get(name) ?? 0
    if (this.#whole(index, name, value)) return
    this.#integer(NEVER_INDEXED, 0x0f, index)
    if (index === 0) this.#string(name, isValueOctet)
    this.#string(value, isValueOctet)
  }

  #whole(index: number, name: string, value: string): boolean {
    for (let whole = index; whole !== 0 && STATIC_NAMES[whole] === name; whole++)
      if (STATIC_VALUES[whole] === value) {
        this.#target[this.#at++] = 0x80 | whole
        return true
      }
    return false
  }

  #string(text: string, isAllowed: (octet: number) => boolean): void {
    if (this.#coding === 'huffman') {
      const length = huffmanLength(text)
      if (length < text.length) {
        this.#check(text, isAllowed)
        this.#integer(HUFFMAN, 0x7f, length)
        this.#at = encodeHuffman(text, this.#target, this.#at)
        return
      }
    }
    this.#integer(0, 0x7f, text.length)
    const target = this.#target
    let at = this.#at
    for (let index = 0; index < text.length; index++) {
      const octet = text.charCodeAt(index)
      if (!isAllowed(octet)) throw notAllowed()
      target[at++] = octet
    }
    this.#at = at
  }

  #check(text: string, isAllowed: (octet: number) => boolean): void {
    for (let index = 0; index < text.length; index++)
      if (!isAllowed(text.charCodeAt(index))) throw notAllowed()
  }

  #integer(pattern: number, mask: number, value: number): void {
    if (value < mask) {
      this.#target[this.#at++] = pattern | value
      return
    }
    this.#target[this.#at++] = pattern | mask
    let rest = value - mask
    while (rest >= 0x80) {
      this.#target[this.#at++] = 0x80 | (rest & 0x7f)
      rest >>>= 7
    }
    this.#target[this.#at++] = rest
  }
}

/** How many octets a field takes at most. */
export const boundOf = (name: string, value: string): number =>
  name.length + value.length + LITERAL_OVERHEAD_BYTES

export function boundOfAll(fields: readonly string[]): number {
  let bound = (fields.length / 2) * LITERAL_OVERHEAD_BYTES
  for (const text of fields) bound += text.length
  return bound
}

const notAllowed = (): Http2Error =>
  new Http2Error('CALL_MALFORMED', H2.INTERNAL_ERROR, 'a field that is to be sent holds a forbidden octet')
