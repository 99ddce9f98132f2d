// A cheap reader of well-formed HTTP/1.1 for the load generator and the app of the bench, both roles: heads as text, bodies as bytes.
// It trusts what it reads, and must stay out of the product.

export interface MessageEvents {
  /** Up to and with the empty line, latin1. */
  onHead(head: string): void
  /** A piece of body, unframed, good for this call only. */
  onBody(bytes: Buffer, from: number, to: number): void
  onEnd(): void
}

const HEAD_END = '\r\n\r\n'
const LENGTH = /\r\ncontent-length: *(\d+)/i
const CHUNKED = /\r\ntransfer-encoding: *chunked/i

type State = 'head' | 'sized' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailers' | 'until-close'

export class MessageReader {
  readonly #role: 'request' | 'response'
  readonly #events: MessageEvents
  #state: State = 'head'
  /** Of a line or head that came in pieces. */
  #begun = ''
  #remaining = 0

  constructor(role: 'request' | 'response', events: MessageEvents) {
    this.#role = role
    this.#events = events
  }

  /** Everything that follows is one body, as behind 101. */
  untilClose(): void {
    this.#state = 'until-close'
  }

  feed(bytes: Buffer, length: number): void {
    let at = 0
    while (at < length) at = this.#step(bytes, at, length)
  }

  #step(bytes: Buffer, at: number, length: number): number {
    switch (this.#state) {
      case 'head':
        return this.#readHead(bytes, at, length)
      case 'sized':
      case 'chunk':
        return this.#readBody(bytes, at, length)
      case 'until-close':
        this.#events.onBody(bytes, at, length)
        return length
      case 'chunk-size':
      case 'chunk-end':
      case 'trailers':
        return this.#readLine(bytes, at, length)
    }
  }

  #readHead(bytes: Buffer, at: number, length: number): number {
    const before = this.#begun.length
    let head: string
    if (before === 0) {
      const found = bytes.indexOf(HEAD_END, at, 'latin1')
      // behind `length` the buffer holds what was there before
      const isWhole = found >= 0 && found + 4 <= length
      head = bytes.toString('latin1', at, isWhole ? found + 4 : length)
      if (!isWhole) {
        this.#begun = head
        return length
      }
    } else {
      const text = this.#begun + bytes.toString('latin1', at, length)
      const found = text.indexOf(HEAD_END)
      if (found < 0) {
        this.#begun = text
        return length
      }
      head = text.slice(0, found + 4)
      this.#begun = ''
    }
    this.#frame(head)
    return at + head.length - before
  }

  #frame(head: string): void {
    const size = LENGTH.exec(head)?.[1]
    this.#remaining = Number(size ?? 0)
    if (size !== undefined) this.#state = 'sized'
    else if (CHUNKED.test(head)) this.#state = 'chunk-size'
    else this.#state = this.#role === 'request' ? 'sized' : 'until-close'
    this.#events.onHead(head)
    // unless the head was taken for an upgrade
    if (this.#state === 'sized' && this.#remaining === 0) this.#end()
  }

  #readBody(bytes: Buffer, at: number, length: number): number {
    const end = Math.min(length, at + this.#remaining)
    this.#remaining -= end - at
    this.#events.onBody(bytes, at, end)
    if (this.#remaining > 0) return end
    if (this.#state === 'sized') this.#end()
    else this.#state = 'chunk-end'
    return end
  }

  #readLine(bytes: Buffer, at: number, length: number): number {
    const found = bytes.indexOf(0x0a, at)
    if (found < 0 || found >= length) {
      this.#begun += bytes.toString('latin1', at, length)
      return length
    }
    const line = (this.#begun + bytes.toString('latin1', at, found)).trim()
    this.#begun = ''
    if (this.#state === 'chunk-end') this.#state = 'chunk-size'
    else if (this.#state === 'trailers') {
      if (line === '') this.#end()
    } else {
      this.#remaining = Number.parseInt(line, 16)
      this.#state = this.#remaining === 0 ? 'trailers' : 'chunk'
    }
    return found + 1
  }

  #end(): void {
    this.#state = 'head'
    this.#events.onEnd()
  }
}
