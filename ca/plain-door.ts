// The third door of the CA's port: HTTP without TLS, for what is signed or public already (published.ts). One GET or HEAD a
// connection, a small head that came whole, no body; every other path does not exist here, so that no token is ever sent to it.

import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { sendProblem } from '../host/http-server.js'
import { errorFields, type Log } from '../host/log.js'
import { MeshError } from '../mesh/errors.js'
import { PROBLEM_TYPE, problemOf } from '../mesh/wire/problem.js'
import { PLAIN_HEAD_MAX_BYTES } from './plain-head.js'

/** A server that listens nowhere: connections whose head came whole are given to it. */
export function openPlainDoor(listener: RequestListener, log: Log): Server {
  const server = createServer({ maxHeaderSize: PLAIN_HEAD_MAX_BYTES }, (request, response) => {
    response.setHeader('connection', 'close')
    const why = whyNot(request)
    if (why === undefined) listener(request, response)
    else sendProblem(response, new MeshError('WIRE_MALFORMED', why))
  })
  server.maxRequestsPerSocket = 1
  server.on('clientError', (error: Error, socket: Duplex) => {
    // anybody can cause these
    log.debug('ca.plain_refused', errorFields(error))
    endWithProblem(socket, new MeshError('WIRE_MALFORMED', 'the request is not well-formed HTTP/1.1'))
  })
  return server
}

/** Answers on a connection that no HTTP server holds, and ends it. */
export function endWithProblem(socket: Duplex, error: MeshError): void {
  const problem = problemOf(error)
  const body = `${JSON.stringify(problem)}\n`
  const head = [
    `HTTP/1.1 ${problem.status} Refused`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy())
}

/** What Node's parser lets pass. */
function whyNot({ headers, httpVersion }: IncomingMessage): string | undefined {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return 'it is not HTTP/1.1'
  const isEmpty = headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0'
  return isEmpty ? undefined : 'a request here has no body'
}
