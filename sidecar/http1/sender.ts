// Bytes on their way out, one write outstanding: heads and small bodies gather as one string, large ones are copied once, behind each other,
// into one buffer. Knows no messages.

import type { TextWire } from '../http/wire.js'

export interface SenderEvents {
  /** Nothing waits any more; at most one write is outstanding. */
  onDrained(): void
}

/** Above this a body is to be held back. */
const HIGH_WATER_BYTES = 64 * 1024
/** A body up to here goes as text with its head. */
const TEXT_BYTES = 4096
const FIRST_BYTES = 16 * 1024

export class Sender {
  readonly #wire: TextWire
  readonly #events: SenderEvents
  /** What waits: this, or when `#length` is not 0 the buffer. */
  #text = ''
  #buffer: Buffer | null = null
  #length = 0
  /** The buffer of the last write, to be used again when the transport is done with it. */
  #spare: Buffer | null = null
  #outstandingBytes = 0
  #isWriting = false
  #isScheduled = false
  #wantsDrain = false
  #keepsBuffers = false
  #isLeaving = false
  #end: 'open' | 'shutting' | 'shut' | 'ending' | 'ended' = 'open'

  constructor(wire: TextWire, events: SenderEvents) {
    this.#wire = wire
    this.#events = events
  }

  /** Adds latin1 text. */
  text(text: string): void {
    if (this.#length === 0) this.#text += text
    else this.#length += this.#room(text.length).write(text, this.#length, 'latin1')
  }

  /** Adds bytes; they are copied. */
  bytes(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    if (this.#length === 0 && bytes.length <= TEXT_BYTES) {
      this.#text += bufferOf(bytes).toString('latin1')
      return
    }
    if (this.#text !== '') {
      const text = this.#text
      this.#text = ''
      this.#length += this.#room(text.length + bytes.length).write(text, this.#length, 'latin1')
    }
    this.#room(bytes.length).set(bytes, this.#length)
    this.#length += bytes.length
  }

  /**
   * What waits leaves at the end of the turn, behind the writes of the other connections: writes in a row cost less than writes between
   * which something is computed, because whoever is woken by the first is still awake at the next.
   */
  wake(): void {
    if (this.#isScheduled || this.#end === 'ended') return
    this.#isScheduled = true
    this.#wire.schedule()
  }

  /**
   * Like `wake`, for a body that could be held back.
   * @returns false when it should be, until `onDrained`
   */
  wakeOrHold(): boolean {
    this.wake()
    return !this.isFull()
  }

  /** When there is more than should wait, `onDrained` says when it has left. */
  isFull(): boolean {
    if (this.#outstandingBytes + this.#text.length + this.#length <= HIGH_WATER_BYTES) return false
    this.#wantsDrain = true
    return true
  }

  /** The end of the turn. */
  flushed(): void {
    this.#isScheduled = false
    this.flush()
    if (!this.#isWriting) this.#tellDrained()
  }

  flush(): void {
    if (this.#isWriting || this.#end === 'ended') return
    if (this.#length > 0) {
      const full = this.#buffer ?? Buffer.alloc(0)
      const bytes = full.subarray(0, this.#length)
      this.#buffer = this.#spare
      this.#spare = full
      this.#length = 0
      this.#began(bytes.length)
      this.#wire.write(bytes)
    } else if (this.#text !== '') {
      const text = this.#text
      this.#text = ''
      this.#began(text.length)
      if (!this.#wire.writeText(text)) return
      this.#ended()
      // who was held back hears of it at the end of the turn, not amidst what it does now
      if (this.#wantsDrain) this.wake()
      this.#finish()
    } else this.#finish()
  }

  /** The transport has taken the last write. */
  written(): void {
    this.#ended()
    this.flush()
    if (!this.#keepsBuffers) this.#dropBuffers()
    this.#tellDrained()
  }

  #tellDrained(): void {
    if (!this.#wantsDrain || this.#length > 0 || this.#text !== '') return
    this.#wantsDrain = false
    this.#events.onDrained()
  }

  /** A message is over: large buffers are not kept for the next one. */
  settle(): void {
    this.#keepsBuffers = false
    this.#dropBuffers()
  }

  #dropBuffers(): void {
    if (this.#length === 0) this.#buffer = null
    if (!this.#isWriting) this.#spare = null
  }

  /** Our side is over behind what waits; the peer may go on. */
  shut(): void {
    if (this.#end !== 'open') return
    this.#end = 'shutting'
    this.#hurry()
  }

  /** The wire is closed behind what waits. */
  end(): void {
    if (this.#end === 'ending' || this.#end === 'ended') return
    this.#end = 'ending'
    this.#hurry()
  }

  /** As `end`, when the peer has said that it sends nothing more. */
  leave(): void {
    this.#isLeaving = true
    this.end()
  }

  #hurry(): void {
    if (!this.#isWriting) this.flush()
  }

  /** Nothing more can be written. */
  stop(): void {
    this.#end = 'ended'
    this.#text = ''
    this.#length = 0
    this.#buffer = null
    this.#spare = null
  }

  #began(bytes: number): void {
    this.#isWriting = true
    this.#outstandingBytes = bytes
  }

  #ended(): void {
    this.#isWriting = false
    this.#outstandingBytes = 0
  }

  #finish(): void {
    if (this.#end === 'shutting') {
      this.#end = 'shut'
      this.#wire.shut()
    } else if (this.#end === 'ending') {
      this.stop()
      if (this.#isLeaving) this.#wire.leave()
      else this.#wire.close()
    }
  }

  #room(bytes: number): Buffer {
    this.#keepsBuffers = true
    const needed = this.#length + bytes
    const before = this.#buffer
    if (before !== null && needed <= before.length) return before
    let size = before === null ? FIRST_BYTES : before.length
    while (size < needed) size *= 2
    const larger = Buffer.allocUnsafeSlow(size)
    before?.copy(larger, 0, 0, this.#length)
    this.#buffer = larger
    return larger
  }
}

const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
