// A gRPC client: unary calls over one HTTP/2 connection with prior knowledge, so many at once as there are callers.

import net from 'node:net'
import type { RequestHead } from '../../../sidecar/http/message.js'
import type { ResponseSink } from '../../../sidecar/http/stream.js'
import { ClientConnection } from '../../../sidecar/http2/connection.js'
import type { Http2Stream } from '../../../sidecar/http2/contract.js'
import { NO_EVENTS, onSocket } from '../http2-socket.js'
import type { GrpcJob, Measured } from './job.js'
import { measureWindow, Tally } from './window.js'

/** A message of gRPC: not compressed, its length, and a small protobuf. */
const MESSAGE = Buffer.from('\0\0\0\0\x0e\x0a\x0chello, agent', 'latin1')

/** @throws Error when the connection fails, or a call ends otherwise than with status 0 */
export async function generateUnaryCalls(job: GrpcJob): Promise<Measured> {
  const tally = new Tally()
  const socket = net.connect({ host: job.host, port: job.port, noDelay: true })
  const connection = onSocket(
    socket,
    (options) =>
      new ClientConnection(options, {
        ...NO_EVENTS,
        onClose: () => tally.fail(new Error('the connection was closed')),
      }),
  )
  socket.on('data', (bytes: Buffer) => connection.feed(bytes))
  socket.on('error', (error) => tally.fail(error))
  socket.on('connect', () => {
    for (let caller = 0; caller < job.callers; caller++) call(connection, job, tally)
  })
  try {
    return await measureWindow(tally, job)
  } finally {
    socket.destroy()
  }
}

function call(connection: ClientConnection, { host, port, path, ...job }: GrpcJob, tally: Tally): void {
  const head: RequestHead = {
    method: 'POST',
    scheme: 'http',
    authority: `${host}:${port}`,
    path,
    protocol: null,
    fields: ['content-type', 'application/grpc', 'te', 'trailers', 'user-agent', 'grpc-bench/1.0'],
  }
  const startedAt = performance.now()
  let status = 'no status'
  const read = (fields: readonly string[]): void => {
    const at = fields.indexOf('grpc-status')
    if (at >= 0) status = fields[at + 1] ?? ''
  }
  const sink: ResponseSink = {
    onInterim: () => undefined,
    onHead: ({ status: code, fields }) => {
      if (code !== 200) status = `HTTP status ${code}`
      read(fields)
    },
    onData: (bytes) => stream.consume(bytes.length),
    onTrailers: read,
    onEnd: () => {
      if (status !== '0') {
        tally.fail(new Error(`answered ${status}`))
        return
      }
      tally.done(performance.now() - startedAt)
      if (!tally.isOver) call(connection, { host, port, path, ...job }, tally)
    },
    onReset: ({ message }) => tally.fail(new Error(message)),
    onDrain: () => undefined,
  }
  const stream: Http2Stream = connection.request(head, 'more', sink)
  stream.end(MESSAGE)
}
