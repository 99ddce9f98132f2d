// The mutual TLS door of the collector. Node's own verification is on; beside it the judge looks at each connection once, and
// revocation and expiry are looked at for every request. A connection that the world condemns is destroyed at once.

import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import type net from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../host/clock.js'
import { errorFields, type Log } from '../host/log.js'
import type { Counter, Metrics } from '../host/metrics.js'
import { clientChain, TLS_FLOOR } from '../host/tls.js'
import type { World, WorldHolder } from '../member/control/world.js'
import type { Credentials } from '../member/identity/credentials.js'
import { MeshError } from '../mesh/errors.js'
import { covers } from '../mesh/revocation.js'
import type { Svid } from '../mesh/svid.js'
import { verifyPeer } from '../mesh/verify-peer.js'

export interface DoorOptions {
  readonly credentials: Credentials
  readonly world: WorldHolder
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

export interface Door {
  readonly server: https.Server
  /** Who sent the request, still welcome now. @throws MeshError PEER_* */
  authorOf(raw: IncomingMessage): Svid
}

const MAX_CONNECTIONS = 4096
/** Of one address, handshakes included: many sidecars may share a host, but not the whole door. */
const MAX_PER_ADDRESS = 512

export function openDoor(options: DoorOptions): Door {
  const { credentials, world, clock, log } = options
  const server = https.createServer({
    ...TLS_FLOOR,
    ...keysOf(credentials, world.current()),
    requestCert: true,
    maxHeaderSize: 16 * 1024,
    handshakeTimeout: 10_000,
    headersTimeout: 10_000,
    requestTimeout: 60_000,
    keepAliveTimeout: 60_000,
  })
  server.maxConnections = MAX_CONNECTIONS
  boundPerAddress(server)
  const judged = new Map<net.Socket, Svid | MeshError>()

  server.on('secureConnection', (socket: TLSSocket) => {
    judged.set(socket, judge(socket, options))
    socket.on('close', () => judged.delete(socket))
    socket.on('error', () => socket.destroy())
  })
  countHandshakeErrors(server, options.metrics, log)

  const renew = (): void => {
    server.setSecureContext({ ...TLS_FLOOR, ...keysOf(credentials, world.current()) })
  }
  credentials.onRotate(renew)
  world.onChange((now, before) => {
    if (now.bundles !== before.bundles) renew()
    const condemned = [...judged].filter(
      ([, svid]) => !(svid instanceof MeshError) && covers(now.revocations, svid),
    )
    for (const [socket] of condemned) socket.destroy()
    return condemned.length
  })

  return {
    server,
    authorOf(raw) {
      const svid = judged.get(raw.socket)
      if (svid === undefined) throw new MeshError('PEER_NO_CERTIFICATE', 'the connection was not judged')
      if (svid instanceof MeshError) throw svid
      if (covers(world.current().revocations, svid))
        throw new MeshError('PEER_REVOKED', `${svid.id} was revoked`)
      if (clock.now() > svid.notAfter)
        throw new MeshError('PEER_EXPIRED', `the certificate of ${svid.id} expired while it was connected`)
      return svid
    },
  }
}

function keysOf(credentials: Credentials, world: World): { key: string; cert: string; ca: string[] } {
  const { keyPem, chainPem } = credentials.current()
  const roots = world.bundles.get(world.trustDomain)?.roots ?? []
  return { key: keyPem, cert: chainPem, ca: roots.map((root) => root.toString()) }
}

/** The author, or why it is none: answered to its first request, where it can be read. */
function judge(socket: TLSSocket, { credentials, world, clock, log }: DoorOptions): Svid | MeshError {
  const { bundles, revocations, trustDomain } = world.current()
  try {
    return verifyPeer({
      chain: clientChain(socket, [
        credentials.current().issuing,
        ...(bundles.get(trustDomain)?.issuing ?? []),
      ]),
      tlsAuthorized: socket.authorized,
      bundles,
      revocations,
      expected: { kinds: ['agent'] },
      now: clock.now(),
    })
  } catch (error) {
    if (!(error instanceof MeshError)) throw error
    log.warn('peer.refused', { from: socket.remoteAddress ?? null, ...errorFields(error) })
    return error
  }
}

function boundPerAddress(server: net.Server): void {
  const open = new Map<string, number>()
  server.on('connection', (socket: net.Socket) => {
    const address = socket.remoteAddress ?? ''
    const count = (open.get(address) ?? 0) + 1
    if (count > MAX_PER_ADDRESS) {
      socket.destroy()
      return
    }
    open.set(address, count)
    socket.once('close', () => {
      const left = (open.get(address) ?? 1) - 1
      if (left === 0) open.delete(address)
      else open.set(address, left)
    })
  })
}

/** Anybody can cause these: they are counted, and logged for those who look for them. */
function countHandshakeErrors(server: https.Server, metrics: Metrics, log: Log): void {
  const failed: Counter = metrics.counter(
    'troth_collector_handshakes_failed_total',
    'Connections that TLS itself refused',
  )
  server.on('tlsClientError', (error, socket) => {
    failed.add(1)
    log.debug('tls.refused', { from: socket.remoteAddress ?? null, ...errorFields(error) })
    socket.destroy()
  })
}
