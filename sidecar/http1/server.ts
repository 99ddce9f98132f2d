// An HTTP/1.1 door on node:http: the limits of every door, heads read strictly, and what is no request turned into an error with a
// code. What comes after a refused head on the same connection is never served: its reading could not be trusted.

import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { MeshError } from '../../mesh/errors.js'
import { HEAD_MAX_BYTES, type RawHead, type RequestHead, readHead } from './head.js'
import { isEarlyEnd, parseFailureOf } from './parse-failure.js'

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

/** Requests that may wait on one connection for the answer before theirs. */
const MAX_WAITING = 32

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
  /** A connection that is destroyed without an answer. */
  refuseSilently(error: MeshError, socket: Duplex): void
}

/** The address at the other end, as the ledger wants it. */
export function remoteAddressOf(stream: Duplex): string | null {
  return stream instanceof Socket ? (stream.remoteAddress ?? null) : null
}

export function serveHttp1(server: Server, door: Door): void {
  const refused = new WeakSet<Duplex>()
  const latest = new WeakMap<Duplex, ServerResponse>()
  const inTurn = openTurns((socket) => {
    refused.add(socket)
    door.refuseSilently(
      new MeshError('CALL_MALFORMED', `more than ${MAX_WAITING} requests wait for an answer`),
      socket,
    )
    socket.destroy()
  })
  // Fields beyond a maximum count would be dropped in silence; the head's size bounds them.
  server.maxHeadersCount = 0

  const take = (
    request: IncomingMessage,
    response: ServerResponse,
    expects: 'nothing' | 'continue' | 'more',
  ): void => {
    if (refused.has(request.socket)) return
    latest.set(request.socket, response)
    let head: RequestHead
    try {
      if (expects === 'more') throw new MeshError('CALL_MALFORMED', 'Expect knows 100-continue only')
      head = readHead(rawHeadOf(request), door.isIdentity)
    } catch (error) {
      if (!(error instanceof MeshError)) throw error
      refused.add(request.socket)
      response.shouldKeepAlive = false
      door.refuse(error, request, response)
      return
    }
    door.serve({ request, response, head, expectsContinue: expects === 'continue' })
  }

  for (const [event, expects] of [
    ['request', 'nothing'],
    ['checkContinue', 'continue'],
    ['checkExpectation', 'more'],
  ] as const)
    server.on(event, (request: IncomingMessage, response: ServerResponse) => {
      if (!refused.has(request.socket))
        inTurn(response, request.socket, () => take(request, response, expects))
    })
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
    // Who leaves in the middle of a body ends the call, whose record says so.
    const isAbort = isEarlyEnd(error) && response !== undefined && !response.writableFinished
    if (failure === undefined || isAbort || isAnswering) {
      if (failure !== undefined && !isAbort) door.refuseSilently(failure, socket)
      socket.destroy()
      return
    }
    refused.add(socket)
    door.refuseSocket(failure, socket)
  })
}

const rawHeadOf = ({ method = '', url = '', httpVersion, rawHeaders }: IncomingMessage): RawHead => ({
  method,
  target: url,
  version: httpVersion,
  fields: rawHeaders,
})

/**
 * One request at a time on a connection: node:http would begin every pipelined one at once, and one small packet would be thousands
 * of calls.
 * @returns runs `act` when the answers before `response` are over
 */
function openTurns(
  overrun: (socket: Duplex) => void,
): (response: ServerResponse, socket: Duplex, act: () => void) => void {
  const queues = new WeakMap<Duplex, { act: () => void; response: ServerResponse }[]>()
  const run = (socket: Duplex, { act, response }: { act: () => void; response: ServerResponse }): void => {
    response.once('close', () => {
      const next = queues.get(socket)?.shift()
      if (next === undefined || socket.destroyed) queues.delete(socket)
      else run(socket, next)
    })
    act()
  }
  return (response, socket, act) => {
    const waiting = queues.get(socket)
    if (waiting === undefined) {
      queues.set(socket, [])
      run(socket, { act, response })
    } else if (waiting.length < MAX_WAITING) waiting.push({ act, response })
    else overrun(socket)
  }
}
