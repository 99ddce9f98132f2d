// Health and metrics of the CA: GET-only, on a loopback TCP port.

import type { RequestListener } from 'node:http'
import { serveRoutes } from '../host/http-server.js'
import type { Log } from '../host/log.js'
import { METRICS_TYPE, openMetrics } from '../host/metrics.js'
import type { DoorOptions } from './door.js'
import type { Feed } from './feed.js'
import type { Origin } from './store/model.js'
import type { CaWorld } from './world.js'

export interface CaMetrics {
  /** Counts a certificate handed out. */
  readonly issued: (origin: Origin) => void
  /** Counts a connection turned away. */
  readonly refused: DoorOptions['refused']
  readonly text: () => string
}

export function openCaMetrics({ world, feed }: { world: CaWorld; feed: Feed }): CaMetrics {
  const metrics = openMetrics()
  const issuedBy = (by: Origin): ReturnType<typeof metrics.counter> =>
    metrics.counter('troth_ca_certificates_issued_total', 'Certificates handed out.', { by })
  const refusedFor = (reason: string): ReturnType<typeof metrics.counter> =>
    metrics.counter('troth_ca_connections_refused_total', 'Connections turned away before a request.', {
      reason,
    })
  const issued = {
    token: issuedBy('token'),
    'local-admin': issuedBy('local-admin'),
    renewal: issuedBy('renewal'),
    issue: issuedBy('issue'),
    server: issuedBy('server'),
  }
  const refused = {
    junk: refusedFor('junk'),
    slow: refusedFor('slow'),
    crowd: refusedFor('crowd'),
    tls: refusedFor('tls'),
  }
  metrics.gauge('troth_ca_members_connected', 'Members with an open feed.', () => feed.connected().size)
  metrics.gauge('troth_ca_epoch', 'Epoch of the mesh.', () => world.position().epoch)
  metrics.gauge('troth_ca_policy_version', 'Version of the policy in force.', () => world.policy().version)
  return {
    issued: (origin) => issued[origin].add(1),
    refused: (reason) => refused[reason].add(1),
    text: () => metrics.text(),
  }
}

/** `/healthz`, `/readyz` (the CA serves nothing before it is ready), `/metrics`. */
export function healthListener({ metrics, log }: { metrics: CaMetrics; log: Log }): RequestListener {
  return serveRoutes(
    [
      { method: 'GET', path: '/healthz', answer: () => ({ json: { ok: true } }) },
      { method: 'GET', path: '/readyz', answer: () => ({ json: { ready: true } }) },
      { method: 'GET', path: '/metrics', answer: () => ({ text: metrics.text(), type: METRICS_TYPE }) },
    ],
    log,
  )
}
