// As much of WebSocket (RFC 6455) as an echo of small messages needs: both ends are ours, so nothing is checked.

import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const MASKED = 0x80
/** Larger messages would need another form of length. */
export const MAX_MESSAGE = 125

export const acceptKey = (key: string): string =>
  createHash('sha1')
    .update(key + GUID)
    .digest('base64')

/** A binary message of a client; its mask is zero, which is a mask too. */
export function clientFrame(message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(0x82, MASKED | message.length, 0, 0, 0, 0), message])
}

/** Cuts a stream of bytes into small frames. */
export class FrameReader {
  readonly #onFrame: (frame: Buffer) => void
  #begun: Buffer = Buffer.alloc(0)

  /** @param onFrame hears each whole frame, head included */
  constructor(onFrame: (frame: Buffer) => void) {
    this.#onFrame = onFrame
  }

  feed(bytes: Buffer): void {
    let rest = this.#begun.length === 0 ? bytes : Buffer.concat([this.#begun, bytes])
    for (let size = sizeOf(rest); size <= rest.length; size = sizeOf(rest)) {
      this.#onFrame(rest.subarray(0, size))
      rest = rest.subarray(size)
    }
    this.#begun = rest.length === 0 ? rest : Buffer.from(rest)
  }
}

function sizeOf(bytes: Buffer): number {
  const second = bytes[1]
  if (second === undefined) return Number.POSITIVE_INFINITY
  return 2 + (second & 0x7f) + ((second & MASKED) === 0 ? 0 : 4)
}

/** The server's end: sends every message back. */
export class FrameEcho {
  readonly #reader: FrameReader

  constructor(socket: Socket) {
    this.#reader = new FrameReader((frame) => socket.write(unmask(frame)))
  }

  feed(bytes: Buffer): void {
    this.#reader.feed(bytes)
  }
}

function unmask(frame: Buffer): Buffer {
  const length = (frame[1] ?? 0) & 0x7f
  const answer = Buffer.alloc(2 + length)
  answer[0] = frame[0] ?? 0
  answer[1] = length
  for (let at = 0; at < length; at++) answer[2 + at] = (frame[6 + at] ?? 0) ^ (frame[2 + (at & 3)] ?? 0)
  return answer
}
