// A body out of bytes: of a length, in chunks with trailers, or until the connection ends (RFC 9112 §6, §7). Pieces go to the sink as they come,
// without a copy. Chunk extensions are refused: no two readers agree about them.

import type { RawFields } from '../http/message.js'
import { malformed } from './errors.js'
import { CHUNKED, readTrailers, UNTIL_CLOSE } from './field-reader.js'
import { HeadGatherer } from './head-gatherer.js'

export interface BodySink {
  onBody(bytes: Buffer): void
  onTrailers(fields: RawFields): void
}

/** What comes next. */
type Step =
  | 'nothing'
  | 'length'
  | 'rest'
  | 'size'
  | 'size-end'
  | 'chunk'
  | 'chunk-cr'
  | 'chunk-lf'
  | 'trailers'

const CR = 0x0d
const LF = 0x0a
const MAX_SIZE_DIGITS = 12
/** Chunks up to here that arrive together are handed on together: thousands of them in one read would be as many writes further on. */
const SMALL_BYTES = 256
const GATHERED_BYTES = 4096

export class BodyReader {
  readonly #sink: BodySink
  readonly #trailers: HeadGatherer
  readonly #maxFields: number
  #step: Step = 'nothing'
  /** Of the body, or of the chunk. */
  #left = 0
  #digits = 0
  #small: Buffer | null = null
  #gathered = 0

  constructor(sink: BodySink, limits: { readonly maxTrailerBytes: number; readonly maxFields: number }) {
    this.#sink = sink
    this.#trailers = new HeadGatherer(limits.maxTrailerBytes, () => undefined)
    this.#maxFields = limits.maxFields
  }

  /** The body has been read to its end, or there was none. */
  get isWhole(): boolean {
    return this.#step === 'nothing'
  }

  get isUntilClose(): boolean {
    return this.#step === 'rest'
  }

  /** @param framing a length, CHUNKED or UNTIL_CLOSE */
  begin(framing: number): void {
    this.#small = null
    if (framing === CHUNKED) this.#beginChunk()
    else if (framing === UNTIL_CLOSE) this.#step = 'rest'
    else {
      this.#left = framing
      this.#step = framing === 0 ? 'nothing' : 'length'
    }
  }

  /** Takes no more: the body is whole as far as anybody cares. */
  stop(): void {
    this.#step = 'nothing'
    this.#gathered = 0
    this.#trailers.drop()
  }

  /**
   * Takes what is body.
   * @returns the position behind it
   * @throws StreamError CALL_MALFORMED | CALL_HEAD_TOO_LARGE for trailers
   */
  read(bytes: Buffer, at: number): number {
    try {
      while (at < bytes.length && this.#step !== 'nothing') at = this.#proceed(bytes, at)
    } finally {
      this.#handOn()
    }
    return at
  }

  #proceed(bytes: Buffer, at: number): number {
    switch (this.#step) {
      case 'length':
      case 'rest':
      case 'chunk':
        return this.#pass(bytes, at)
      case 'size':
        return this.#readSize(bytes, at)
      case 'size-end':
        expect(bytes, at, LF)
        if (this.#left > 0) this.#step = 'chunk'
        else {
          this.#step = 'trailers'
          this.#trailers.beginTrailers()
        }
        return at + 1
      case 'chunk-cr':
        expect(bytes, at, CR)
        this.#step = 'chunk-lf'
        return at + 1
      case 'chunk-lf':
        expect(bytes, at, LF)
        this.#beginChunk()
        return at + 1
      case 'trailers':
        return this.#readTrailers(bytes, at)
      case 'nothing':
        return at
    }
  }

  #pass(bytes: Buffer, at: number): number {
    const isRest = this.#step === 'rest'
    const count = isRest ? bytes.length - at : Math.min(this.#left, bytes.length - at)
    if (!isRest) {
      this.#left -= count
      if (this.#left === 0) this.#step = this.#step === 'length' ? 'nothing' : 'chunk-cr'
    }
    if (this.#step === 'chunk-cr' && count <= SMALL_BYTES) this.#gather(bytes, at, count)
    else {
      this.#handOn()
      this.#sink.onBody(count === bytes.length ? bytes : bytes.subarray(at, at + count))
    }
    return at + count
  }

  #gather(bytes: Buffer, at: number, count: number): void {
    if (this.#gathered + count > GATHERED_BYTES) this.#handOn()
    this.#small ??= Buffer.allocUnsafeSlow(GATHERED_BYTES)
    this.#gathered += bytes.copy(this.#small, this.#gathered, at, at + count)
  }

  #handOn(): void {
    const length = this.#gathered
    if (length === 0 || this.#small === null) return
    this.#gathered = 0
    this.#sink.onBody(this.#small.subarray(0, length))
  }

  #beginChunk(): void {
    this.#step = 'size'
    this.#left = 0
    this.#digits = 0
  }

  #readSize(bytes: Buffer, at: number): number {
    for (; at < bytes.length; at++) {
      const octet = bytes[at] ?? 0
      if (octet === CR && this.#digits > 0) {
        this.#step = 'size-end'
        return at + 1
      }
      const digit = digitOf(octet)
      if (digit < 0 || ++this.#digits > MAX_SIZE_DIGITS) throw malformed('a chunk size is malformed')
      this.#left = this.#left * 16 + digit
    }
    return at
  }

  #readTrailers(bytes: Buffer, at: number): number {
    const next = this.#trailers.take(bytes, at)
    if (next < 0) return bytes.length
    this.#handOn()
    // Its user may have stopped it.
    if (this.isWhole) return next
    this.#step = 'nothing'
    const fields = readTrailers(this.#trailers.text.slice(2), this.#maxFields)
    if (fields.length > 0) this.#sink.onTrailers(fields)
    return next
  }
}

function expect(bytes: Buffer, at: number, octet: number): void {
  if (bytes[at] !== octet) throw malformed('a chunk does not end where it should')
}

function digitOf(octet: number): number {
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30
  const letter = octet | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}
