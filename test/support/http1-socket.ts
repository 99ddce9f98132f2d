// Our HTTP/1.1 connections on real sockets, for foreign peers.

import type { Socket } from 'node:net'
import type { TextWire } from '../../sidecar/http/wire.js'

export interface FedConnection {
  feed(bytes: Buffer): void
  ended(): void
  flush(): void
  written(): void
  lost(): void
}

/** @param make makes the connection on its wire */
export function onSocket<C extends FedConnection>(socket: Socket, make: (wire: TextWire) => C): C {
  let isClosing = false
  const wire: TextWire = {
    leave: () => wire.close(),
    write: (bytes) => void socket.write(bytes, (error) => error ?? connection.written()),
    writeText: (text) => {
      socket.write(text, 'latin1', (error) => error ?? connection.written())
      return false
    },
    schedule: () => void setImmediate(() => connection.flush()),
    shut: () => void socket.end(),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    close: () => {
      isClosing = true
      socket.end()
      socket.resume()
    },
  }
  const connection = make(wire)
  socket.setNoDelay(true)
  socket.on('data', (bytes: Buffer) => {
    if (!isClosing) connection.feed(bytes)
  })
  socket.on('end', () => {
    if (isClosing) socket.destroy()
    else connection.ended()
  })
  socket.on('error', () => socket.destroy())
  socket.on('close', () => connection.lost())
  return connection
}
