// The wiring of one identity: its parts, its doors, and how they go down. What it is given (credentials, world, recorder, clock) is
// somebody else's to open and to close.

import { randomInt } from 'node:crypto'
import type { Clock } from '../host/clock.js'
import { pause } from '../host/clock.js'
import { type HealthDoor, openHealthDoor } from '../host/health-door.js'
import { closeServer } from '../host/http-server.js'
import type { Log } from '../host/log.js'
import type { Metrics } from '../host/metrics.js'
import type { Sweep } from '../host/sweep.js'
import type { Turn } from '../host/turn.js'
import type { Feed } from '../member/control/feed-client.js'
import type { WorldHolder } from '../member/control/world.js'
import type { Credentials } from '../member/identity/credentials.js'
import { whatHasEnded, whatIsLate } from '../member/identity/health.js'
import type { SpiffeId } from '../mesh/spiffe-id.js'
import type { Recorder } from './audit/recorder.js'
import { CallIds } from './call/call-id.js'
import { FieldRules } from './call/headers.js'
import { REPLAY_LIMITS, ReplayGuard } from './call/replay.js'
import { Unread } from './call/unread.js'
import { openCallCounter, registerGauges } from './call-counter.js'
import type { AppPlace, RunningSidecar, SidecarConfig } from './config.js'
import { openConnections } from './connections.js'
import { credentialCheck } from './egress/guard.js'
import { openEgressDoor } from './egress/listener.js'
import { openPeers } from './egress/peers.js'
import { Tunnels } from './egress/tunnel.js'
import { type App, openApp } from './ingress/app.js'
import { meshHostOf } from './ingress/call.js'
import { openIngress } from './ingress/listener.js'
import type { LocalSecrets, Ports } from './local-state.js'
import { DOOR_LIMITS, type DoorLimits, openInFlight, type Parts } from './parts.js'
import type { Door } from './transport/door.js'
import { READ_BYTES } from './transport/socket-wire.js'

/** How long peers and clients may take to read their last answers. */
const LAST_WORDS_MS = 1000

export interface SidecarOptions {
  readonly config: SidecarConfig
  readonly id: SpiffeId
  readonly credentials: Credentials
  readonly world: WorldHolder
  readonly feed: Pick<Feed, 'troubles'>
  readonly recorder: Recorder
  readonly clock: Clock
  readonly turn: Turn
  readonly sweep: Sweep
  readonly log: Log
  readonly metrics: Metrics
  readonly ports: Ports
  readonly secrets: LocalSecrets
  readonly doors?: DoorLimits
}

export interface Sidecar {
  readonly ports: RunningSidecar['ports']
  /** What stands in the way of calls; empty when ready. */
  unready(): readonly string[]
  /** Refuses new calls; resolves when the running ones have ended, or after `drainMs`. */
  drain(): Promise<void>
  /** Closes every door and cuts what is left. */
  close(): Promise<void>
}

/**
 * Opens the doors of one identity.
 * @throws MeshError PORT_BUSY naming the flag | CONFIG_INVALID
 */
