// The admin door: read-only HTTP on loopback for process managers and Prometheus. It acts on nothing, tells no identity's secrets and
// takes GET only; a browser page learns no more than that a sidecar is here.

import type { Server } from 'node:http'
import { createHttpServer, listen, serveRoutes } from '../host/http-server.js'
import type { Log } from '../host/log.js'
import { METRICS_TYPE, type Metrics } from '../host/metrics.js'

export interface AdminOptions {
  readonly port: number
  readonly metrics: Metrics
  readonly log: Log
  /** What stands in the way of calls: codes and words; none when ready. */
  readonly unready: () => readonly string[]
}

export interface AdminDoor {
  readonly port: number
  readonly server: Server
}

/**
 * Opens the door.
 * @throws MeshError PORT_BUSY
 */
export async function openAdmin({ port, metrics, log, unready }: AdminOptions): Promise<AdminDoor> {
  const server = createHttpServer(
    serveRoutes(
      [
        { method: 'GET', path: '/healthz', answer: () => ({ json: { ok: true } }) },
        {
          method: 'GET',
          path: '/readyz',
          answer: () => {
            const reasons = unready()
            return {
              status: reasons.length === 0 ? 200 : 503,
              json: { ready: reasons.length === 0, reasons },
            }
          },
        },
        { method: 'GET', path: '/metrics', answer: () => ({ text: metrics.text(), type: METRICS_TYPE }) },
      ],
      log,
    ),
  )
  return { server, port: await listen(server, { host: '127.0.0.1', port, flag: '--admin-port' }) }
}
