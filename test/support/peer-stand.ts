// A caller's peers, and callees to reach: real mutual TLS, our HTTP/2 at both ends, a clock that the test moves. What a callee does with a
// connection is the test's to say.

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import tls, { type TLSSocket } from 'node:tls'
import { type Hierarchy, issueLeaf, type Leaf, makeHierarchy } from '../../certs-dev/hierarchy.js'
import { parseConfig } from '../../host/config.js'
import { openMetrics } from '../../host/metrics.js'
import { openSweep } from '../../host/sweep.js'
import { openTurn, type Turn } from '../../host/turn.js'
import type { World } from '../../member/control/world.js'
import { compilePolicy } from '../../mesh/policy/compile.js'
import { parsePolicy } from '../../mesh/policy/document.js'
import { revocationsOf } from '../../mesh/revocation.js'
import { namedId, parseAgentName, type SpiffeId } from '../../mesh/spiffe-id.js'
import type { Endpoint } from '../../mesh/wire/feed.js'
import { WITNESS_ADMITTED, WITNESS_ALPN } from '../../mesh/wire/witness.js'
import { CallIds } from '../../sidecar/call/call-id.js'
import { FieldRules } from '../../sidecar/call/headers.js'
import { Unread } from '../../sidecar/call/unread.js'
import { openCallCounter } from '../../sidecar/call-counter.js'
import { openConnections } from '../../sidecar/connections.js'
import type { PeerConnection } from '../../sidecar/egress/peer-connection.js'
import { openPeers, type Peers, type Random } from '../../sidecar/egress/peers.js'
import type { RequestHead, ResponseHead } from '../../sidecar/http/message.js'
import type { HttpStream } from '../../sidecar/http/stream.js'
import { ServerConnection } from '../../sidecar/http2/connection.js'
import type { Http2Stream, Limits, ServerEvents } from '../../sidecar/http2/contract.js'
import { DOOR_LIMITS, MESH_LIMITS, openInFlight, type Parts } from '../../sidecar/parts.js'
import { READ_BYTES, SocketWire } from '../../sidecar/transport/socket-wire.js'
import { NO_EVENTS, NO_RESPONSE } from './http2-socket.js'
import { type ManualClock, manualClock } from './manual-clock.js'
import { memoryLog } from './memory-log.js'
import { identityOf, MemoryRecorder, POLICY, TestCredentials, TestWorld } from './start-mesh.js'

export const CONNECT_TIMEOUT_MS = 3000

/** One connection that a callee has accepted. */
export interface Accepted {
  readonly socket: TLSSocket
  readonly http2: ServerConnection
  /** Of the leaf that the caller shows. */
  readonly serial: string
  readonly streams: Http2Stream[]
}

export interface CalleeOptions {
  readonly name?: string
  readonly leaf?: Leaf
  readonly limits?: Partial<Limits>
  readonly protocols?: readonly string[]
  readonly port?: number
  /** Instead of HTTP/2. */
  readonly serve?: (socket: TLSSocket, raw: Socket | undefined) => void
}

export interface CalleeDoor {
  readonly endpoint: Endpoint
  readonly accepted: Accepted[]
  /** Sockets, whatever became of them. */
  readonly connects: readonly Socket[]
  /** The nth connection, from 0. */
  connection(nth: number): Promise<Accepted>
  stop(): Promise<void>
}

export interface PeerStand extends AsyncDisposable {
  readonly hierarchy: Hierarchy
  readonly parts: Parts
  readonly peers: Peers
  readonly clock: ManualClock
  readonly world: TestWorld
  readonly credentials: TestCredentials
  id(name: string): SpiffeId
  issue(name: string, options?: Parameters<typeof issueLeaf>[2]): Promise<Leaf>
  /** Opens a door and, unless it is for nobody, tells the caller's world of it. */
  callee(options?: CalleeOptions): Promise<CalleeDoor>
  announce(...endpoints: readonly Endpoint[]): void
  /** A port where nobody listens. */
  deadEndpoint(): Promise<Endpoint>
  /** Takes a connection, whether at once or later. */
  take(not?: PeerConnection | null): Promise<PeerConnection>
  /** Time goes on by so many looks, the event loop going round between them. */
  looks(count: number): Promise<void>
}