export async function openSidecar(options: SidecarOptions): Promise<Sidecar> {
  const { config, metrics, log, ports, secrets } = options
  const state = { isDraining: false }
  const parts = openParts(options, () => state.isDraining)
  followRevocations(parts)
  const peers = openPeers(parts)
  const app = config.app === null ? null : openAppOf(parts, config.app, secrets)
  const inside = {
    parts,
    app,
    replays: new ReplayGuard(REPLAY_LIMITS, randomInt(2 ** 32)),
    meshHost: meshHostOf(parts.id),
  }
  const doors: Door[] = []
  let admin: HealthDoor | undefined
  const close = (): Promise<void> =>
    closeAll(parts, { doors, admin }, () => {
      peers.close()
      app?.close()
    })
  const unready = (): string[] => reasonsAgainst(parts, state.isDraining)
  try {
    const ingress = await openIngress({ inside, host: config.listen, port: ports.ingress })
    doors.push(ingress)
    const checkCredential = config.egressAuth === 'none' ? null : credentialCheck(secrets.localCredential)
    const shared = { parts, peers, tunnels: new Tunnels(config.settings.egressTunnels) }
    const egress = await openEgressDoor({
      ...shared,
      checkCredential,
      only: null,
      port: ports.egress,
      flag: '--egress-port',
    })
    doors.push(egress)
    const to: Record<string, number> = {}
    for (const { callee, port, open } of config.to) {
      const only = { only: callee, port, flag: `--to ${callee}=PORT` }
      const door = await openEgressDoor({
        ...shared,
        ...only,
        checkCredential: open ? null : checkCredential,
      })
      doors.push(door)
      to[callee] = door.port
    }
    admin = await openHealthDoor({
      port: ports.admin,
      metrics,
      log,
      unready,
      degraded: () => [...whatIsLate(options.credentials, options.clock), ...options.feed.troubles],
    })
    return {
      ports: { egress: egress.port, ingress: ingress.port, admin: admin.port, to },
      unready,
      async drain() {
        state.isDraining = true
        for (const door of doors) door.drain()
        const stop = new AbortController()
        await Promise.race([parts.inFlight.idle(), pause(parts.clock, config.settings.drainMs, stop.signal)])
        // the last answers are on their way
        const gone = Promise.all(doors.map((door) => door.empty()))
        await Promise.race([gone, pause(parts.clock, LAST_WORDS_MS, stop.signal)])
        stop.abort()
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

function openParts(options: SidecarOptions, isDraining: () => boolean): Parts {
  const { config, id, credentials, world, recorder, clock, turn, sweep, log, metrics } = options
  const { settings } = config
  const parts: Parts = {
    id,
    credentials,
    world,
    recorder,
    clock,
    turn,
    sweep,
    log,
    connections: openConnections(clock, turn, settings.streamMaxAgeMs),
    limits: {
      bodyMaxBytes: settings.bodyMaxBytes,
      headTimeoutMs: settings.headTimeoutMs,
      idleTimeoutMs: settings.idleTimeoutMs,
      maxAgeMs: settings.streamMaxAgeMs,
      connectTimeoutMs: settings.connectTimeoutMs,
    },
    doors: options.doors ?? DOOR_LIMITS,
    books: { ledger: recorder, clock, count: openCallCounter(metrics) },
    rules: new FieldRules(),
    ids: new CallIds(),
    reads: Buffer.allocUnsafeSlow(READ_BYTES),
    inFlight: openInFlight(),
    unread: new Unread(),
    standing: () => ({
      now: clock.now(),
      own: credentials.current().svid,
      selfRevoked: world.selfRevoked,
      draining: isDraining(),
      staleDenied: settings.feedOnStale === 'deny' && world.isStale(),
    }),
  }
  registerGauges(metrics, parts)
  return parts
}

/** Every new world is applied to what already stands; how much of it fell is what the CA is told. */
function followRevocations(parts: Parts): void {
  const { world, connections, log } = parts
  world.onChange((now, previous) => {
    if (world.selfRevoked) {
      log.error('sidecar.self-revoked', { code: 'SELF_REVOKED' })
      return connections.cutAll('SELF_REVOKED')
    }
    if (now.revocations === previous.revocations) return 0
    const cut = connections.condemn(now.revocations)
    if (cut > 0) log.info('connections.cut', { count: cut, epoch: now.position?.epoch })
    return cut
  })
}

function reasonsAgainst({ credentials, world, recorder, clock }: Parts, isDraining: boolean): string[] {
  return [
    ...(isDraining ? ['DRAINING'] : []),
    // before the CA's first word ever the world permits nothing
    ...(world.current().position === null ? ['CA_UNREACHABLE'] : []),
    ...(world.selfRevoked ? ['SELF_REVOKED'] : []),
    ...whatHasEnded(credentials, clock),
    ...(recorder.healthy ? [] : ['AUDIT_UNAVAILABLE']),
  ]
}

function openAppOf({ turn, sweep, limits }: Parts, place: AppPlace, { ingressSecret }: LocalSecrets): App {
  const { connectTimeoutMs } = limits
  return openApp({ place, secret: ingressSecret, turn, sweep, connectTimeoutMs })
}

interface Opened {
  readonly doors: readonly Door[]
  readonly admin: HealthDoor | undefined
}

async function closeAll(parts: Parts, { doors, admin }: Opened, rest: () => void): Promise<void> {
  parts.connections.cutAll('DRAINING')
  rest()
  const closing = doors.map((door) => door.close())
  if (admin !== undefined) closing.push(closeServer(admin.server, 0))
  await Promise.all(closing)
}
