// The collector: a member of kind `collector` that receives the ledgers of all agents over mutual TLS and keeps them. Wiring only.

import type { Server } from 'node:http'
import path from 'node:path'
import type { Clock } from '../host/clock.js'
import { closeServer, createHttpServer, listen, type Route, serveRoutes } from '../host/http-server.js'
import { openLifecycle } from '../host/lifecycle.js'
import type { Log } from '../host/log.js'
import { METRICS_TYPE, type Metrics, openMetrics } from '../host/metrics.js'
import { type Member, type MemberOptions, openMember } from '../member/member.js'
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

    const admin = createHttpServer(serveRoutes(adminRoutes(member, metrics), log))
    const adminPort = await listenAdmin(admin, options.adminPort)
    if (adminPort !== null) lifecycle.defer('admin', () => closeServer(admin, 0))

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

async function listenAdmin(server: Server, port: number | null): Promise<number | null> {
  return port === null ? null : listen(server, { host: '127.0.0.1', port, flag: '--admin-port' })
}

/** GET only: nothing here acts. */
function adminRoutes(member: Member, metrics: Metrics): Route[] {
  const ok = { text: 'ok\n', type: 'text/plain; charset=utf-8' }
  return [
    { method: 'GET', path: '/healthz', answer: () => ok },
    {
      method: 'GET',
      path: '/readyz',
      answer: () =>
        member.world.selfRevoked
          ? { status: 503, text: 'SELF_REVOKED\n', type: 'text/plain; charset=utf-8' }
          : ok,
    },
    {
      method: 'GET',
      path: '/metrics',
      answer: () => ({ text: metrics.text(), type: METRICS_TYPE }),
    },
  ]
}
