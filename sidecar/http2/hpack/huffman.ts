// The Huffman code of HPACK (RFC 7541 appendix B): both directions, and nothing else of HPACK. Decoding walks a machine that takes four
// bits a step; codes, padding and EOS are checked as RFC 7541 §5.2 demands.

import { H2 } from '../../http/stream-error.js'
import { violation } from '../errors.js'

/** Codes of the 256 octets and of EOS, right-aligned, in hexadecimal. */
const CODES: readonly number[] =
  `1ff8 7fffd8 fffffe2 fffffe3 fffffe4 fffffe5 fffffe6 fffffe7 fffffe8 ffffea 3ffffffc fffffe9 fffffea
  3ffffffd fffffeb fffffec fffffed fffffee fffffef ffffff0 ffffff1 ffffff2 3ffffffe ffffff3 ffffff4
  ffffff5 ffffff6 ffffff7 ffffff8 ffffff9 ffffffa ffffffb 14 3f8 3f9 ffa 1ff9 15 f8 7fa 3fa 3fb f9 7fb fa
  16 17 18 0 1 2 19 1a 1b 1c 1d 1e 1f 5c fb 7ffc 20 ffb 3fc 1ffa 21 5d 5e 5f 60 61 62 63 64 65 66 67 68 69
  6a 6b 6c 6d 6e 6f 70 71 72 fc 73 fd 1ffb 7fff0 1ffc 3ffc 22 7ffd 3 23 4 24 5 25 26 27 6 74 75 28 29 2a 7
  2b 76 2c 8 9 2d 77 78 79 7a 7b 7ffe 7fc 3ffd 1ffd ffffffc fffe6 3fffd2 fffe7 fffe8 3fffd3 3fffd4 3fffd5
  7fffd9 3fffd6 7fffda 7fffdb 7fffdc 7fffdd 7fffde ffffeb 7fffdf ffffec ffffed 3fffd7 7fffe0 ffffee 7fffe1
  7fffe2 7fffe3 7fffe4 1fffdc 3fffd8 7fffe5 3fffd9 7fffe6 7fffe7 ffffef 3fffda 1fffdd fffe9 3fffdb 3fffdc
  7fffe8 7fffe9 1fffde 7fffea 3fffdd 3fffde fffff0 1fffdf 3fffdf 7fffeb 7fffec 1fffe0 1fffe1 3fffe0 1fffe2
  7fffed 3fffe1 7fffee 7fffef fffea 3fffe2 3fffe3 3fffe4 7ffff0 3fffe5 3fffe6 7ffff1 3ffffe0 3ffffe1 fffeb
  7fff1 3fffe7 7ffff2 3fffe8 1ffffec 3ffffe2 3ffffe3 3ffffe4 7ffffde 7ffffdf 3ffffe5 fffff1 1ffffed 7fff2
  1fffe3 3ffffe6 7ffffe0 7ffffe1 3ffffe7 7ffffe2 fffff2 1fffe4 1fffe5 3ffffe8 3ffffe9 ffffffd 7ffffe3
  7ffffe4 7ffffe5 fffec fffff3 fffed 1fffe6 3fffe9 1fffe7 1fffe8 7ffff3 3fffea 3fffeb 1ffffee 1ffffef
  fffff4 fffff5 3ffffea 7ffff4 3ffffeb 7ffffe6 3ffffec 3ffffed 7ffffe7 7ffffe8 7ffffe9 7ffffea 7ffffeb
  ffffffe 7ffffec 7ffffed 7ffffee 7ffffef 7fffff0 3ffffee 3fffffff`
    .split(/\s+/)
    .map((code) => Number.parseInt(code, 16))

/** Their lengths in bits. */
const LENGTHS: readonly number[] =
  `13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28 6 10 10
  12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10 13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7
  7 7 7 7 7 7 8 7 8 13 19 13 14 6 15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28 20
  22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24 22 21 20 22
  22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23 26 26 20 19 22 23 22
  25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27 20 24 20 21 22 21 21 23 22 22
  25 25 24 24 26 23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26 30`
    .split(/\s+/)
    .map(Number)

const EOS = 256
/** A step of the machine: the state it leads to, and what it emits. */
const EMITS = 0x4000_0000
const FAILS = 0x2000_0000
const STATE_SHIFT = 8

