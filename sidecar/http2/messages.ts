// From header blocks to messages (RFC 9113 §8.1): requests open streams, responses and trailers continue them, and bodies are held against
// the length that their head declared. Everything is judged before the user hears of it.

import type { RequestHead } from '../http/message.js'
import { H2, StreamError } from '../http/stream-error.js'
import type { ServerEvents } from './contract.js'
import type { Core } from './core.js'
import { malformed, violation } from './errors.js'
import { declaredLength, readRequestHead, readResponseHead, readTrailers } from './head.js'
import type { HeaderBlock } from './header-block.js'
import type { Stream } from './stream.js'

/** A server accepts requests, a client knows which sink awaits which answer. */
export interface Side {
  /** Null for a client. */
  readonly server: ServerEvents | null
  readonly allowsExtendedConnect: boolean
}

export class Messages {
  readonly #core: Core
  readonly #side: Side
  /** GOAWAY with this id was sent: younger streams are refused. */
  lastAccepted = Number.POSITIVE_INFINITY

  constructor(core: Core, side: Side) {
    this.#core = core
    this.#side = side
  }

  /** @throws StreamError for a fault of the connection */
  onBlock(block: HeaderBlock): void {
    const stream = this.#core.streams.get(block.streamId)
    if (stream === undefined) this.#onUnknown(block)
    else if (block.isSelfDependent) this.#core.failStream(stream, selfDependent())
    else
      try {
        this.#proceed(stream, block)
      } catch (error) {
        this.#blame(stream, error)
      }
  }

  #onUnknown(block: HeaderBlock): void {
    const { streams } = this.#core
    const { streamId } = block
    switch (streams.fateOf(streamId)) {
      case 'forgiven':
        if (block.endsStream) streams.settle(streamId)
        this.#core.spendUpkeep()
        return
      case 'closed':
        throw violation(H2.STREAM_CLOSED, 'HEADERS on a closed stream')
      case 'idle': {
        const { server } = this.#side
        if (server === null || streams.isOwn(streamId))
          throw violation(H2.PROTOCOL_ERROR, 'HEADERS on a stream that the peer may not open')
        streams.touch(streamId)
        this.#begin(block, server)
      }
    }
  }

  #begin(block: HeaderBlock, server: ServerEvents): void {
    const core = this.#core
    const { streamId, list } = block
    if (streamId > this.lastAccepted || core.streams.peerCount >= core.limits.maxConcurrentStreams) {
      core.refuse(streamId, new StreamError('HTTP2_STREAM_REFUSED', H2.REFUSED_STREAM, 'too many streams'))
      return
    }
    if (block.isSelfDependent) {
      core.refuse(streamId, selfDependent())
      return
    }
    if (list === null) {
      core.sender.response(streamId, { status: 431, fields: [] }, 'nothing')
      core.refuse(streamId, tooLarge(H2.NO_ERROR))
      return
    }
    let head: RequestHead
    let declared: number | null
    try {
      head = readRequestHead(list, this.#side.allowsExtendedConnect)
      declared = declaredLength(head.fields)
      if (head.method === 'CONNECT') declared = null
      if (block.endsStream && (declared ?? 0) !== 0) throw wrongLength()
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      core.refuse(streamId, error)
      return
    }
    const stream = core.makeStream(streamId)
    stream.declared = declared
    stream.remote = block.endsStream ? 'closed' : 'body'
    stream.sink = server.onRequest(stream, head)
    if (block.endsStream && !stream.isAbandoned) core.endRemote(stream)
  }

  #proceed(stream: Stream, block: HeaderBlock): void {
    const { list } = block
    if (stream.remote === 'closed') throw violation(H2.STREAM_CLOSED, 'HEADERS behind the end of a message')
    if (list === null) throw tooLarge(H2.CANCEL)
    if (stream.remote === 'head') this.#onResponse(stream, list, block.endsStream)
    else this.#onTrailers(stream, list, block.endsStream)
  }

  #onResponse(stream: Stream, list: readonly string[], endsStream: boolean): void {
    const sink = stream.responseSink
    const head = readResponseHead(list)
    if (head.status < 200) {
      if (endsStream) throw malformed('an interim response ends its stream')
      this.#core.spendUpkeep()
      sink?.onInterim(head)
      return
    }
    const hasBody = !stream.isBodyless && head.status !== 204 && head.status !== 304
    stream.isBodyless = !hasBody
    const isTunnel = stream.isConnect && head.status < 300
    const declared = declaredLength(head.fields)
    stream.declared = hasBody && !isTunnel ? declared : null
    if (endsStream && (stream.declared ?? 0) !== 0) throw wrongLength()
    stream.remote = endsStream ? 'closed' : 'body'
    sink?.onHead(head)
    if (endsStream && !stream.isAbandoned) this.#core.endRemote(stream)
  }

  #onTrailers(stream: Stream, list: readonly string[], endsStream: boolean): void {
    if (!endsStream) throw malformed('trailers do not end their stream')
    const fields = readTrailers(list)
    this.#checkLength(stream)
    stream.sink.onTrailers(fields)
    if (!stream.isAbandoned) this.#core.endRemote(stream)
  }

  /** A piece of body is about to be handed on. @returns false when it must not be */
  takes(stream: Stream, bytes: number): boolean {
    stream.receivedBytes += bytes
    const isTooMuch =
      stream.isBodyless || (stream.declared !== null && stream.receivedBytes > stream.declared)
    if (isTooMuch) this.#core.failStream(stream, wrongLength())
    return !isTooMuch
  }

  /** END_STREAM on DATA. */
  onEnd(stream: Stream): void {
    try {
      this.#checkLength(stream)
      this.#core.endRemote(stream)
    } catch (error) {
      this.#blame(stream, error)
    }
  }

  #checkLength(stream: Stream): void {
    if (stream.declared !== null && stream.receivedBytes !== stream.declared) throw wrongLength()
  }

  /** A fault in a message is one of its stream only. */
  #blame(stream: Stream, error: unknown): void {
    if (!(error instanceof StreamError) || error.code === 'HTTP2_FLOOD') throw error
    if (!stream.isAbandoned) this.#core.failStream(stream, error)
  }
}

const wrongLength = (): StreamError => malformed('the body is not as long as content-length says')
const selfDependent = (): StreamError => violation(H2.PROTOCOL_ERROR, 'a stream depends on itself')
const tooLarge = (h2: number): StreamError =>
  new StreamError('CALL_HEAD_TOO_LARGE', h2, 'a head is larger than allowed')
