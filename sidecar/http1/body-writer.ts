// How a body leaves: its framing is made here, never copied from the other side (RFC 9112 §6, §7), and what is written is held against the length
// that its head declared.

import type { RawFields } from '../http/message.js'
import { H2, StreamError } from '../http/stream-error.js'
import { formatFields } from './head-writer.js'
import type { Sender } from './sender.js'

/** `raw`: until the connection ends, or a tunnel. */
export type BodyForm = 'none' | 'length' | 'chunked' | 'raw'

export class BodyWriter {
  readonly #sender: Sender
  #form: BodyForm = 'none'
  #left = 0

  constructor(sender: Sender) {
    this.#sender = sender
  }

  /** @param length in bytes, for the form `length` */
  begin(form: BodyForm, length: number): void {
    this.#form = form
    this.#left = length
  }

  /**
   * Sends a piece, and with `trailers`, which may be empty, the end; they are left out where the framing has no place for them.
   * @returns what is wrong: the length is not what the head has declared
   */
  write(bytes: Uint8Array, trailers: RawFields | null): StreamError | undefined {
    if (bytes.length > 0 && !this.#isSent(bytes)) return wrongLength()
    if (trailers === null) return undefined
    if (this.#form === 'length' && this.#left > 0) return wrongLength()
    if (this.#form === 'chunked') this.#sender.text(`0\r\n${formatFields(trailers)}\r\n`)
    this.#form = 'none'
    return undefined
  }

  #isSent(bytes: Uint8Array): boolean {
    switch (this.#form) {
      case 'none':
        return false
      case 'length':
        if (bytes.length > this.#left) return false
        this.#left -= bytes.length
        this.#sender.bytes(bytes)
        return true
      case 'chunked':
        this.#sender.text(`${bytes.length.toString(16)}\r\n`)
        this.#sender.bytes(bytes)
        this.#sender.text('\r\n')
        return true
      case 'raw':
        this.#sender.bytes(bytes)
        return true
    }
  }
}

const wrongLength = (): StreamError =>
  new StreamError('CALL_MALFORMED', H2.INTERNAL_ERROR, 'the body is not as long as its head says')
