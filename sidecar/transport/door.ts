// A door: a listening server and the connections that came through it, so that it can be closed with them or after them.

import type { Server, Socket } from 'node:net'
import type { ServedConnection } from './serve.js'

export interface Door {
  readonly port: number
  /** Every connection takes no new request, and ends when those that run have ended; new connections are taken. */
  drain(): void
  /** Resolves when no connection stands, at once when none does. */
  empty(): Promise<void>
  /** Takes no new connection, and destroys those that stand. */
  close(): Promise<void>
}

export interface OpenDoor extends Omit<Door, 'port'> {
  hold(connection: ServedConnection): void
}

/** @param maxConnections one more is closed unread */
export function openDoor(server: Server, maxConnections: number): OpenDoor {
  const connections = new Set<ServedConnection>()
  // also those whose TLS handshake is not over
  const sockets = new Set<Socket>()
  const waiting = new Set<() => void>()
  server.maxConnections = maxConnections
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    // it closes once: `on` costs less than `once`, which is taken away again
    socket.on('close', () => sockets.delete(socket))
  })
  return {
    hold(connection) {
      connections.add(connection)
      connection.onGone(() => {
        connections.delete(connection)
        if (connections.size > 0) return
        for (const resolve of waiting) resolve()
        waiting.clear()
      })
    },
    drain() {
      for (const connection of connections) connection.drain()
    },
    empty: () =>
      connections.size === 0 ? Promise.resolve() : new Promise((resolve) => void waiting.add(resolve)),
    close() {
      return new Promise((resolve) => {
        server.close(() => resolve())
        for (const connection of connections) connection.destroy()
        for (const socket of sockets) socket.destroy()
      })
    },
  }
}
