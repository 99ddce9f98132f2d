// The health door of every program: read-only HTTP on loopback for process managers and Prometheus. It acts on nothing, tells no secret
// and takes GET only; a browser page reads nothing, under whatever name it came.

import type { IncomingMessage, Server } from 'node:http'
import { MeshError } from '../mesh/errors.js'
import { createHttpServer, listen, sendProblem, serveRoutes } from './http-server.js'
import { errorFields, type Log } from './log.js'
import { METRICS_TYPE } from './metrics.js'

export interface HealthOptions {
  /** 0: any free one. */
  readonly port: number
  readonly metrics: { text(): string }
  readonly log: Log
  /** What stands in the way of work: codes and words; none when ready. */
  readonly unready: () => readonly string[]
  /** What makes it less than well although it works: codes and words. */
  readonly degraded: () => readonly string[]
}

export interface HealthDoor {
  readonly port: number
  readonly server: Server
}

/**
 * Opens the door.
 * @throws MeshError PORT_BUSY
 */
export async function openHealthDoor({
  port,
  metrics,
  log,
  unready,
  degraded,
}: HealthOptions): Promise<HealthDoor> {
  const serve = serveRoutes(
    [
      { method: 'GET', path: '/healthz', answer: () => ({ json: healthNow(unready(), degraded()) }) },
      {
        method: 'GET',
        path: '/readyz',
        answer: () => {
          const reasons = unready()
          return {
            status: reasons.length === 0 ? 200 : 503,
            json: { ready: reasons.length === 0, reasons, degraded: degraded() },
          }
        },
      },
      { method: 'GET', path: '/metrics', answer: () => ({ text: metrics.text(), type: METRICS_TYPE }) },
    ],
    log,
  )
  const server = createHttpServer((request, response) => {
    if (isFromPage(request))
      sendProblem(response, new MeshError('BROWSER_REFUSED', 'web pages do not read this door'))
    else serve(request, response)
  })
  const listening = await listen(server, { host: '127.0.0.1', port, flag: '--admin-port' })
  server.on('error', (error) => log.error('health.door', errorFields(error)))
  return { server, port: listening }
}

/** That it answers is all that `ok` says: a process that cannot work now is not helped by an end. */
function healthNow(
  unready: readonly string[],
  degraded: readonly string[],
): { ok: true; health: 'green' | 'degraded' | 'red'; reasons: string[] } {
  const reasons = [...unready, ...degraded]
  if (unready.length > 0) return { ok: true, health: 'red', reasons }
  return { ok: true, health: degraded.length > 0 ? 'degraded' : 'green', reasons }
}

const LOOPBACK = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?$/i

/** A browser said so, or the door was reached under a name that is not its own (DNS rebinding). */
function isFromPage({ headers }: IncomingMessage): boolean {
  const { origin, host } = headers
  return (
    origin !== undefined ||
    headers['sec-fetch-site'] !== undefined ||
    (host !== undefined && !LOOPBACK.test(host))
  )
}
