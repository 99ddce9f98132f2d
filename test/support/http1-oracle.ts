// One byte stream, judged twice: by our codec and by node:http (llhttp, strict), as a request and as a response. What each has understood can then
// be compared.

import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { Duplex } from 'node:stream'
import { ClientTalk, GET, ServerTalk } from './http1-talk.js'

export interface Read {
  /** Of a request method, target and version; of a response its status. Then the fields, Host first where there is one. */
  readonly head: string[]
  body: string
  trailers: string[]
  isWhole: boolean
  /** node:http may have taken what follows for another protocol, though nobody there speaks one. */
  readonly offersUpgrade?: boolean
}

/** A socket of which one end is a test. */
class MemorySocket extends Duplex {
  override _read(): void {
    // pushed from outside
  }
  override _write(_chunk: unknown, _encoding: BufferEncoding, done: () => void): void {
    done()
  }
  setTimeout(): this {
    return this
  }
  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
}

/** Fields that end at a hop, which node:http shows and we do not. */
const HOP = new Set([
  'connection',
  'host',
  'keep-alive',
  'proxy-connection',
  'sec-websocket-key',
  'transfer-encoding',
  'upgrade',
])

/** @param leaves further names that are not to be compared */
function passedOn(raw: readonly string[], leaves: readonly string[] = []): string[] {
  const nominated = raw
    .flatMap((name, at) => (at % 2 === 0 && name.toLowerCase() === 'connection' ? [raw[at + 1] ?? ''] : []))
    .flatMap((value) => value.split(',').map((token) => token.replace(/^[ \t]+|[ \t]+$/g, '').toLowerCase()))
  const gone = new Set([...HOP, ...nominated, ...leaves])
  return lowered(raw).filter((_, at, all) => !gone.has(all[at - (at % 2)] ?? ''))
}

const lowered = (raw: readonly string[]): string[] =>
  raw.map((text, at) => (at % 2 === 0 ? text.toLowerCase() : text))

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Lets a memory socket's reader go on until nothing more comes of it. */
async function quiet(count: () => number): Promise<void> {
  let last = -1
  for (let still = 0; still < 4; still += 1) {
    await turn()
    if (count() !== last) still = 0
    last = count()
  }
}

export function readRequestsByUs(pieces: readonly Buffer[]): Read[] {
  const read: Read[] = []
  const talk = new ServerTalk({
    serve: (stream, { method, authority, path, protocol, version, fields }) => {
      const verb = protocol === null ? method : 'GET'
      const message: Read = {
        head: [
          verb,
          method === 'CONNECT' && protocol === null ? authority : path,
          version,
          authority,
          ...fields,
        ],
        body: '',
        trailers: [],
        isWhole: false,
      }
      read.push(message)
      const answer = (): void => stream.respond({ status: 404, fields: [] }, 'nothing')
      if (method === 'CONNECT') answer()
      return {
        onData: (bytes) => {
          message.body += bytes.toString('latin1')
        },
        onTrailers: (fields) => message.trailers.push(...fields),
        onEnd: () => {
          message.isWhole = true
          if (method !== 'CONNECT') answer()
        },
      }
    },
  })
  talk.wire.isInstant = pieces.length % 2 === 0
  for (const piece of pieces) talk.feed(piece)
  return read
}

/** node:http as a server. */
export class ServerOracle {
  readonly #server: Server
  readonly #messages = new Map<unknown, Read[]>()
  #events = 0

  constructor() {
    const take = (message: IncomingMessage, response?: ServerResponse): void => this.#take(message, response)
    this.#server = createServer({ requireHostHeader: false, keepAlive: false }, take)
      .on('checkContinue', take)
      .on('checkExpectation', take)
      .on('connect', (message: IncomingMessage) => take(message))
      // Destroyed later: what stood before the fault is still to be heard.
      .on('clientError', () => undefined)
    this.#server.maxHeadersCount = 0
  }