/** For each state and each four bits: `EMITS | state << 8 | octet`, or FAILS. State 0 is between two codes. */
const STEPS: Int32Array = buildSteps()
/** 1 for the states in which a string may end: between codes, or inside at most seven bits of EOS's beginning, all ones. */
const MAY_END: Uint8Array = findEnds()

/** How many bytes `length` bytes of Huffman code decode to at most: no code is shorter than five bits. */
export const decodedBound = (length: number): number => Math.floor((length * 8) / 5)

/**
 * Decodes `bytes[start, end)` into `target`, which has room for `decodedBound(end - start)`.
 * @returns how many bytes were written
 * @throws StreamError COMPRESSION_ERROR for EOS in the string and for padding that is too long or not of ones
 */
export function decodeHuffman(bytes: Buffer, start: number, end: number, target: Buffer): number {
  let state = 0
  let length = 0
  for (let at = start; at < end; at++) {
    const octet = bytes[at] ?? 0
    for (let shift = 4; shift >= 0; shift -= 4) {
      const step = STEPS[(state << 4) | ((octet >> shift) & 0xf)] ?? FAILS
      if ((step & FAILS) !== 0) throw violation(H2.COMPRESSION_ERROR, 'a Huffman string holds EOS')
      if ((step & EMITS) !== 0) target[length++] = step & 0xff
      state = (step >>> STATE_SHIFT) & 0xffff
    }
  }
  if (MAY_END[state] !== 1) throw violation(H2.COMPRESSION_ERROR, 'a Huffman string has wrong padding')
  return length
}

/** How many bytes the code of a latin1 string takes. */
export function huffmanLength(text: string): number {
  let bits = 0
  for (let at = 0; at < text.length; at++) bits += LENGTHS[text.charCodeAt(at)] ?? 0
  return (bits + 7) >> 3
}

/**
 * Writes the code of a latin1 string, padded with ones.
 * @returns the position behind it
 */
export function encodeHuffman(text: string, target: Buffer, at: number): number {
  // Never more than 7 + 30 bits are held, which a double holds exactly; shifts would stop at 32.
  let held = 0
  let bits = 0
  for (let index = 0; index < text.length; index++) {
    const octet = text.charCodeAt(index)
    const length = LENGTHS[octet] ?? 0
    held = held * 2 ** length + (CODES[octet] ?? 0)
    bits += length
    while (bits >= 8) {
      bits -= 8
      const octetOut = Math.floor(held / 2 ** bits)
      target[at++] = octetOut
      held -= octetOut * 2 ** bits
    }
  }
  if (bits > 0) target[at++] = ((held << (8 - bits)) | (0xff >> bits)) & 0xff
  return at
}

/** The code as a binary tree: two children a node, negative numbers are leaves (`-1 - symbol`). */
function buildTree(): number[] {
  const children = [0, 0]
  CODES.forEach((code, symbol) => {
    const length = LENGTHS[symbol] ?? 0
    let node = 0
    for (let bit = length - 1; bit >= 0; bit--) {
      const slot = node * 2 + ((code >>> bit) & 1)
      if (bit === 0) children[slot] = -1 - symbol
      else if ((children[slot] ?? 0) === 0) {
        node = children.length / 2
        children[slot] = node
        children.push(0, 0)
      } else node = children[slot] ?? 0
    }
  })
  return children
}

function buildSteps(): Int32Array {
  const children = buildTree()
  const steps = new Int32Array((children.length / 2) * 16)
  for (let state = 0; state < children.length / 2; state++)
    for (let nibble = 0; nibble < 16; nibble++) steps[state * 16 + nibble] = stepOf(children, state, nibble)
  return steps
}

/** No code is shorter than five bits, so that four bits emit at most one octet. */
function stepOf(children: readonly number[], state: number, nibble: number): number {
  let node = state
  let emitted = 0
  for (let bit = 3; bit >= 0; bit--) {
    const next = children[node * 2 + ((nibble >> bit) & 1)] ?? 0
    if (next === -1 - EOS) return FAILS
    if (next < 0) emitted = EMITS | (-1 - next)
    node = next < 0 ? 0 : next
  }
  return emitted | (node << STATE_SHIFT)
}

function findEnds(): Uint8Array {
  const children = buildTree()
  const ends = new Uint8Array(children.length / 2)
  let node = 0
  for (let ones = 0; ones <= 7; ones++) {
    ends[node] = 1
    node = children[node * 2 + 1] ?? 0
  }
  return ends
}
