// The gRPC side of the app that is called: HTTP/2 with prior knowledge; a unary call is answered with the message it sent.

import type { Socket } from 'node:net'
import type { StreamSink } from '../../../sidecar/http/stream.js'
import { ServerConnection } from '../../../sidecar/http2/connection.js'
import type { Http2Stream } from '../../../sidecar/http2/contract.js'
import { NO_EVENTS, onSocket } from '../http2-socket.js'

/** How the first bytes of an HTTP/2 connection begin, and those of no request of HTTP/1.1. */
export const isPreface = (bytes: Buffer): boolean => bytes.toString('latin1', 0, 4) === 'PRI '

/** @returns what takes the bytes of the socket */
export function serveGrpc(socket: Socket): (bytes: Buffer) => void {
  const connection = onSocket(
    socket,
    (options) => new ServerConnection(options, { ...NO_EVENTS, onRequest: echo }, 'plain-connect'),
  )
  return (bytes) => connection.feed(bytes)
}

function echo(stream: Http2Stream): StreamSink {
  stream.respond({ status: 200, fields: ['content-type', 'application/grpc'] }, 'more')
  return {
    onData: (bytes) => {
      stream.write(bytes)
      stream.consume(bytes.length)
    },
    onTrailers: () => undefined,
    onEnd: () => stream.endWithTrailers(['grpc-status', '0']),
    onReset: () => undefined,
    onDrain: () => undefined,
  }
}
