// Closed-loop callers over HTTP/1.1 on raw sockets: each sends its next request when the answer to the last one is whole.

import net from 'node:net'
import { MessageReader } from '../http1-reader.js'
import type { CallsJob, Measured } from './job.js'
import { measureWindow, Tally } from './window.js'

const READ_BYTES = 64 * 1024
/** Loopback addresses that new connections come from in turn, so that ports do not run out. */
const SOURCES = 32
const LAST_ANSWER_WITHIN_MS = 3000
const PIECE = Buffer.alloc(256 * 1024, 'x')

/** @throws Error when a connection fails, or an answer is not 200 */
export async function generateCalls(job: CallsJob): Promise<Measured> {
  const tally = new Tally()
  const callers = Array.from({ length: job.callers }, (_, at) => new Caller(job, tally, at))
  for (const caller of callers) caller.start()
  try {
    return await measureWindow(tally, job)
  } finally {
    await Promise.all(callers.map((caller) => caller.gone()))
  }
}

class Caller {
  readonly #job: CallsJob
  readonly #tally: Tally
  readonly #number: number
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES)
  #socket: net.Socket | undefined
  #sentAt = 0
  #head = ''

  constructor(job: CallsJob, tally: Tally, number: number) {
    this.#job = job
    this.#tally = tally
    this.#number = number
  }

  start(): void {
    const { host, port, connection } = this.#job
    const reader = new MessageReader('response', {
      onHead: (head) => {
        this.#head = head
      },
      onBody: (bytes, from, to) => this.#received(bytes, from, to),
      onEnd: () => this.#answered(),
    })
    const onread = {
      buffer: this.#buffer,
      callback: (length: number, buffer: Uint8Array) => {
        reader.feed(buffer as Buffer, length)
        return true
      },
    }
    const localAddress =
      connection === 'fresh' ? { localAddress: `127.0.0.${2 + (this.#number % SOURCES)}` } : {}
    this.#sentAt = performance.now()
    const socket = net.connect({ host, port, noDelay: true, onread, ...localAddress })
    this.#socket = socket
    socket.on('connect', () => {
      if (connection === 'kept') this.#sentAt = performance.now()
      this.#send(socket)
    })
    socket.on('error', ({ message }) => this.#fail(message))
    socket.on('close', () => {
      if (this.#socket === socket && !this.#tally.isOver) this.#fail('closed the connection')
    })
  }

  /** Resolves when its connection is closed: behind the answer that is under way, so that nobody has to clean up a broken call. */
  gone(): Promise<void> {
    const socket = this.#socket
    if (socket === undefined || socket.closed) return Promise.resolve()
    return new Promise((resolve) => {
      const late = setTimeout(() => socket.destroy(), this.#tally.hasFailed ? 0 : LAST_ANSWER_WITHIN_MS)
      socket.on('close', () => {
        clearTimeout(late)
        resolve()
      })
    })
  }

  #send(socket: net.Socket): void {
    const { head, bodyBytes } = this.#job
    socket.write(head, 'latin1')
    if (bodyBytes > 0) this.#sendBody(socket, bodyBytes)
  }

  #sendBody(socket: net.Socket, count: number): void {
    const piece = count < PIECE.length ? PIECE.subarray(0, count) : PIECE
    const { unit } = this.#job
    socket.write(piece, (error) => {
      if (error !== undefined && error !== null) return
      if (typeof unit === 'object' && 'sent' in unit) this.#tally.units += piece.length / unit.sent
      if (count > piece.length) this.#sendBody(socket, count - piece.length)
    })
  }

  #received(bytes: Buffer, from: number, to: number): void {
    if (!this.#isGood()) {
      this.#fail(`answered ${bytes.toString('utf8', from, Math.min(to, from + 300))}`)
      return
    }
    const { unit } = this.#job
    if (typeof unit === 'object' && 'received' in unit) this.#tally.units += (to - from) / unit.received
  }

  #answered(): void {
    if (!this.#isGood()) {
      this.#fail(`answered ${this.#head.split('\r\n')[0] ?? ''}`)
      return
    }
    const now = performance.now()
    this.#tally.latenciesMs.push(now - this.#sentAt)
    if (this.#job.unit === 'call') this.#tally.units++
    const socket = this.#socket
    if (socket === undefined) return
    if (this.#tally.isOver) {
      socket.destroy()
      return
    }
    if (this.#job.connection === 'kept') {
      this.#sentAt = now
      this.#send(socket)
    } else {
      this.#socket = undefined
      socket.destroy()
      this.start()
    }
  }

  #isGood(): boolean {
    return this.#head.startsWith('200', 9)
  }

  #fail(why: string): void {
    const { host, port, head } = this.#job
    this.#tally.fail(new Error(`${head.slice(0, head.indexOf(' HTTP/'))} at ${host}:${port}: ${why}`))
  }
}
