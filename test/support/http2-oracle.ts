// One byte stream from a client, judged twice: by our codec and by node:http2. What each has understood can then be compared.

import { once } from 'node:events'
import { createServer, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import type { RequestHead } from '../../sidecar/http/message.js'
import { FRAME } from '../../sidecar/http2/frames.js'
import { listenTo } from './http2-log.js'
import { codeOf, frame, HELLO, openServer, PREFACE, parseFrames, ping } from './http2-raw.js'

export interface Message {
  readonly id: number
  /** Pseudo-fields in a fixed order, then the fields as they came. */
  readonly head: string[]
  body: string
  trailers: string[]
  isWhole: boolean
}

export interface Verdict {
  readonly messages: Map<number, Message>
  /** Streams that were reset. */
  readonly resets: Set<number>
  /** The code of a GOAWAY, 0 when there was none. */
  error: number
}

const LAST = 'lastping'
const SILENT = -1

/** The stream and a PING behind it, whose answer says that all was read. */
const whole = (bytes: Uint8Array): Buffer => Buffer.concat([PREFACE, HELLO, bytes, ping(LAST)])

export function judgeByUs(bytes: Uint8Array): Verdict {
  const messages = new Map<number, Message>()
  const bench = openServer(
    {
      ...listenTo().events,
      onRequest: (stream, head) => {
        const message: Message = {
          id: stream.id,
          head: linesOf(head),
          body: '',
          trailers: [],
          isWhole: false,
        }
        messages.set(stream.id, message)
        return {
          onData: (data) => {
            message.body += data.toString('hex')
            stream.consume(data.length)
          },
          onTrailers: (fields) => message.trailers.push(...fields),
          onEnd: () => {
            message.isWhole = true
          },
          onReset: () => undefined,
          onDrain: () => undefined,
        }
      },
    },
    {},
  ).feed(whole(bytes))
  return { messages, ...outcomeOf(Buffer.concat(bench.writes)) }
}

function linesOf({ method, scheme, authority, path, protocol, fields }: RequestHead): string[] {
  return [method, scheme, authority, path, protocol ?? '', ...fields]
}

function outcomeOf(bytes: Buffer): Omit<Verdict, 'messages'> {
  const frames = parseFrames(bytes)
  const goaway = frames.find((sent) => sent.type === FRAME.GOAWAY && codeOf(sent) !== 0)
  return {
    resets: new Set(frames.filter(({ type }) => type === FRAME.RST_STREAM).map(({ streamId }) => streamId)),
    error: goaway === undefined ? 0 : codeOf(goaway),
  }
}

export class NodeOracle {
  readonly #server: Http2Server
  readonly #messages = new Map<number, Map<number, Message>>()

  constructor() {
    this.#server = createServer({ settings: { enableConnectProtocol: true, maxConcurrentStreams: 256 } })
    this.#server.on('sessionError', () => undefined)
    this.#server.on(
      'stream',
      (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, rawHeaders: string[]) =>
        this.#take(stream, headers, rawHeaders),
    )
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  async judge(bytes: Uint8Array): Promise<Verdict> {
    const socket = connect((this.#server.address() as AddressInfo).port, '127.0.0.1')
    await once(socket, 'connect')
    const port = socket.localPort ?? 0
    const messages = new Map<number, Message>()
    this.#messages.set(port, messages)
    const received: Buffer[] = []
    const isDone = new Promise<void>((resolve) => {
      socket.on('data', (data) => {
        received.push(data)
        const bytes = Buffer.concat(received)
        if (bytes.includes(frame(FRAME.PING, 1, 0, LAST)) || outcomeOf(bytes).error !== 0) resolve()
      })
      socket.on('error', () => resolve())
      socket.on('close', () => resolve())
    })
    socket.write(whole(bytes))
    const isLate = new Promise<'late'>((resolve) => setTimeout(resolve, 500, 'late').unref())
    // node:http2 now and then says no more: it has refused, without a word.
    const isSilent = (await Promise.race([isDone, isLate])) === 'late'
    // Events of the last frames come a little later than the answer to the PING.
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve))
    socket.destroy()
    this.#messages.delete(port)
    const outcome = outcomeOf(Buffer.concat(received))
    return { messages, ...outcome, error: isSilent ? SILENT : outcome.error }
  }

  close(): void {
    this.#server.close()
  }

  #take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
    stream.on('error', () => undefined)
    const message: Message = {
      id: stream.id ?? 0,
      head: [
        ...[':method', ':scheme', ':authority', ':path', ':protocol'].map((name) =>
          String(headers[name] ?? ''),
        ),
        ...fieldsOf(rawHeaders),
      ],
      body: '',
      trailers: [],
      isWhole: false,
    }
    const host = headers.host
    if (message.head[2] === '' && host !== undefined) message.head[2] = host
    this.#messages.get(stream.session?.socket.remotePort ?? 0)?.set(message.id, message)
    stream.on('data', (data: Buffer) => {
      message.body += data.toString('hex')
    })
    stream.on('trailers', (_trailers: IncomingHttpHeaders, _flags: number, raw: string[]) =>
      message.trailers.push(...fieldsOf(raw)),
    )
    stream.on('end', () => {
      message.isWhole = !stream.aborted
    })
  }
}

/** Without pseudo-fields and Host, which are compared by themselves. */
const fieldsOf = (raw: readonly string[]): string[] =>
  raw.flatMap((name, at) =>
    at % 2 === 0 && !name.startsWith(':') && name !== 'host' ? [name, raw[at + 1] ?? ''] : [],
  )
