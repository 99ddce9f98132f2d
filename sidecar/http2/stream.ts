// One stream: where both messages stand (RFC 9113 §5.1), its two windows, and what waits to be sent. It checks that its user keeps the
// order of a message; frames are written by its core.

import type { DeclaredLength, RawFields, ResponseHead } from '../http/message.js'
import type { Follows, ResponseSink, StreamSink } from '../http/stream.js'
import type { Http2Stream } from './contract.js'
import type { HeldBytes } from './held-bytes.js'
import { checkSendable } from './hpack/encoder.js'

/** What a stream needs of its connection. */
export interface StreamCore {
  sendHead(stream: Stream, head: ResponseHead, follows: Follows): void
  sendInterim(stream: Stream, head: ResponseHead): void
  /** @returns false when something is held back */
  sendData(stream: Stream, bytes: Uint8Array): boolean
  /** Our message ends behind what is queued, with `stream.trailers` when there are any. */
  sendEnd(stream: Stream, bytes: Uint8Array): void
  consume(stream: Stream, bytes: number): void
  reset(stream: Stream, code: number): void
}

/** `head`: nothing of a final head was said. `ending`: the end waits behind queued bytes. */
export type LocalState = 'head' | 'body' | 'ending' | 'closed'
export type RemoteState = 'head' | 'body' | 'closed'

/** Refuses everything: a stream has it between its making and the user's own sink. */
const NO_SINK: StreamSink = {
  onData: () => undefined,
  onTrailers: () => undefined,
  onEnd: () => undefined,
  onReset: () => undefined,
  onDrain: () => undefined,
}

export class Stream implements Http2Stream {
  readonly id: number
  readonly #core: StreamCore
  sink: StreamSink = NO_SINK
  /** Of a client's stream: the same sink, which also hears heads. */
  responseSink: ResponseSink | null = null

  local: LocalState = 'head'
  remote: RemoteState = 'head'

  /** What we may still send. Negative after a change of SETTINGS (RFC 9113 §6.9.2). */
  sendWindow = 0
  /** Written, but not yet in the outbox. */
  held: HeldBytes | null = null
  /** When the end was said, if it had to wait; ms as the connection counts them. */
  endingSince = 0
  trailers: RawFields | null = null
  /** In the ring of those that could send. */
  isWaiting = false
  nextWaiting: Stream | null = null
  wantsDrain = false

  /** What the peer may still send. */
  receiveWindow = 0
  /** Given to the sink, not yet given back by `consume`. */
  heldBytes = 0
  /** Given back, not yet told to the peer. */
  creditBytes = 0
  receivedBytes = 0
  declared: DeclaredLength = null
  /** The response has no body, whatever its content-length says: to HEAD, 204, 304. */
  isBodyless = false
  /** The request was CONNECT: with a 2xx the stream is a tunnel, of no declared length. */
  isConnect = false
  /** Over before its time; its user may not know yet. */
  isAbandoned = false

  constructor(id: number, core: StreamCore) {
    this.id = id
    this.#core = core
  }

  get queuedBytes(): number {
    return this.held === null ? 0 : this.held.length
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
    this.#core.sendInterim(this, head)
  }

  respond(head: ResponseHead, follows: Follows): void {
    if (this.isAbandoned) return
    this.#expect('head')
    this.#core.sendHead(this, head, follows)
  }

  write(bytes: Uint8Array): boolean {
    // What is written to a stream that the peer has reset goes nowhere: the sink has heard of it.
    if (this.isAbandoned) return true
    this.#expect('body')
    return bytes.length === 0 || this.#core.sendData(this, bytes)
  }

  end(bytes: Uint8Array): void {
    if (this.isAbandoned) return
    this.#expect('body')
    this.#core.sendEnd(this, bytes)
  }

  endWithTrailers(fields: RawFields): void {
    if (this.isAbandoned) return
    this.#expect('body')
    // They may leave much later, when nobody is there to hear that they cannot.
    checkSendable(fields)
    this.trailers = fields
    this.#core.sendEnd(this, new Uint8Array())
  }

  consume(bytes: number): void {
    // Its window was given back when it ended.
    if (this.isAbandoned) return
    if (bytes > this.heldBytes) throw new RangeError('more was consumed than was given')
    this.#core.consume(this, bytes)
  }

  reset(code: number): void {
    if (!this.isClosed) this.#core.reset(this, code)
  }

  /** Nothing more is sent or taken; what was queued is dropped. */
  abandon(): void {
    this.local = 'closed'
    this.remote = 'closed'
    this.isAbandoned = true
    this.held?.drop()
    this.trailers = null
    this.wantsDrain = false
  }

  #expect(local: LocalState): void {
    if (this.local !== local) throw new TypeError(`stream ${this.id} is ${this.local}, not ${local}`)
  }
}
