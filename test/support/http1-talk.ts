// A connection of HTTP/1.1 on a wire that writes everything down, in either role, and what its user hears in words that a test can compare.

import type { RequestHead } from '../../sidecar/http/message.js'
import type { Follows, HttpStream, ResponseSink, StreamSink } from '../../sidecar/http/stream.js'
import type { TextWire } from '../../sidecar/http/wire.js'
import { Http1Client } from '../../sidecar/http1/client-connection.js'
import { type ArrivedHead, DEFAULT_HTTP1_LIMITS, type Http1Limits } from '../../sidecar/http1/contract.js'
import { Http1Server } from '../../sidecar/http1/server-connection.js'

export class FakeWire implements TextWire {
  /** Latin1. */
  output = ''
  writes = 0
  isScheduled = false
  isOutstanding = false
  isPaused = false
  isShut = false
  isClosed = false
  /** It was closed without waiting for what the peer may still say. */
  isLeft = false
  /** Text is taken at once, as sockets do that are not full. */
  isInstant = false

  write(bytes: Buffer): void {
    this.#take(bytes.toString('latin1'))
    this.isOutstanding = true
  }
  writeText(text: string): boolean {
    this.#take(text)
    this.isOutstanding = !this.isInstant
    return this.isInstant
  }
  #take(text: string): void {
    if (this.isOutstanding) throw new Error('a second write before the first was done')
    if (this.isShut || this.isClosed) throw new Error('a write behind the end')
    this.output += text
    this.writes += 1
  }
  schedule(): void {
    this.isScheduled = true
  }
  pause(): void {
    this.isPaused = true
  }
  resume(): void {
    this.isPaused = false
  }
  shut(): void {
    if (this.isOutstanding) throw new Error('half-closed before the last write was done')
    this.isShut = true
  }
  close(): void {
    if (this.isOutstanding) throw new Error('closed before the last write was done')
    this.isClosed = true
  }
  leave(): void {
    this.close()
    this.isLeft = true
  }
}

interface Fed {
  feed(bytes: Buffer): void
  flush(): void
  written(): void
}

abstract class Talk {
  readonly wire = new FakeWire()
  /** What the user has heard; body that came in several pieces is one line. */
  readonly lines: string[] = []
  abstract readonly connection: Fed

  feed(bytes: string | Buffer): this {
    this.connection.feed(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
    return this.settle()
  }

  /** Ends turns until nothing is left to do. */
  settle(): this {
    while (this.wire.isScheduled || this.wire.isOutstanding) {
      const { isScheduled, isOutstanding } = this.wire
      this.wire.isScheduled = false
      this.wire.isOutstanding = false
      if (isOutstanding) this.connection.written()
      if (isScheduled) this.connection.flush()
    }
    return this
  }

  protected sinkOf(consume: (bytes: number) => void): StreamSink {
    return {
      onData: (bytes) => {
        this.#hearBody(bytes.toString('latin1'))
        consume(bytes.length)
      },
      onTrailers: (fields) => this.lines.push(`trailers ${fields.join(' ')}`),
      onEnd: () => this.lines.push('end'),
      onReset: ({ code, h2 }) => this.lines.push(`reset ${code} ${h2}`),
      onDrain: () => this.lines.push('drain'),
    }
  }

  #hearBody(text: string): void {
    const last = this.lines.length - 1
    if (this.lines[last]?.startsWith('data ') === true) this.lines[last] += text
    else this.lines.push(`data ${text}`)
  }
}

export interface ServerTalkOptions {
  readonly limits?: Partial<Http1Limits>
  /** Default: `ok` as soon as the request is whole. */
  readonly serve?: (stream: HttpStream, head: ArrivedHead) => Partial<StreamSink>
  readonly consume?: boolean
}

export class ServerTalk extends Talk {
  readonly connection: Http1Server
  time = 0
  readonly heads: ArrivedHead[] = []
  readonly streams: HttpStream[] = []

