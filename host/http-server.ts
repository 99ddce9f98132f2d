// Our own HTTP APIs (CA, collector, admin doors): a table of routes, JSON bodies with a limit, errors as problem+json. Not the
// call path: agents' calls never pass here.

import { chmodSync } from 'node:fs'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type net from 'node:net'
import { asMeshError, MeshError } from '../mesh/errors.js'
import { type Reader, readJson } from '../mesh/parse.js'
import { PROBLEM_TYPE, problemOf } from '../mesh/wire/problem.js'
import { errorFields, type Log } from './log.js'

/** What a route answers: JSON, text of a media type, or a document that stays the same for a while. */
export type Answer =
  | { readonly status?: number; readonly json: unknown }
  | { readonly status?: number; readonly text: string; readonly type: string }
  | Document

/** Sent with validators: who has it already is not sent it again (RFC 9110 §8.8). */
export interface Document {
  readonly bytes: Buffer
  readonly type: string
  /** Another one for other bytes; letters, digits and hyphens. */
  readonly tag: string
  /** Instant, ms since epoch; null where nobody knows. */
  readonly modifiedAt: number | null
  /** How long a cache may keep it without asking. */
  readonly maxAgeSeconds: number
}

export interface Request {
  /** Values of the `:name` segments of the route, percent-decoding refused (they are names, serials and ids). */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  readonly raw: IncomingMessage
  /** @throws MeshError WIRE_MALFORMED | WIRE_TOO_LARGE */
  readonly body: <T>(read: Reader<T>, what: string) => Promise<T>
  /** The body as it came. @throws MeshError WIRE_MALFORMED | WIRE_TOO_LARGE */
  readonly bytes: () => Promise<Buffer>
}

export interface Route {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'
  /** E.g. `/v1/agents/:name`. */
  readonly path: string
  readonly maxBytes?: number
  readonly answer: (request: Request) => Answer | Promise<Answer>
}

const DEFAULT_MAX_BYTES = 64 * 1024

/** The request listener of a table of routes. */
export function serveRoutes(
  routes: readonly Route[],
  log: Log,
): (raw: IncomingMessage, response: ServerResponse) => void {
  return (raw, response) => {
    answerOne(routes, raw)
      .then((answer) => {
        if ('bytes' in answer) sendDocument(raw, response, answer)
        else send(response, answer)
      })
      .catch((error: unknown) => {
        const problem = asMeshError(error)
        log[problem.code === 'INTERNAL' ? 'error' : 'info']('http.refused', {
          method: raw.method,
          path: raw.url?.split('?')[0]?.slice(0, 200),
          ...errorFields(problem),
        })
        sendProblem(response, problem)
      })
  }
}

/** A plain HTTP server with the limits every door of ours has. */
export function createHttpServer(listener: (raw: IncomingMessage, response: ServerResponse) => void): Server {
  return createServer(
    { maxHeaderSize: 16 * 1024, requestTimeout: 30_000, headersTimeout: 10_000, keepAliveTimeout: 5_000 },
    listener,
  )
}

/**
 * Listens on a TCP port (0: any free one) or a Unix socket path.
 * @returns the port, 0 for a socket
 * @throws MeshError PORT_BUSY | SOCKET_PATH_TOO_LONG
 */
export function listen(
  server: net.Server,
  where: { host: string; port: number; flag: string } | { socket: string },
): Promise<number> {
  return new Promise((resolve, reject) => {
    if ('socket' in where && Buffer.byteLength(where.socket) > 103) {
      reject(new MeshError('SOCKET_PATH_TOO_LONG', `${where.socket} is longer than 103 bytes`))
      return
    }
    const failed = (error: NodeJS.ErrnoException): void => reject(listenError(error, where))
    server.once('error', failed)
    const listening = (): void => {
      server.removeListener('error', failed)
      // an accept that fails later (no files, no memory) costs that connection, never the process
      server.on('error', () => undefined)
      if ('socket' in where) chmodSync(where.socket, 0o600)
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    }
    if ('socket' in where) server.listen(where.socket, listening)
    else server.listen({ host: where.host, port: where.port }, listening)
  })
}

/** Stops accepting, ends idle connections, waits at most `graceMs` for the rest, then destroys them. */
export function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearTimeout(timer)
      resolve()
    })
    server.closeIdleConnections()
  })
}

