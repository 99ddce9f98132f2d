// Our HTTP/2 codec on a plain socket, for the load generator and the app of the bench: one write outstanding, one flush a turn.

import type { Socket } from 'node:net'
import type { Wire } from '../../sidecar/http/wire.js'
import type { Http2Connection } from '../../sidecar/http2/connection.js'
import {
  type ConnectionEvents,
  type ConnectionOptions,
  DEFAULT_LIMITS,
} from '../../sidecar/http2/contract.js'

export const NO_EVENTS: ConnectionEvents = {
  onSettings: () => undefined,
  onRefused: () => undefined,
  onGoaway: () => undefined,
  onCapacity: () => undefined,
  onClose: () => undefined,
}

/** @param open makes the connection on the wire; who gives it the bytes of the socket is its user */
export function onSocket<Connection extends Http2Connection>(
  socket: Socket,
  open: (options: ConnectionOptions) => Connection,
): Connection {
  const wire: Wire = {
    write: (bytes) => socket.write(bytes, () => opened.written()),
    schedule: () => setImmediate(() => opened.flush()),
    close: () => socket.end(),
  }
  const opened = open({ wire, limits: DEFAULT_LIMITS, now: () => performance.now() })
  socket.on('close', () => opened.lost())
  return opened
}
