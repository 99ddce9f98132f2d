// A codec on a socket: bytes in, one write outstanding, what was written in a turn leaves at its end. Knows no HTTP and decides nothing; who
// watches for slow and silent peers is its user.

import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { type Sweep, type Swept, UNWATCHED } from '../../host/sweep.js'
import type { Turn } from '../../host/turn.js'
import type { TextWire } from '../http/wire.js'
import { readInto, type SharedRead } from './shared-reads.js'

/** What a connection of either codec is to its transport. */
export interface Codec {
  /** The bytes are used up when it returns. */
  feed(bytes: Buffer): void
  /** The peer has half-closed: it will say nothing more. */
  ended(): void
  flush(): void
  written(): void
  lost(): void
}

/** How long a peer may take to read our last words, and to end its side. */
const LINGER_MS = 1000
/** What is read at once. */
export const READ_BYTES = 64 * 1024

/** Makes a socket whose reads land in a buffer that is shared: no memory is taken for a read. */
export type Opener = (onread: SharedRead) => Socket

export class SocketWire implements TextWire, Swept {
  watchedAt = UNWATCHED
  readonly socket: Socket
  readonly #turn: Turn
  readonly #sweep: Sweep
  #codec: Codec | undefined
  #isClosing = false
  #lingersUntil = 0
  /** Its reads land in the shared buffer. */
  #isShared: boolean
  /** Its writes are never over at once, and what it reads before there is a codec must wait. */
  readonly #isEncrypted: boolean
  readonly #onread: SharedRead

  /**
   * @param source to be opened, or accepted
   * @param reads where reads land, for many sockets: the bytes are used up before the next read. Null: each read takes memory of its own.
   *   A plain socket that was accepted must come paused then
   */
  constructor(source: Socket | Opener, turn: Turn, sweep: Sweep, reads: Buffer | null = null) {
    this.#turn = turn
    this.#sweep = sweep
    this.#onread = { buffer: reads ?? Buffer.alloc(0), callback: this.#onRead }
    const isOpened = typeof source === 'function'
    this.socket = isOpened ? source(this.#onread) : source
    this.#isEncrypted = this.socket instanceof TLSSocket
    this.#isShared = isOpened || (reads !== null && !this.#isEncrypted && readInto(this.socket, this.#onread))
  }

  /** Hands the socket to the codec, from its first byte on. */
  attach(codec: Codec): void {
    this.#codec = codec
    const { socket } = this
    if (!this.#isShared) socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.on('error', this.#onError)
    socket.on('close', this.#onClose)
    // TLS reads from its first moment on, for the handshake: what came since waits in the socket, and is emitted before the next read
    if (this.#isEncrypted && this.#onread.buffer.length > 0) this.#isShared = readInto(socket, this.#onread)
    socket.resume()
  }

  write(bytes: Buffer): void {
    // An empty write makes TLS read, amidst the feed that may have led to it: the shared buffer would be overwritten.
    if (bytes.length === 0) this.#turn.flush(this.#onWritten)
    else this.socket.write(bytes, this.#onWritten)
  }

  writeText(text: string): boolean {
    const { socket } = this
    if (this.#isEncrypted) {
      if (text === '') return true
      socket.write(text, 'latin1', this.#onWritten)
      return false
    }
    // Node tells who asks at the end of the tick; most small writes are over by then, and a look is cheaper.
    socket.write(text, 'latin1')
    if (socket.writableLength === 0) return true
    socket.write('', 'latin1', this.#onWritten)
    return false
  }

  schedule(): void {
    this.#turn.flush(this.#flush)
  }

  shut(): void {
    this.socket.end()
  }

  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  /**
   * The last byte was written. What the peer still says is read and thrown away for a moment: unread bytes would turn the close into a
   * reset, and the peer would never see the answer.
   */
  close(): void {
    if (this.#isClosing) return
    this.#isClosing = true
    if (this.socket.destroyed) return
    this.socket.end()
    this.socket.resume()
    this.#lingersUntil = this.#sweep.now() + LINGER_MS
    this.#sweep.watch(this, this.#lingersUntil)
  }

  /** One event and one system call less than `close`. TLS has last words of its own, without which its peer would suspect an attack. */
  leave(): void {
    if (this.#isEncrypted) this.close()
    else this.socket.destroy()
  }

  /** At once, whatever is under way. */
  destroy(): void {
    this.socket.destroy()
  }

  look(now: number): number {
    if (this.socket.destroyed) return Number.POSITIVE_INFINITY
    if (now < this.#lingersUntil) return this.#lingersUntil
    this.socket.destroy()
    return Number.POSITIVE_INFINITY
  }

  readonly #flush = (): void => {
    this.#codec?.flush()
  }

  readonly #onWritten = (error?: Error | null): void => {
    if (error == null) this.#codec?.written()
  }

  readonly #onData = (bytes: Buffer): void => {
    if (!this.#isClosing) this.#codec?.feed(bytes)
  }

  readonly #onRead = (length: number, buffer: Uint8Array): boolean => {
    const bytes = Buffer.from(buffer.buffer, buffer.byteOffset, length)
    // TLS hands over all that it has decrypted, paused or not: that waits in the socket, which says when it is enough
    if (this.#isEncrypted && this.socket.isPaused()) return this.socket.push(Buffer.from(bytes))
    this.#onData(bytes)
    return true
  }

  readonly #onEnd = (): void => {
    if (this.#isClosing) this.socket.destroy()
    else this.#codec?.ended()
  }

  readonly #onError = (): void => {
    this.socket.destroy()
  }

  readonly #onClose = (): void => {
    this.#sweep.forget(this)
    this.#codec?.lost()
  }
}
