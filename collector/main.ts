// The collector: a member of kind `collector` that receives the ledgers of all agents over mutual TLS and keeps them. Wiring only.

import path from 'node:path'
import type { Clock } from '../host/clock.js'
import { type HealthOptions, openHealthDoor } from '../host/health-door.js'
import { closeServer, listen, serveRoutes } from '../host/http-server.js'
import { type Lifecycle, openLifecycle } from '../host/lifecycle.js'
import type { Log } from '../host/log.js'
import { openMetrics } from '../host/metrics.js'
import { registerIdentityGauges, whatHasEnded, whatIsLate } from '../member/identity/health.js'
import { type MemberOptions, openMember } from '../member/member.js'
import type { AgentName } from '../mesh/spiffe-id.js'
import { openDoor } from './door.js'
import { ingestRoutes } from './ingest.js'
import { openStore } from './store.js'

export interface CollectorOptions {
  readonly home: string
  /** `main` unless there are several. */
  readonly name: AgentName
  /** Host to listen on. */
  readonly listen: string
  /** 0: any free port. */
  readonly port: number
  /** GET-only door for /healthz, /readyz and /metrics on loopback; null: none. */
  readonly adminPort: number | null
  readonly enrolBy: MemberOptions['enrolBy']
  readonly dev: boolean
  readonly clock: Clock
  readonly log: Log
  readonly settings: { readonly feedMaxStalenessMs: number }
}

export interface RunningCollector {
  /** Where ledgers are taken. */
  readonly address: { readonly host: string; readonly port: number }
  readonly adminPort: number | null
  /** Graceful: shipments under way are finished. */
  close(): Promise<void>
  /** Resolves when it is closed; rejects with what stopped it. */
  readonly done: Promise<void>
}

const GRACE_MS = 3000

/** @throws MeshError STATE_IN_USE | PORT_BUSY | DEV_ROOT | CONFIG_MISSING | STATE_UNREADABLE, and those of enrolment */
export async function serveCollector(options: CollectorOptions): Promise<RunningCollector> {
  const { log } = options
  const lifecycle = openLifecycle()
  try {
    const metrics = openMetrics()
    const member = await openMember({
      home: options.home,
      kind: 'collector',
      name: options.name,
      instance: null,
      enrolBy: options.enrolBy,
      dev: options.dev,
      clock: options.clock,
      log,
      lifecycle,
      feedMaxStalenessMs: options.settings.feedMaxStalenessMs,
    })
    registerIdentityGauges(metrics, member.credentials, options.clock)
    const store = openStore(path.join(member.dir, 'ledger.db'))
    lifecycle.defer('store', () => store.close())

    const door = openDoor({ ...member, clock: options.clock, log, metrics })
    const routes = ingestRoutes({
      store,
      authorOf: ({ raw }) => door.authorOf(raw),
      clock: options.clock,
      log,
      metrics,
    })
    door.server.on('request', serveRoutes(routes, log))
    const port = await listen(door.server, {
      host: options.listen,
      port: options.port,
      flag: '--collector-port',
    })
    lifecycle.defer('ingest', () => closeServer(door.server, GRACE_MS))

    const adminPort = await openHealth(options.adminPort, lifecycle, {
      metrics,
      log,
      unready: () => [
        ...(member.world.selfRevoked ? ['SELF_REVOKED'] : []),
        ...whatHasEnded(member.credentials, options.clock),
      ],
      degraded: () => [...whatIsLate(member.credentials, options.clock), ...member.feed.troubles],
    })

    member.feed.advertise({ host: null, port })
    lifecycle.defer('endpoint', () => member.feed.withdraw())
    log.info('collector.ready', { id: member.id, listen: options.listen, port })
    const done = lifecycle.done()
    return {
      address: { host: options.listen, port },
      adminPort,
      close() {
        lifecycle.stop()
        return done
      },
      done,
    }
  } catch (error) {
    lifecycle.stop()
    await lifecycle.done()
    throw error
  }
}

async function openHealth(
  port: number | null,
  lifecycle: Lifecycle,
  about: Omit<HealthOptions, 'port'>,
): Promise<number | null> {
  if (port === null) return null
  const door = await openHealthDoor({ ...about, port })
  lifecycle.defer('health', () => closeServer(door.server, 0))
  return door.port
}
