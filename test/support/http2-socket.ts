// Puts a connection of our HTTP/2 codec on a socket, the way its user does: one write outstanding, one flush a turn.

import type { Duplex } from 'node:stream'
import type { ResponseSink } from '../../sidecar/http/stream.js'
import type { Wire } from '../../sidecar/http/wire.js'
import type { Http2Connection } from '../../sidecar/http2/connection.js'
import {
  type ConnectionEvents,
  type ConnectionOptions,
  DEFAULT_LIMITS,
  type Limits,
} from '../../sidecar/http2/contract.js'

/** @param open makes the connection on the wire */
export function onSocket<Connection extends Http2Connection>(
  socket: Duplex,
  open: (options: ConnectionOptions) => Connection,
  limits: Partial<Limits> = {},
): Connection {
  const wire: Wire = {
    write: (bytes) => socket.write(bytes, () => opened.written()),
    schedule: () => setImmediate(() => opened.flush()),
    close: () => socket.end(),
  }
  const opened = open({ wire, limits: { ...DEFAULT_LIMITS, ...limits }, now: () => performance.now() })
  socket.on('data', (bytes: Buffer) => opened.feed(bytes))
  socket.on('end', () => socket.end())
  socket.on('error', () => socket.destroy())
  socket.on('close', () => opened.lost())
  return opened
}

export const NO_EVENTS: ConnectionEvents = {
  onSettings: () => undefined,
  onRefused: () => undefined,
  onGoaway: () => undefined,
  onCapacity: () => undefined,
  onClose: () => undefined,
}

export const NO_RESPONSE: ResponseSink = {
  onInterim: () => undefined,
  onHead: () => undefined,
  onData: () => undefined,
  onTrailers: () => undefined,
  onEnd: () => undefined,
  onReset: () => undefined,
  onDrain: () => undefined,
}
