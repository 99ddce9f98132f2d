// Cuts a byte stream into frames (RFC 9113 §4.1), wherever the chunks are cut. DATA is handed on as it arrives; every other frame is whole,
// so that at most one frame of bytes is held. Knows lengths and padding; what a frame may mean where it stands is its sink's matter.

import { H2 } from '../http/stream-error.js'
import { violation } from './errors.js'
import { CLIENT_PREFACE, FLAG, FRAME, FRAME_HEADER_BYTES, readUint31 } from './frames.js'

/** The frame at hand. One object for all of them: read it while the call lasts. */
export interface FrameHeader {
  readonly length: number
  readonly type: number
  readonly flags: number
  readonly streamId: number
}

export interface FrameSink {
  /** A header was read; throws for a frame that may not stand here or is too large. */
  onFrameHeader(frame: FrameHeader): void
  /** A whole frame that is not DATA. The bytes are good for this call only. */
  onFrame(frame: FrameHeader, bytes: Buffer, start: number, end: number): void
  /** A piece of DATA without its padding, never empty. Good for this call only. */
  onData(frame: FrameHeader, bytes: Buffer, start: number, end: number): void
  onDataEnd(frame: FrameHeader): void
}

type State = 'preface' | 'header' | 'payload' | 'unknown' | 'pad-length' | 'data' | 'padding'

export class FrameReader {
  readonly #sink: FrameSink
  readonly #frame = { length: 0, type: 0, flags: 0, streamId: 0 }
  readonly #header = Buffer.alloc(FRAME_HEADER_BYTES)
  #state: State
  /** How much of the preface or of the header was seen. */
  #seen = 0
  /** What is to come of the payload; of DATA without its padding. */
  #rest = 0
  #padding = 0
  /** The beginning of a payload whose end is not here yet. */
  #partial: Buffer | null = null
  #partialLength = 0
  /** Of frames that were read whole. */
  #count = 0
  #isStopped = false

  /** @param awaitsPreface for the server: the client's magic comes first */
  constructor(sink: FrameSink, awaitsPreface: 'preface' | 'no-preface') {
    this.#sink = sink
    this.#state = awaitsPreface === 'preface' ? 'preface' : 'header'
  }

  /**
   * Reads on. Nothing of `bytes` is kept.
   * @throws StreamError whatever the sink throws; PROTOCOL_ERROR and FRAME_SIZE_ERROR of its own. Nothing may be fed afterwards
   */
  feed(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length && !this.#isStopped) at = this.#step(bytes, at)
  }

  /** The number of the frame beside DATA that has begun and is not whole; 0: there is none. */
  get unfinished(): number {
    const isBegun = this.#seen > 0 || this.#state === 'payload' || this.#state === 'unknown'
    return isBegun ? this.#count + 1 : 0
  }

  /** Nothing is read any more, not even what is left of the bytes at hand. */
  stop(): void {
    this.#isStopped = true
  }

  #step(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case 'header':
        return this.#readHeader(bytes, at)
      case 'payload':
        return this.#readPayload(bytes, at)
      case 'data':
        return this.#readData(bytes, at)
      case 'pad-length':
        return this.#readPadLength(bytes, at)
      case 'padding':
      case 'unknown':
        return this.#skip(bytes, at)
      case 'preface':
        return this.#readPreface(bytes, at)
    }
  }

  #readPreface(bytes: Buffer, at: number): number {
    if (bytes[at] !== CLIENT_PREFACE[this.#seen])
      throw violation(H2.PROTOCOL_ERROR, 'the connection does not begin with the preface of HTTP/2')
    this.#seen += 1
    if (this.#seen === CLIENT_PREFACE.length) this.#await('header')
    return at + 1
  }

  #readHeader(bytes: Buffer, at: number): number {
    const isWhole = this.#seen === 0 && bytes.length - at >= FRAME_HEADER_BYTES
    if (isWhole) {
      this.#begin(bytes, at)
      return at + FRAME_HEADER_BYTES
    }
    const end = Math.min(bytes.length, at + FRAME_HEADER_BYTES - this.#seen)
    bytes.copy(this.#header, this.#seen, at, end)
    this.#seen += end - at
    if (this.#seen === FRAME_HEADER_BYTES) this.#begin(this.#header, 0)
    return end
  }

  #begin(bytes: Buffer, at: number): void {
    const frame = this.#frame
    frame.length = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0)
    frame.type = bytes[at + 3] ?? 0
    frame.flags = bytes[at + 4] ?? 0
    frame.streamId = readUint31(bytes, at + 5)
    this.#seen = 0
    this.#rest = frame.length
    this.#padding = 0
    this.#sink.onFrameHeader(frame)
    if (frame.type === FRAME.DATA) this.#beginData()
    else if (frame.type > FRAME.CONTINUATION) this.#beginUnknown()
    else if (frame.length === 0) this.#finishFrame(bytes, at, at)
    else this.#state = 'payload'
  }

  #beginData(): void {
    if ((this.#frame.flags & FLAG.PADDED) === 0) this.#await(this.#rest === 0 ? 'header' : 'data')
    else if (this.#rest === 0)
      throw violation(H2.FRAME_SIZE_ERROR, 'a padded frame has no room for its padding')
    else this.#await('pad-length')
    if (this.#state === 'header') this.#sink.onDataEnd(this.#frame)
  }

  /** Frames of unknown types are passed over (RFC 9113 §5.5), not gathered. */
  #beginUnknown(): void {
    this.#padding = this.#rest
    if (this.#padding > 0) this.#await('unknown')
    else this.#finishFrame(this.#header, 0, 0)
  }

  #readPadLength(bytes: Buffer, at: number): number {
    this.#padding = bytes[at] ?? 0
    this.#rest -= 1 + this.#padding
    if (this.#rest < 0) throw violation(H2.PROTOCOL_ERROR, 'padding is longer than its frame')
    if (this.#rest > 0) this.#await('data')
    else this.#endData()
    return at + 1
  }

  #readData(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#rest)
    this.#rest -= end - at
    this.#sink.onData(this.#frame, bytes, at, end)
    if (this.#rest === 0) this.#endData()
    return end
  }

  #endData(): void {
    if (this.#padding > 0) this.#await('padding')
    else {
      this.#await('header')
      this.#sink.onDataEnd(this.#frame)
    }
  }

  #skip(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#padding)
    this.#padding -= end - at
    if (this.#padding > 0) return end
    const isData = this.#state === 'padding'
    this.#await('header')
    if (isData) this.#sink.onDataEnd(this.#frame)
    else this.#sink.onFrame(this.#frame, bytes, end, end)
    return end
  }

  #readPayload(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#rest)
    this.#rest -= end - at
    if (this.#rest === 0 && this.#partial === null) {
      this.#finishFrame(bytes, at, end)
      return end
    }
    this.#partial ??= Buffer.allocUnsafe(this.#frame.length)
    this.#partialLength += bytes.copy(this.#partial, this.#partialLength, at, end)
    if (this.#rest > 0) return end
    const whole = this.#partial
    this.#partial = null
    this.#partialLength = 0
    this.#finishFrame(whole, 0, whole.length)
    return end
  }

  #finishFrame(bytes: Buffer, start: number, end: number): void {
    this.#await('header')
    this.#sink.onFrame(this.#frame, bytes, start, end)
  }

  #await(state: State): void {
    this.#state = state
    this.#seen = 0
    if (state === 'header') this.#count += 1
  }
}