  async read(bytes: Buffer): Promise<Read[]> {
    const socket = new MemorySocket()
    const messages: Read[] = []
    this.#messages.set(socket, messages)
    socket.on('error', () => undefined)
    this.#server.emit('connection', socket)
    socket.push(bytes)
    await quiet(() => this.#events)
    socket.destroy()
    this.#messages.delete(socket)
    return messages
  }

  #take(message: IncomingMessage, response: ServerResponse | undefined): void {
    this.#events += 1
    const { method = '', url = '', httpVersion, headers, rawHeaders } = message
    const absolute = /^http:\/\/([^/?]*)(.*)$/i.exec(url)
    const rest = absolute?.[2] ?? url
    const leaves = httpVersion === '1.0' ? ['expect'] : []
    const target = absolute === null || rest.startsWith('/') ? rest : `/${rest}`
    const authority = method === 'CONNECT' ? url : (absolute?.[1] ?? headers.host ?? '')
    const read: Read = {
      head: [method, target, httpVersion, authority, ...passedOn(rawHeaders, leaves)],
      body: '',
      trailers: [],
      isWhole: method === 'CONNECT',
      offersUpgrade: headers.upgrade !== undefined,
    }
    this.#messages.get(message.socket)?.push(read)
    if (response === undefined) return
    message.on('data', (data: Buffer) => {
      this.#events += 1
      read.body += data.toString('latin1')
    })
    message.on('end', () => {
      this.#events += 1
      read.isWhole = message.complete
      read.trailers = lowered(message.rawTrailers)
      response.end()
    })
    message.on('error', () => undefined)
  }
}

export interface Answer {
  interims: number
  final: Read | null
}

/** @param isEnded the server half-closes behind the bytes */
export function readResponseByUs(pieces: readonly Buffer[], method: string, isEnded: boolean): Answer {
  const answer: Answer = { interims: 0, final: null }
  const talk = new ClientTalk()
  talk.wire.isInstant = pieces.length % 2 === 0
  talk.send({ method })
  for (const piece of pieces) talk.feed(piece)
  if (isEnded) talk.connection.ended()
  for (const line of talk.lines) {
    const [word = '', ...rest] = line.split(' ')
    if (word === 'interim') answer.interims += 1
    else if (word === 'head') answer.final = { head: rest, body: '', trailers: [], isWhole: false }
    else if (answer.final === null) continue
    else if (word === 'data') answer.final.body += line.slice('data '.length)
    else if (word === 'trailers') answer.final.trailers.push(...rest)
    else if (word === 'end') answer.final.isWhole = true
  }
  return answer
}

/** node:http as a client. */
export async function readResponseByNode(bytes: Buffer, method: string, isEnded: boolean): Promise<Answer> {
  const answer: Answer = { interims: 0, final: null }
  let events = 0
  const socket = new MemorySocket()
  socket.on('error', () => undefined)
  const outgoing = request({ method, path: GET.path, createConnection: () => socket })
  outgoing.on('error', () => {
    events += 1
  })
  outgoing.on('information', () => {
    events += 1
    answer.interims += 1
  })
  outgoing.on('response', (incoming) => {
    events += 1
    const { statusCode, rawHeaders } = incoming
    const head = [String(statusCode), ...passedOn(rawHeaders, statusCode === 204 ? ['content-length'] : [])]
    const read: Read = { head: head.join(' ').split(' '), body: '', trailers: [], isWhole: false }
    answer.final = read
    incoming.on('data', (data: Buffer) => {
      events += 1
      read.body += data.toString('latin1')
    })
    incoming.on('error', () => undefined)
    incoming.on('end', () => {
      events += 1
      read.isWhole = incoming.complete
      read.trailers = lowered(incoming.rawTrailers).join(' ').split(' ')
      if (incoming.rawTrailers.length === 0) read.trailers = []
    })
  })
  outgoing.end()
  await turn()
  socket.push(bytes)
  if (isEnded) socket.push(null)
  await quiet(() => events)
  socket.destroy()
  return answer
}
