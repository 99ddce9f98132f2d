// A server of our HTTP/1.1 codec for foreign clients: answers every request with a short text when its body has ended; `/echo` sends the body back.

import { createServer, type Server } from 'node:net'
import { DEFAULT_HTTP1_LIMITS, type ServerEvents } from '../../sidecar/http1/contract.js'
import { Http1Server } from '../../sidecar/http1/server-connection.js'
import { onSocket } from './http1-socket.js'
import { answer } from './http2-hello.js'

const EVENTS: ServerEvents = {
  onRequest: answer,
  onRefused: (error, stream) => stream?.respond({ status: 400, fields: ['x-code', error.code] }, 'nothing'),
  onClose: () => undefined,
}

/** The server itself, not yet listening. */
export function helloServer(events: ServerEvents = EVENTS): Server {
  return createServer({ allowHalfOpen: true }, (socket) => {
    onSocket(
      socket,
      (wire) =>
        new Http1Server(
          { wire, limits: DEFAULT_HTTP1_LIMITS, now: () => performance.now(), protects: () => false },
          events,
        ),
    )
  })
}
