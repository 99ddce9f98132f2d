// One exchange of messages on a connection that has one at a time: where both stand. It checks that its user keeps the order of a message; what is
// sent is made by its connection.

import type { RawFields, ResponseHead } from '../http/message.js'
import type { Follows, HttpStream, StreamSink } from '../http/stream.js'
import { checkTrailers } from './head-writer.js'

/** What a stream needs of its connection. */
export interface StreamCore {
  sendInterim(head: ResponseHead): void
  sendHead(head: ResponseHead, follows: Follows): void
  /** @returns false when something is held back */
  sendBody(bytes: Uint8Array): boolean
  sendEnd(bytes: Uint8Array, trailers: RawFields): void
  onConsumed(): void
  reset(): void
}

/** Refuses everything: a stream has it between its making and the user's own sink. */
const NO_SINK: StreamSink = {
  onData: () => undefined,
  onTrailers: () => undefined,
  onEnd: () => undefined,
  onReset: () => undefined,
  onDrain: () => undefined,
}

const NOTHING = new Uint8Array()

export class Stream implements HttpStream {
  readonly #core: StreamCore
  sink: StreamSink = NO_SINK
  /** `head`: nothing of a final head was said. */
  local: 'head' | 'body' | 'closed' = 'head'
  remote: 'open' | 'closed' = 'open'
  /** Given to the sink, not yet given back by `consume`. */
  heldBytes = 0
  /** Over before its time; its user may not know yet. */
  isAbandoned = false
  /** The tunnel that it asked for was refused: its user may still say what was meant for it. */
  isMute = false

  constructor(core: StreamCore) {
    this.#core = core
  }

  get isRemoteEnded(): boolean {
    return this.remote === 'closed'
  }

  get isClosed(): boolean {
    return this.remote === 'closed' && this.local === 'closed'
  }

  interim(head: ResponseHead): void {
    if (this.isAbandoned) return
    this.#expect('head')
    if (head.status < 100 || head.status > 199 || head.status === 101)
      throw new TypeError('an interim response has a status of 100 to 199 but 101')
    this.#core.sendInterim(head)
  }

  respond(head: ResponseHead, follows: Follows): void {
    if (this.isAbandoned) return
    this.#expect('head')
    if (head.status < 200 || head.status > 599)
      throw new TypeError('a final response has a status of 200 to 599')
    this.#core.sendHead(head, follows)
  }

  write(bytes: Uint8Array): boolean {
    // What is written to a stream that is over goes nowhere: the sink has heard of it.
    if (this.isAbandoned || this.isMute) return true
    this.#expect('body')
    return this.#core.sendBody(bytes)
  }

  end(bytes: Uint8Array): void {
    if (this.isAbandoned || this.isMute) return
    this.#expect('body')
    this.#core.sendEnd(bytes, [])
  }

  endWithTrailers(fields: RawFields): void {
    if (this.isAbandoned || this.isMute) return
    this.#expect('body')
    checkTrailers(fields)
    this.#core.sendEnd(NOTHING, fields)
  }

  consume(bytes: number): void {
    if (this.isAbandoned || bytes === 0) return
    if (bytes > this.heldBytes) throw new RangeError('more was consumed than was given')
    this.heldBytes -= bytes
    if (!this.isClosed) this.#core.onConsumed()
  }

  /** Whatever the code is: HTTP/1.1 has no words for it. */
  reset(): void {
    if (!this.isClosed) this.#core.reset()
  }

  /** Nothing more is sent or taken. */
  abandon(): void {
    this.local = 'closed'
    this.remote = 'closed'
    this.isAbandoned = true
  }

  #expect(local: Stream['local']): void {
    if (this.local !== local) throw new TypeError(`the message is at ${this.local}, not ${local}`)
  }
}