export const turned = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

/** Waits until it holds; a test that waits in vain times out. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await turned()
}

/** One for all stands of a file: it costs more than all else. */
const HIERARCHY = makeHierarchy({ trustDomain: 'peers.test', dev: true })
const CALLEE = 'tickets'
const OK: ResponseHead = { status: 200, fields: [] }
export const REQUEST: RequestHead = {
  method: 'GET',
  scheme: 'https',
  authority: 'tickets.mesh',
  path: '/',
  protocol: null,
  fields: [],
}

function throwAtTop(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}

export async function openPeerStand(options: { random?: Random } = {}): Promise<PeerStand> {
  const hierarchy = await HIERARCHY
  const id = (name: string): SpiffeId => namedId(hierarchy.trustDomain, 'agent', parseAgentName(name))
  const issue: PeerStand['issue'] = (name, deviations) => issueLeaf(hierarchy, id(name), deviations)
  const clock = manualClock()
  const world = new TestWorld(firstWorld(hierarchy, id(CALLEE)), id('planner'))
  const credentials = new TestCredentials(identityOf(await issue('planner')))
  const turn = openTurn(throwAtTop)
  const parts = partsOf({ id: id('planner'), world, credentials, clock, turn })
  world.onChange((now) => parts.connections.condemn(now.revocations))
  const peers = options.random === undefined ? openPeers(parts) : openPeers(parts, options.random)
  const doors: CalleeDoor[] = []
  const announce: PeerStand['announce'] = (...endpoints) =>
    void world.replace({ endpoints: new Map([[id(CALLEE), endpoints]]) })
  return {
    hierarchy,
    parts,
    peers,
    clock,
    world,
    credentials,
    id,
    issue,
    announce,
    async callee(calleeOptions = {}) {
      const leaf = calleeOptions.leaf ?? (await issue(calleeOptions.name ?? CALLEE))
      const door = await openCallee({ hierarchy, leaf, turn, id: id(CALLEE), options: calleeOptions })
      doors.push(door)
      announce(...(world.current().endpoints.get(id(CALLEE)) ?? []), door.endpoint)
      return door
    },
    async deadEndpoint() {
      const server = createTcpServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      server.close()
      await once(server, 'close')
      return { id: id(CALLEE), instanceId: randomUUID(), host: '127.0.0.1', port }
    },
    async take(not = null) {
      return await peers.take(id(CALLEE), not)
    },
    async looks(count) {
      for (let nth = 0; nth < count; nth += 1) {
        clock.advance(5000)
        await turned()
      }
    },
    async [Symbol.asyncDispose]() {
      peers.close()
      parts.connections.cutAll('DRAINING')
      for (const door of doors) await door.stop()
    },
  }
}

function firstWorld({ trustDomain, bundle }: Hierarchy, callee: SpiffeId): World {
  return {
    trustDomain,
    bundles: new Map([[trustDomain, bundle]]),
    revocations: revocationsOf([], []),
    policy: compilePolicy(parsePolicy(POLICY), trustDomain),
    policyVersion: 1,
    callees: new Set([callee]),
    endpoints: new Map(),
    position: { generation: randomUUID(), epoch: 1 },
  }
}