  constructor({ limits = {}, serve = answerOk, consume = true }: ServerTalkOptions = {}) {
    super()
    this.connection = new Http1Server(
      {
        wire: this.wire,
        limits: { ...DEFAULT_HTTP1_LIMITS, ...limits },
        now: () => this.time,
        protects: (name) => name.startsWith('x-troth-'),
      },
      {
        onRequest: (stream, head) => {
          this.lines.push(lineOf(head))
          this.heads.push(head)
          this.streams.push(stream)
          const heard = this.sinkOf((bytes) => {
            if (consume) stream.consume(bytes)
          })
          const own = serve(stream, head)
          return {
            onData: (bytes) => {
              heard.onData(bytes)
              own.onData?.(bytes)
            },
            onTrailers: (fields) => {
              heard.onTrailers(fields)
              own.onTrailers?.(fields)
            },
            onEnd: () => {
              heard.onEnd()
              own.onEnd?.()
            },
            onReset: (error) => {
              heard.onReset(error)
              own.onReset?.(error)
            },
            onDrain: () => {
              heard.onDrain()
              own.onDrain?.()
            },
          }
        },
        onRefused: (error, answer) => {
          this.lines.push(`refused ${error.code}${answer === null ? ' without an answer' : ''}`)
          answer?.respond({ status: 400, fields: [] }, 'nothing')
        },
        onClose: (error) => this.lines.push(error === undefined ? 'close' : `close ${error.code}`),
      },
    )
  }

  get stream(): HttpStream {
    const stream = this.streams.at(-1)
    if (stream === undefined) throw new Error('no request has come')
    return stream
  }
}

export const OK = Buffer.from('ok')

export function answerOk(stream: HttpStream, head: ArrivedHead): Partial<StreamSink> {
  return {
    onEnd: () => {
      const isHead = head.method === 'HEAD'
      stream.respond({ status: 200, fields: ['content-length', '2'] }, isHead ? 'nothing' : 'more')
      if (!isHead) stream.end(OK)
    },
  }
}

function lineOf(head: ArrivedHead): string {
  const { method, scheme, authority, path, protocol, fields, isAbsolute, version } = head
  const marks = [protocol, isAbsolute ? 'absolute' : null, version].filter((mark) => mark !== null)
  return [method, `${scheme}://${authority}${path}`, ...marks, ...fields].join(' ')
}

export class ClientTalk extends Talk {
  readonly connection: Http1Client

  constructor(limits: Partial<Http1Limits> = {}) {
    super()
    this.connection = new Http1Client(
      { wire: this.wire, limits: { ...DEFAULT_HTTP1_LIMITS, ...limits }, now: () => 0 },
      {
        onIdle: () => this.lines.push('idle'),
        onClose: (error) => this.lines.push(error === undefined ? 'close' : `close ${error.code}`),
      },
    )
  }

  send(head: Partial<RequestHead> = {}, follows: Follows = 'nothing', consume = true): HttpStream {
    const sink: ResponseSink = {
      ...this.sinkOf((bytes) => {
        if (consume) stream.consume(bytes)
      }),
      onInterim: ({ status, fields }) => this.lines.push(['interim', status, ...fields].join(' ')),
      onHead: ({ status, fields }) => this.lines.push(['head', status, ...fields].join(' ')),
    }
    const stream = this.connection.request({ ...GET, ...head }, follows, sink)
    this.settle()
    return stream
  }
}

export const GET: RequestHead = {
  method: 'GET',
  scheme: 'http',
  authority: 'tools.mesh',
  path: '/x',
  protocol: null,
  fields: [],
}

/** The input whole, in two pieces at every place, and byte by byte. */
export function* everyCut(input: string): Generator<readonly string[]> {
  yield [input]
  for (let at = 1; at < input.length; at++) yield [input.slice(0, at), input.slice(at)]
  yield input.split('')
}