export function sendProblem(response: ServerResponse, error: MeshError): void {
  const problem = problemOf(error)
  if (response.headersSent) {
    response.destroy()
    return
  }
  const { retryAfterSeconds } = error
  response.writeHead(problem.status, {
    'content-type': PROBLEM_TYPE,
    'cache-control': 'no-store',
    ...(retryAfterSeconds === null ? {} : { 'retry-after': String(retryAfterSeconds) }),
  })
  response.end(`${JSON.stringify(problem)}\n`)
}

/** A HEAD gets the same head; Node leaves the body away. */
function sendDocument(raw: IncomingMessage, response: ServerResponse, document: Document): void {
  const { bytes, type, tag, modifiedAt, maxAgeSeconds } = document
  const etag = `"${tag}"`
  response.setHeader('etag', etag)
  if (modifiedAt !== null) response.setHeader('last-modified', new Date(modifiedAt).toUTCString())
  response.setHeader('cache-control', `public, max-age=${maxAgeSeconds}`)
  if (raw.headers['if-none-match'] === etag) {
    response.writeHead(304)
    response.end()
    return
  }
  response.writeHead(200, { 'content-type': type, 'content-length': bytes.length })
  response.end(bytes)
}

function send(response: ServerResponse, answer: Exclude<Answer, Document>): void {
  const [type, body] =
    'json' in answer ? ['application/json', `${JSON.stringify(answer.json)}\n`] : [answer.type, answer.text]
  response.writeHead(answer.status ?? 200, {
    'content-type': type,
    'cache-control': 'no-store',
    'content-length': Buffer.byteLength(body),
  })
  response.end(body)
}

async function answerOne(routes: readonly Route[], raw: IncomingMessage): Promise<Answer> {
  const [pathname = '', search = ''] = (raw.url ?? '').split('?', 2)
  const matches = routes.flatMap((route) => {
    const params = matchPath(route.path, pathname)
    return params === undefined ? [] : [{ route, params }]
  })
  if (matches.length === 0) throw new MeshError('NOT_FOUND', `no such path: ${pathname.slice(0, 200)}`)
  const match = matches.find(({ route }) => route.method === raw.method)
  if (match === undefined)
    throw new MeshError('METHOD_NOT_ALLOWED', `${pathname.slice(0, 200)} does not take ${raw.method ?? ''}`)
  const { route, params } = match
  const bytes = (): Promise<Buffer> => readBody(raw, route.maxBytes ?? DEFAULT_MAX_BYTES)
  return route.answer({
    params,
    raw,
    query: new URLSearchParams(search),
    bytes,
    body: async (read, what) => readJson(await bytes(), read, what),
  })
}

function matchPath(pattern: string, pathname: string): Record<string, string> | undefined {
  const wanted = pattern.split('/')
  const given = pathname.split('/')
  if (wanted.length !== given.length) return undefined
  const params: Record<string, string> = {}
  for (const [index, segment] of wanted.entries()) {
    const value = given[index] ?? ''
    if (segment.startsWith(':')) {
      if (!/^[A-Za-z0-9._-]{1,128}$/.test(value)) return undefined
      params[segment.slice(1)] = value
    } else if (segment !== value) return undefined
  }
  return params
}

/** What is beyond the limit is read and dropped, until requestTimeout: an answer to a socket that still sends would be lost. */
function readBody(raw: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    raw.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= maxBytes) chunks.push(chunk)
      else reject(new MeshError('WIRE_TOO_LARGE', `the body is larger than ${maxBytes} bytes`))
    })
    raw.once('end', () => resolve(Buffer.concat(chunks)))
    const broken = (): void => reject(new MeshError('WIRE_MALFORMED', 'the body broke off'))
    raw.once('error', broken)
    raw.once('close', broken)
  })
}

function listenError(
  error: NodeJS.ErrnoException,
  where: { host: string; port: number; flag: string } | { socket: string },
): MeshError {
  if ('socket' in where)
    return new MeshError('STATE_UNREADABLE', `cannot listen on ${where.socket}`, { cause: error })
  const place = `${where.host}:${where.port}`
  if (error.code === 'EADDRINUSE')
    return new MeshError('PORT_BUSY', `${place} is taken by another program`, {
      cause: error,
      hint: `stop it, or choose another port with ${where.flag}`,
    })
  if (error.code === 'EADDRNOTAVAIL')
    return new MeshError('CONFIG_INVALID', `${where.host} is not an address of this host`, {
      cause: error,
      hint: 'give --listen an address of this host',
    })
  return new MeshError('CONFIG_INVALID', `cannot listen on ${place}: ${error.code ?? error.message}`, {
    cause: error,
    hint: `choose another with ${where.flag}`,
  })
}
