// Node's own clients and servers of HTTP/1.1 and HTTP/2 under one shape, so that a test of what passes between a client and an app need not
// know which version either speaks.

import http, { type IncomingHttpHeaders } from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import type { AppPlace } from '../../sidecar/config.js'
import { type StartOptions, startMesh, type TestSidecar } from './start-mesh.js'

export type Version = 'HTTP/1.1' | 'HTTP/2'

export interface Asked extends Readable {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly trailers: NodeJS.Dict<string | string[]>
}

export interface Answering extends Writable {
  writeHead(status: number, headers?: Record<string, string>): unknown
  writeEarlyHints(hints: Record<string, string>): unknown
  addTrailers(trailers: Record<string, string>): void
}

interface EitherApp extends AsyncDisposable {
  readonly place: AppPlace
}

/** An app of one version; HTTP/2 without TLS. */
async function startEitherApp(
  version: Version,
  answer: (asked: Asked, answering: Answering) => void,
): Promise<EitherApp> {
  const serve = (asked: Asked, answering: Answering): void => {
    asked.on('error', () => undefined)
    answering.on('error', () => undefined)
    answer(asked, answering)
  }
  const server = version === 'HTTP/2' ? http2.createServer(serve) : http.createServer(serve)
  const ends = new Set<() => void>()
  server.on('connection', (socket: Socket) => ends.add(() => socket.destroy()))
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    place: { host: '127.0.0.1', port, ...(version === 'HTTP/2' && { http: 'h2c' }) },
    async [Symbol.asyncDispose]() {
      for (const end of ends) end()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export interface CallOptions {
  readonly method?: string
  readonly headers?: Record<string, string>
  /** Behind the body, which is then sent in chunks. */
  readonly trailers?: Record<string, string>
}

export interface Head {
  readonly status: number
  readonly headers: IncomingHttpHeaders
}

/** One request of a client, and its answer. */
export interface ClientCall {
  /** The request's body. Ends the request with the trailers. */
  readonly up: Writable & { flushHeaders?(): void }
  /** Statuses of interim answers, each with its Link. */
  readonly interims: readonly string[]
  /** The first interim answer. */
  readonly interim: Promise<unknown>
  readonly head: Promise<Head>
  /** The answer's body, paused; after `head`. */
  readonly down: Promise<Readable>
  /** After the end of `down`. */
  readonly trailers: () => NodeJS.Dict<string | string[]>
  /** The client is gone. */
  readonly cancel: () => void
}

/** Calls `tickets` through the egress of a sidecar. The client has one connection, for this call alone. */
function call(version: Version, caller: TestSidecar, path: string, options: CallOptions = {}): ClientCall {
  return version === 'HTTP/2' ? callHttp2(caller, path, options) : callHttp1(caller, path, options)
}

function callHttp1(caller: TestSidecar, path: string, options: CallOptions): ClientCall {
  const { method = 'GET', headers = {}, trailers } = options
  const up = http.request(`${caller.urlOf('tickets')}${path}`, { agent: false, method, headers })
  if (trailers !== undefined) up.setHeader('transfer-encoding', 'chunked').addTrailers(trailers)
  const interims: string[] = []
  const interim = new Promise((resolve) =>
    up.on('information', ({ statusCode, headers: { link } }) => {
      interims.push(`${statusCode} ${String(link)}`)
      resolve(undefined)
    }),
  )
  const answer = new Promise<http.IncomingMessage>((resolve, reject) => {
    up.on('response', resolve).on('error', reject)
  })
  let received: http.IncomingMessage | undefined
  const down = answer.then((message) => {
    received = message
    return message
  })
  down.catch(() => undefined)
  const head = answer.then((message) => ({ status: message.statusCode ?? 0, headers: message.headers }))
  head.catch(() => undefined)
  return {
    up,
    interims,
    interim,
    head,
    down,
    trailers: () => received?.trailers ?? {},
    cancel: () => up.destroy(),
  }
}

function callHttp2(caller: TestSidecar, path: string, options: CallOptions): ClientCall {
  const { method = 'GET', headers = {}, trailers } = options
  const session = http2.connect(`http://127.0.0.1:${caller.ports.egress}`)
  session.on('error', () => undefined)
  const up = session.request(
    {
      ':authority': 'tickets.mesh',
      ':method': method,
      ':path': path,
      'x-troth-local-credential': caller.credential,
      ...headers,
    },
    // a method without a body would otherwise be ended at once
    { endStream: false, waitForTrailers: trailers !== undefined },
  )
  if (trailers !== undefined) up.on('wantTrailers', () => up.sendTrailers(trailers))
  up.on('close', () => session.destroy())
  const interims: string[] = []
  const interim = new Promise((resolve) =>
    up.on('headers', (informed) => {
      interims.push(`${String(informed[':status'])} ${String(informed['link'])}`)
      resolve(undefined)
    }),
  )
  const head = new Promise<Head>((resolve, reject) => {
    up.on('response', (received) => resolve({ status: Number(received[':status']), headers: received }))
    up.on('error', reject)
    up.on('close', () => reject(new Error('closed without a head')))
  })
  head.catch(() => undefined)
  let received: NodeJS.Dict<string | string[]> = {}
  up.on('trailers', (fields) => {
    received = fields
  })
  const down = head.then(() => up)
  down.catch(() => undefined)
  return { up, interims, interim, head, down, trailers: () => received, cancel: () => up.close(8) }
}

export const PAIRINGS: readonly (readonly [client: Version, app: Version])[] = [
  ['HTTP/1.1', 'HTTP/1.1'],
  ['HTTP/1.1', 'HTTP/2'],
  ['HTTP/2', 'HTTP/1.1'],
  ['HTTP/2', 'HTTP/2'],
]

export interface Pair extends AsyncDisposable {
  readonly planner: TestSidecar
  readonly tickets: TestSidecar
  ask(path: string, options?: CallOptions): ClientCall
}

/** `tickets` in front of an app of one version, and `planner`, whose clients speak the other. */
export async function startPair(
  [of, to]: (typeof PAIRINGS)[number],
  answer: (asked: Asked, answering: Answering) => void,
  settings: NonNullable<StartOptions['settings']> = {},
): Promise<Pair> {
  const app = await startEitherApp(to, answer)
  const mesh = await startMesh()
  const tickets = await mesh.start('tickets', { app: app.place, settings })
  const planner = await mesh.start('planner', { settings })
  return {
    planner,
    tickets,
    ask: (path, options) => call(of, planner, path, options),
    async [Symbol.asyncDispose]() {
      await mesh[Symbol.asyncDispose]()
      await app[Symbol.asyncDispose]()
    },
  }
}

/** A promise, and what resolves it. */
export function signal(): { readonly came: Promise<void>; readonly give: () => void } {
  let give: () => void = () => undefined
  const came = new Promise<void>((resolve) => {
    give = resolve
  })
  return { came, give }
}

/** The whole body. */
export async function wholeOf(down: Promise<Readable>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of (await down) as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}
