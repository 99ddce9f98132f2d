// A server of our codec for foreign clients: answers every request with a short text when its body has ended; `/echo` sends the body back.

import { createServer, type Server } from 'node:net'
import type { RequestHead } from '../../sidecar/http/message.js'
import type { HttpStream, StreamSink } from '../../sidecar/http/stream.js'
import { ServerConnection } from '../../sidecar/http2/connection.js'
import type { ServerEvents } from '../../sidecar/http2/contract.js'
import { NO_EVENTS, onSocket } from './http2-socket.js'

const HELLO = Buffer.from('hello from troth\n')

export const helloEvents = (): ServerEvents => ({ ...NO_EVENTS, onRequest: answer })

/** The server itself, not yet listening. */
export function helloServer(onOpen: (connection: ServerConnection) => void): Server {
  const events = helloEvents()
  return createServer((socket) => {
    onOpen(onSocket(socket, (options) => new ServerConnection(options, events, 'extended-connect')))
  })
}

/** Of either codec. */
export function answer(stream: HttpStream, head: RequestHead): StreamSink {
  const isEcho = head.path.startsWith('/echo')
  // A body that waits for its way back is not consumed, so that the client's windows hold it.
  let waiting = 0
  if (isEcho) stream.respond({ status: 200, fields: [] }, 'more')
  return {
    onData: (bytes) => {
      if (isEcho && !stream.write(bytes)) waiting += bytes.length
      else stream.consume(bytes.length)
    },
    onDrain: () => {
      stream.consume(waiting)
      waiting = 0
    },
    onTrailers: () => undefined,
    onReset: () => undefined,
    onEnd: () => {
      if (isEcho) {
        stream.end(new Uint8Array())
        return
      }
      const fields = ['content-type', 'text/plain', 'content-length', String(HELLO.length)]
      stream.respond({ status: 200, fields }, head.method === 'HEAD' ? 'nothing' : 'more')
      if (head.method !== 'HEAD') stream.end(HELLO)
    },
  }
}
