// The app behind the sidecar: plain HTTP/1.1 on loopback or a Unix socket, connections kept.

import http, { type ClientRequest } from 'node:http'
import type { AppPlace } from '../config.js'

export interface App {
  /** What the app reads as Host: its own address, so that host checks made for local use pass. */
  readonly host: string
  /** What the ingress shows the app to prove itself. */
  readonly secret: string
  /** A request that waits for its connection; nothing is sent. `new`: not over a kept one. */
  request(head: AppHead, use: 'any' | 'new'): ClientRequest
  close(): void
}

export interface AppHead {
  readonly method: string
  readonly path: string
  readonly fields: readonly string[]
}

/** At once; all may wait for their next call, which is not for long. */
const MAX_CONNECTIONS = 256
/** Many servers close idle connections after five seconds. */
const IDLE_MS = 4000

export function openApp(place: AppPlace, secret: string): App {
  const agent = new http.Agent({
    keepAlive: true,
    scheduling: 'lifo',
    maxSockets: MAX_CONNECTIONS,
    maxFreeSockets: MAX_CONNECTIONS,
    timeout: IDLE_MS,
  })
  const dropIdle = (): void => {
    for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy()
  }
  return {
    host: 'socketPath' in place ? 'localhost' : hostOf(place),
    secret,
    request({ method, path, fields }, use) {
      if (use === 'new') dropIdle()
      return http.request({ agent, method, path, headers: fields, ...place })
    },
    close: () => agent.destroy(),
  }
}

const hostOf = ({ host, port }: { host: string; port: number }): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`
