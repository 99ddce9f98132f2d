// What the CA counts, for its health door (host/health-door.ts).

import { openMetrics } from '../host/metrics.js'
import type { CrlPublisher } from './crl-publisher.js'
import type { DoorOptions } from './door.js'
import type { Feed } from './feed.js'
import type { Hierarchy } from './hierarchy.js'
import type { Origin } from './store/model.js'
import type { CaWorld } from './world.js'

export interface CaMetrics {
  /** Counts a certificate handed out. */
  readonly issued: (origin: Origin) => void
  /** Counts a certificate that was used to renew with two keys. */
  readonly cloned: () => void
  /** Counts a connection turned away. */
  readonly refused: DoorOptions['refused']
  readonly text: () => string
}

export interface Measured {
  readonly world: CaWorld
  readonly feed: Feed
  readonly crls: CrlPublisher
  readonly hierarchy: Hierarchy
}

export function openCaMetrics({ world, feed, crls, hierarchy }: Measured): CaMetrics {
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
  const clones = metrics.counter(
    'troth_ca_clones_suspected_total',
    'Renewals refused because one certificate came with two keys.',
  )
  metrics.gauge('troth_ca_members_connected', 'Members with an open feed.', () => feed.connected().size)
  const endOf = (which: 'root' | 'issuing'): number =>
    Math.floor(Date.parse(hierarchy.current()[which].validTo) / 1000)
  metrics.gauge('troth_ca_root_not_after_seconds', 'End of the root.', () => endOf('root'))
  metrics.gauge('troth_ca_issuing_not_after_seconds', 'End of the issuing CA that signs.', () =>
    endOf('issuing'),
  )
  for (const usage of ['root', 'issuing'] as const) {
    const nextUpdate = (): number => (crls.inUse(usage)?.nextUpdate ?? 0) / 1000
    const help = 'When the revocation list of the CA in use ends, seconds since the epoch; 0 without one.'
    metrics.gauge('troth_ca_crl_next_update_seconds', help, nextUpdate, { of: usage })
  }
  metrics.gauge('troth_ca_epoch', 'Epoch of the mesh.', () => world.position().epoch)
  metrics.gauge('troth_ca_policy_version', 'Version of the policy in force.', () => world.policy().version)
  return {
    issued: (origin) => issued[origin].add(1),
    cloned: () => clones.add(1),
    refused: (reason) => refused[reason].add(1),
    text: () => metrics.text(),
  }
}
