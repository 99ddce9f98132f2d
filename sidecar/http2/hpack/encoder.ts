// Encodes header blocks for the hot path: whole fields of the static table, and steady ones of the dynamic table, as an index; everything
// else as a literal that is never indexed (RFC 7541 §6.2.3), so that what a peer marked as a secret stays one. Huffman code is for those who
// are short of bytes: between neighbours on a fast network its CPU costs more.

import { CLASSES, NAME, VALUE } from '../../http/octets.js'
import { H2, StreamError } from '../../http/stream-error.js'
import { DEFAULT_TABLE_BYTES } from './decoder.js'
import { encodeHuffman, huffmanLength } from './huffman.js'
import { STATIC_INDEX_OF_NAME, STATIC_NAMES, STATIC_VALUES } from './static-table.js'
import { SteadyFields } from './steady-fields.js'

/** Prefix, index and two string lengths of any literal that fits a block. */
const LITERAL_OVERHEAD_BYTES = 12
const INDEXED = 0x80
const ADDED = 0x40
const NEVER_INDEXED = 0x10
const RESIZE = 0x20
const HUFFMAN = 0x80
const COLON = 0x3a

/** `plain`: least CPU. `huffman`: least bytes, where a string gets shorter by it. */
export type StringCoding = 'plain' | 'huffman'

export class HpackEncoder {
  readonly #coding: StringCoding
  readonly #steady = new SteadyFields(DEFAULT_TABLE_BYTES)
  /** Sizes that the next block says the table to have, in order (RFC 7541 §4.2). */
  #resizes: number[] = []
  /** A block was begun. If it is not finished it never leaves, and the peer knows nothing of what it added to the table. */
  #isOpen = false
  #target: Buffer = Buffer.alloc(0)
  #at = 0

  constructor(coding: StringCoding) {
    this.#coding = coding
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. Less than we use is followed at once; more is of no use to us. */
  limitTable(bytes: number): void {
    if (bytes >= this.#steady.maxBytes) return
    this.#steady.resize(bytes)
    this.#resizes = [bytes]
  }

  /** Begins a block at `at`; the target must have room for `boundOf` every field, and for `BLOCK_OVERHEAD_BYTES`. */
  begin(target: Buffer, at: number): void {
    this.#target = target
    this.#at = at
    if (this.#isOpen) {
      this.#steady.clear()
      this.#resizes = [0, this.#steady.maxBytes]
    }
    this.#isOpen = true
    for (const bytes of this.#resizes) this.#integer(RESIZE, 0x1f, bytes)
  }

  /** Ends a block, which must now be sent: @returns the position behind it. */
  finish(): number {
    this.#resizes.length = 0
    this.#isOpen = false
    return this.#at
  }

  fields(fields: readonly string[]): void {
    for (let at = 0; at + 1 < fields.length; at += 2) this.field(fields[at] ?? '', fields[at + 1] ?? '')
  }

  /** @throws StreamError CALL_MALFORMED for octets that no field may hold: they would reach the peer as another field */
  field(name: string, value: string): void {
    if (name === '' || name.charCodeAt(0) === COLON) throw notAllowed()
    this.#put(name, value, NAME)
  }

  /** `name` with its colon; ours, not from outside. */
  pseudo(name: string, value: string): void {
    this.#put(name, value, VALUE)
  }

  #put(name: string, value: string, nameClass: number): void {
    const index = STATIC_INDEX_OF_NAME.get(name) ?? 0
    if (this.#whole(index, name, value)) return
    const known = this.#steady.lookUp(name, value)
    if (typeof known === 'number') {
      this.#integer(INDEXED, 0x7f, known)
      return
    }
    if (known === 'add') this.#integer(ADDED, 0x3f, index)
    else this.#integer(NEVER_INDEXED, 0x0f, index)
    if (index === 0) this.#string(name, nameClass)
    this.#string(value, VALUE)
  }

  #whole(index: number, name: string, value: string): boolean {
    for (let whole = index; whole !== 0 && STATIC_NAMES[whole] === name; whole++)
      if (STATIC_VALUES[whole] === value) {
        this.#target[this.#at++] = INDEXED | whole
        return true
      }
    return false
  }

  #string(text: string, octetClass: number): void {
    if (this.#coding === 'huffman') {
      const length = huffmanLength(text)
      if (length < text.length) {
        checkOctets(text, octetClass)
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
      if (((CLASSES[octet] ?? 0) & octetClass) === 0) throw notAllowed()
      target[at++] = octet
    }
    this.#at = at
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

/** @throws StreamError CALL_MALFORMED for what `fields` would refuse, before anything is written */
export function checkSendable(fields: readonly string[]): void {
  for (let at = 0; at < fields.length; at++) {
    const text = fields[at] ?? ''
    const octetClass = at % 2 === 0 ? NAME : VALUE
    if (text === '' && octetClass === NAME) throw notAllowed()
    checkOctets(text, octetClass)
  }
}

function checkOctets(text: string, octetClass: number): void {
  for (let at = 0; at < text.length; at++)
    if (((CLASSES[text.charCodeAt(at)] ?? 0) & octetClass) === 0) throw notAllowed()
}

/** Two table size updates. */
export const BLOCK_OVERHEAD_BYTES = 8

/** How many octets a field takes at most. */
export const boundOf = (name: string, value: string): number =>
  name.length + value.length + LITERAL_OVERHEAD_BYTES

export function boundOfAll(fields: readonly string[]): number {
  let bound = (fields.length / 2) * LITERAL_OVERHEAD_BYTES
  for (const text of fields) bound += text.length
  return bound
}

const notAllowed = (): StreamError =>
  new StreamError('CALL_MALFORMED', H2.INTERNAL_ERROR, 'a field that is to be sent holds a forbidden octet')
