// An HTTP/1.1 door on node:http: the limits of every door, heads read strictly, and what is no request turned into an error with a
// code. What comes after a refused head on the same connection is never served: its reading could not be trusted.

import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { MeshError } from '../../mesh/errors.js'
import { HEAD_MAX_BYTES, type RequestHead, readHead } from './head.js'
import { parseFailureOf } from './parse-failure.js'

/** Options of every server behind a door. Bodies have no time limit here: the exchange watches them. */
export const HTTP1_LIMITS = {
  maxHeaderSize: HEAD_MAX_BYTES,
  // Ours says which rule was broken; Node's would answer without a code.
  requireHostHeader: false,
  insecureHTTPParser: false,
  headersTimeout: 10_000,
  requestTimeout: 0,
  connectionsCheckingInterval: 1000,
  keepAliveTimeout: 75_000,
} as const

/** A request whose head was read. Its body was not touched. */
export interface Arrived {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly head: RequestHead
  readonly expectsContinue: boolean
}

export interface Door {
  readonly isIdentity: (name: string) => boolean
  serve(arrived: Arrived): void
  /** A head that is refused: to be answered, after which the connection closes. */
  refuse(error: MeshError, request: IncomingMessage, response: ServerResponse): void
  /** Bytes that are no request, or CONNECT: to be answered on the socket itself, if it is still there. */
  refuseSocket(error: MeshError, socket: Duplex): void
}

/** The address at the other end, as the ledger wants it. */
export function remoteAddressOf(stream: Duplex): string | null {
  return stream instanceof Socket ? (stream.remoteAddress ?? null) : null
}

export function serveHttp1(server: Server, door: Door): void {
  const refused = new WeakSet<Duplex>()
  const latest = new WeakMap<Duplex, ServerResponse>()
  // Fields beyond a maximum count would be dropped in silence; the head's size bounds them.
  server.maxHeadersCount = 0

  const take = (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void => {
    if (refused.has(request.socket)) return
    latest.set(request.socket, response)
    let head: RequestHead
    try {
      head = readHead(
        {
          method: request.method ?? '',
          target: request.url ?? '',
          version: request.httpVersion,
          fields: request.rawHeaders,
        },
        door.isIdentity,
      )
    } catch (error) {
      if (!(error instanceof MeshError)) throw error
      refused.add(request.socket)
      response.shouldKeepAlive = false
      door.refuse(error, request, response)
      return
    }
    door.serve({ request, response, head, expectsContinue })
  }

  server.on('request', (request, response) => take(request, response, false))
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
    take(request, response, true),
  )
  server.on('connect', (_request: IncomingMessage, socket: Duplex) => {
    if (refused.has(socket)) socket.destroy()
    else door.refuseSocket(new MeshError('CONNECT_REFUSED', 'CONNECT is not served'), socket)
  })
  server.on('clientError', (error: Error, socket: Duplex) => {
    const failure = parseFailureOf(error)
    // It was answered, and lingers; what else it says does not matter.
    if (refused.has(socket)) return
    const response = latest.get(socket)
    // In the middle of an answer another one would be read as its body.
    const isAnswering = response?.headersSent === true && !response.writableFinished
    if (failure === undefined || isAnswering) {
      socket.destroy()
      return
    }
    refused.add(socket)
    door.refuseSocket(failure, socket)
  })
}