function partsOf(
  given: Pick<Parts, 'id' | 'world' | 'credentials' | 'turn'> & { clock: ManualClock },
): Parts {
  const { clock, credentials } = given
  const settings = parseConfig('', 'config.yaml')
  const recorder = new MemoryRecorder()
  return {
    ...given,
    recorder,
    books: { ledger: recorder, clock, count: openCallCounter(openMetrics()) },
    rules: new FieldRules(),
    ids: new CallIds(),
    connections: openConnections(clock, given.turn, settings.streamMaxAgeMs),
    sweep: openSweep(clock),
    reads: Buffer.allocUnsafeSlow(READ_BYTES),
    log: memoryLog(),
    limits: {
      bodyMaxBytes: settings.bodyMaxBytes,
      headTimeoutMs: settings.headTimeoutMs,
      idleTimeoutMs: settings.idleTimeoutMs,
      maxAgeMs: settings.streamMaxAgeMs,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
    },
    doors: DOOR_LIMITS,
    unread: new Unread(),
    inFlight: openInFlight(),
    standing: () => ({
      now: clock.now(),
      own: credentials.current().svid,
      selfRevoked: false,
      draining: false,
      staleDenied: false,
    }),
  }
}

interface DoorOptions {
  readonly hierarchy: Hierarchy
  readonly leaf: Leaf
  readonly turn: Turn
  readonly id: SpiffeId
  readonly options: CalleeOptions
}

async function openCallee({ hierarchy, leaf, turn, id, options }: DoorOptions): Promise<CalleeDoor> {
  const { protocols = ['h2', WITNESS_ALPN], limits = {}, serve, port = 0 } = options
  const accepted: Accepted[] = []
  const connects: Socket[] = []
  const sockets = new Set<TLSSocket>()
  const sweep = openSweep(manualClock())
  const server = tls.createServer({
    key: leaf.keyPem,
    cert: leaf.chainPem,
    ca: hierarchy.rootPem,
    requestCert: true,
    minVersion: 'TLSv1.3',
    ALPNProtocols: [...protocols],
  })
  server.on('connection', (raw: Socket) => connects.push(raw))
  server.on('tlsClientError', () => undefined)
  server.on('secureConnection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    if (serve !== undefined) serve(socket, connects.at(-1))
    else if (socket.alpnProtocol === 'h2') accepted.push(accept(socket, turn, sweep, limits))
    else socket.write(WITNESS_ADMITTED)
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address() as AddressInfo
  return {
    endpoint: { id, instanceId: leaf.instanceId, host: '127.0.0.1', port: address.port },
    accepted,
    connects,
    async connection(nth) {
      await until(() => accepted[nth] !== undefined)
      const found = accepted[nth]
      if (found === undefined) throw new Error('no such connection')
      return found
    },
    async stop() {
      if (!server.listening) return
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function accept(
  socket: TLSSocket,
  turn: Turn,
  sweep: ReturnType<typeof openSweep>,
  limits: Partial<Limits>,
): Accepted {
  const streams: Http2Stream[] = []
  const wire = new SocketWire(socket, turn, sweep)
  const events: ServerEvents = {
    ...NO_EVENTS,
    onRequest(stream) {
      streams.push(stream)
      stream.respond(OK, 'more')
      return NO_RESPONSE
    },
  }
  const http2 = new ServerConnection(
    { wire, limits: { ...MESH_LIMITS, ...limits }, now: () => performance.now() },
    events,
    'extended-connect',
  )
  wire.attach(http2)
  return { socket, http2, serial: socket.getPeerX509Certificate()?.serialNumber.toLowerCase() ?? '', streams }
}

/** A call that runs until it is ended, and what it heard. */
export interface Call {
  readonly stream: HttpStream
  readonly heard: string[]
  /** Ends it as the sidecar does. */
  end(): void
}

/** Opens a call; it stays open, as a stream of events would. */
export function call(connection: PeerConnection): Call {
  const heard: string[] = []
  const stream = connection.open(REQUEST, 'nothing', {
    ...NO_RESPONSE,
    onHead: ({ status }) => void heard.push(String(status)),
    onData: (bytes) => {
      heard.push(bytes.toString())
      stream.consume(bytes.length)
    },
    onEnd: () => void heard.push('end'),
    onReset: (error) => void heard.push(`${error.code} ${connection.cutReason ?? ''}`.trim()),
  })
  return {
    stream,
    heard,
    end() {
      stream.reset(8)
      connection.leave()
    },
  }
}
