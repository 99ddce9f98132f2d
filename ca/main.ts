// The CA program: `serve` runs the CA of a home. A library to the CLI; signals, prompts and output are not known here.

import { existsSync, rmSync, statSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import path from 'node:path'
import type { Clock } from '../host/clock.js'
import { lockDir } from '../host/files.js'
import { openHealthDoor } from '../host/health-door.js'
import { closeServer, createHttpServer, listen, serveRoutes } from '../host/http-server.js'
import type { Lifecycle } from '../host/lifecycle.js'
import { errorFields, type Log } from '../host/log.js'
import { NOBODY } from '../mesh/audit-record.js'
import { MeshError } from '../mesh/errors.js'
import { type Acknowledgements, openAcknowledgements } from './acknowledgements.js'
import type { Actor } from './actor.js'
import type { AdminOptions } from './admin/route.js'
import { adminListener, operatorRoutes } from './admin-api.js'
import { openAdmission } from './admission.js'
import { type CaAudit, openCaAudit } from './audit.js'
import { openAuthority } from './authority.js'
import { type Closers, openClosers } from './closers.js'
import { type CrlPublisher, openCrlPublisher } from './crl-publisher.js'
import type { DoorOptions } from './door.js'
import { memberDoor, publicDoor } from './doors-api.js'
import { openEndpoints } from './endpoints.js'
import { type Feed, openFeed } from './feed.js'
import { type LiveHierarchy, openHierarchy, rootLabelOf } from './hierarchy.js'
import { type KeyStore, openKeyStore } from './keys/key-store.js'
import { leftoversIn } from './leftovers.js'
import { type CaMetrics, openCaMetrics } from './metrics.js'
import { formatPlace } from './place.js'
import { plainRoutes, publishedRoutes } from './published.js'
import { openRecovery, type Recovery } from './recovery/recovery.js'
import { openRegistry, type Registry } from './registry.js'
import { openRenewalLimits } from './renewal/limits.js'
import { openNonces } from './renewal/nonces.js'
import { openRotator, type Rotator } from './rotation/rotator.js'
import { openServedDoor } from './served-door.js'
import type { CaStore, Certificate } from './store/model.js'
import { openCaStore } from './store.js'
import { openTryLimit, type TryLimit } from './try-limit.js'
import { type CaWorld, openCaWorld } from './world.js'

export interface CaOptions {
  readonly home: string
  /** Address to listen on. */
  readonly listen: string
  /** 0: any free one. */
  readonly port: number
  /** Loopback TCP port for health and metrics; null: none. */
  readonly adminPort: number | null
  /** Opens the issuing key: a passphrase, or the PIN of its token. */
  readonly passphrase: string
  readonly dev: boolean
  /** Life of a leaf unless its agent has its own. */
  readonly leafTtlMs: number
  readonly clock: Clock
  readonly log: Log
  readonly lifecycle: Lifecycle
}

export interface RunningCa {
  /** `host:port` as tokens carry it. */
  readonly address: string
  readonly port: number
  readonly adminPort: number | null
  /** `<home>/ca/admin.sock` */
  readonly adminSocket: string
  /** Graceful and idempotent; also deferred on the lifecycle. */
  close(): Promise<void>
}

const CLOSE_GRACE_MS = 2000
const SOURCES_MAX = 10_000
/** Failed enrolments of one address. */
const ENROL_LIMIT = { max: 30, windowMs: 60_000, capacity: SOURCES_MAX }

/**
 * Serves the CA of a home.
 * @throws MeshError CONFIG_MISSING | PASSPHRASE_WRONG | PASSPHRASE_MISSING | DEV_ROOT | CA_EXPIRED | STATE_IN_USE |
 *   STATE_UNREADABLE | STATE_PERMISSIONS | PORT_BUSY | SOCKET_PATH_TOO_LONG
 */
export async function serveCa(options: CaOptions): Promise<RunningCa> {
  const closers = openClosers()
  try {
    const running = await start(options, closers)
    options.lifecycle.defer('ca', () => closers.close())
    return running
  } catch (error) {
    await closers.close()
    throw error
  }
}

interface State {
  readonly dir: string
  readonly store: CaStore
  readonly hierarchy: LiveHierarchy
  readonly keys: KeyStore
  readonly acknowledgements: Acknowledgements
  readonly world: CaWorld
  readonly registry: Registry
  readonly audit: CaAudit
  readonly recovery: Recovery
  readonly feed: Feed
  readonly crls: CrlPublisher
  readonly metrics: CaMetrics
}

async function start(options: CaOptions, closers: Closers): Promise<RunningCa> {
  const { clock, log, leafTtlMs } = options
  const state = await openState(options, closers)
  const { store, hierarchy, audit, feed, crls, metrics } = state
  const published = { store, hierarchy, crls, now: () => clock.now() }

  let { port } = options
  const address = async (): Promise<string> => formatPlace((await store.mesh()).address, port)
  const authority = openAuthority({
    ...state,
    clock,
    log,
    leafTtlMs,
    address,
    admission: openAdmission(clock),
    issued: metrics.issued,
    cloned: metrics.cloned,
    checkMayIssue: () => state.recovery.checkMayIssue(),
  })
  const [limit, renewals] = [openEnrolLimit(clock), openRenewalLimits(clock)]
  // before the door opens: no acknowledgement may be missed
  const rotator = openRotator({ ...state, followAtDoor: () => door.renew(), clock, log })
  const byKey = { store, nonces: openNonces(clock), trustDomain: hierarchy.trustDomain }
  const serving = { ...state, published, authority, rotator, address, renewDoor: () => door.renew() }
  const admin = adminOf(options, serving)
  const operators = operatorRoutes(admin)
  const member = memberDoor({ operators, authority, audit, feed, store, hierarchy, renewals, clock, log })
  const publics = { published: publishedRoutes(published), authority, audit, limit, renewals, byKey, log }
  const door = await openServedDoor({
    host: options.listen,
    listen: options.listen,
    port,
    publicListener: publicDoor(publics),
    plainListener: serveRoutes(plainRoutes(published), log),
    memberListener: member.listener,
    upgrade: member.upgrade,
    refused: metrics.refused,
    unproven: unprovenAt(state),
    hierarchy,
    store,
    feed,
    closers,
    clock,
    log,
  })
  port = door.port

  runInBackground(rotator, closers)
  const adminSocket = await openAdminSocket(state.dir, adminListener(admin), closers)
  const adminPort = await openHealth(options.adminPort, { metrics, log }, closers)
  log.info('ca.ready', { address: await address(), listen: options.listen, port })
  return { address: await address(), port, adminPort, adminSocket, close: () => closers.close() }
}

/** What operators talk to. */
function adminOf(
  { clock, log, leafTtlMs }: CaOptions,
  serving: State &
    Pick<AdminOptions, 'published' | 'authority' | 'rotator' | 'address'> & {
      readonly renewDoor: () => Promise<void>
    },
): AdminOptions {
  const setAddress = async (actor: Actor, host: string): Promise<void> => {
    const attempt = { what: 'ca.address', object: host, detail: () => null }
    await serving.audit.run(actor, attempt, (on) => on.setAddress(host))
    await serving.renewDoor()
  }
  const isRootKeyHere = (): Promise<boolean | null> => rootKeyHere(serving)
  return { ...serving, isRootKeyHere, clock, log, leafTtlMs, setAddress }
}

/** Whoever failed to prove itself at the member door is in the audit too. */
function unprovenAt({ audit }: State): DoorOptions['unproven'] {
  return (source) => {
    const error = new MeshError('PEER_HANDSHAKE_FAILED', 'the TLS handshake did not prove a member')
    audit.turnedAway({ peer: NOBODY, source }, error)
  }
}

const openEnrolLimit = (clock: Clock): TryLimit =>
  openTryLimit({
    ...ENROL_LIMIT,
    clock,
    refusal: (retryAfterMs) =>
      new MeshError('JOIN_TOKEN_TRIES', 'too many enrolments from this address failed', { retryAfterMs }),
  })

/** What the CA knows and the loops around it; nothing listens yet. */
async function openState(options: CaOptions, closers: Closers): Promise<State> {
  const { home, passphrase, dev, clock, log } = options
  const dir = path.join(home, 'ca')
  takeDir(dir, closers)
  const leftovers = leftoversIn(home)
  if (leftovers.length > 0) log.warn('ca.leftovers', { leftovers: leftovers.join(' ') })
  const store = openCaStore(path.join(dir, 'ca.db'))
  closers.add(() => store.close())
  const { trustDomain } = await store.mesh()
  // the root's key stays shut here
  const keys = await openKeyStore({ dir, secrets: { root: null, issuing: passphrase }, dev })
  closers.add(() => keys.close())
  const now = (): number => clock.now()
  const hierarchy = await openHierarchy({ dir, trustDomain, store, keys, dev, now, toBe: 'served' })
  const world = await openCaWorld(store, hierarchy)
  const acknowledgements = openAcknowledgements(clock)
  const failed = (error: unknown): void => log.error('ca.failed', errorFields(error))
  const endpoints = openEndpoints({ store, world, clock, failed })
  closers.add(() => endpoints.close())
  const audit = openCaAudit({ store, clock, log })
  closers.add(() => audit.close())
  const registry = openRegistry({ store, audit, world, acknowledgements, clock, log, dev })
  const admit = (member: Certificate): Promise<Certificate> => store.admit(member, clock.now())
  const recovery = await openRecovery({ store, world, registry, clock, log })
  const feed = openFeed({ world, endpoints, acknowledgements, admit, recovery, clock, log })
  closers.add(() => feed.close())
  const crls = await openCrlPublisher({ store, hierarchy, world, clock, log })
  closers.add(() => crls.close())
  const metrics = openCaMetrics({ world, feed, crls, hierarchy })
  const known = { store, hierarchy, keys, world, registry, audit, recovery }
  return { dir, ...known, acknowledgements, feed, crls, metrics }
}

function runInBackground(rotator: Rotator, closers: Closers): void {
  const stop = new AbortController()
  const running = rotator.run(stop.signal)
  closers.add(() => {
    stop.abort()
    return running
  })
}

/** Null when the place where it would be cannot be looked into without opening it. */
async function rootKeyHere({ keys, hierarchy }: State): Promise<boolean | null> {
  const label = rootLabelOf(hierarchy)
  try {
    return (await keys.list('root')).includes(label)
  } catch {
    return null
  }
}

/** Takes the state directory for this process. */
function takeDir(dir: string, closers: Closers): void {
  if (!existsSync(path.join(dir, 'root.pem')))
    throw new MeshError('CONFIG_MISSING', `there is no CA in ${dir}`)
  if ((statSync(dir).mode & 0o077) !== 0)
    throw new MeshError('STATE_PERMISSIONS', `${dir} is open to other users`, { hint: `chmod 700 ${dir}` })
  const lock = lockDir(dir)
  closers.add(() => lock.release())
}

/** Whoever opens this socket is the CA's OS user: 0600 in a 0700 directory. */
async function openAdminSocket(dir: string, listener: RequestListener, closers: Closers): Promise<string> {
  const socket = path.join(dir, 'admin.sock')
  // the directory is locked: a socket that is there belongs to a process that is gone
  rmSync(socket, { force: true })
  const server = createHttpServer(listener)
  await listen(server, { socket })
  closers.add(() => closeServer(server, CLOSE_GRACE_MS))
  return socket
}

async function openHealth(
  port: number | null,
  { metrics, log }: { metrics: CaMetrics; log: Log },
  closers: Closers,
): Promise<number | null> {
  if (port === null) return null
  // the CA serves nothing before it is ready
  const door = await openHealthDoor({ port, metrics, log, unready: () => [], degraded: () => [] })
  closers.add(() => closeServer(door.server, CLOSE_GRACE_MS))
  return door.port
}
