// The feed to members (mesh/wire/feed.ts): one WebSocket an instance. Sends what world.ts says in the order it says it; takes
// acknowledgements and announcements. The only file of the CA that knows WebSockets. A member that does not read is dropped.

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Clock, Timer } from '../host/clock.js'
import { errorFields, type Log } from '../host/log.js'
import { asMeshError, MeshError } from '../mesh/errors.js'
import {
  type Change,
  FEED_FRAME_MAX_BYTES,
  FEED_HEARTBEAT_MS,
  FEED_PROTOCOL,
  type FromCa,
  type FromMember,
  readFromMember,
} from '../mesh/wire/feed.js'
import type { Acknowledgements } from './acknowledgements.js'
import type { Endpoints } from './endpoints.js'
import type { Certificate } from './store/model.js'
import type { CaWorld, Move } from './world.js'

export interface FeedOptions {
  readonly world: CaWorld
  readonly endpoints: Endpoints
  readonly acknowledgements: Acknowledgements
  /** Judges the certificate again, against the store. @throws MeshError PEER_REVOKED */
  readonly admit: (certificate: Certificate) => Promise<Certificate>
  readonly clock: Clock
  readonly log: Log
}

export interface Feed {
  /** Takes over an upgrade request of an admitted member. */
  accept(upgrade: Upgrade, member: Certificate): void
  /** Instances that are connected now. */
  connected(): ReadonlySet<string>
  /** Idempotent. */
  close(): Promise<void>
}

export interface Upgrade {
  readonly request: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  /** Address that the connection comes from. */
  readonly source: string
}

interface Connection {
  readonly ws: WebSocket
  readonly member: Certificate
  readonly source: string
  /** The epoch that the member was told of last; null before its hello was answered. */
  told: number | null
  /** What it was told of endpoints, to tell again only what is new. */
  endpoints: string
  /** Heartbeats since it last gave a sign of life. */
  silent: number
  /** What it may still ask for until the next refill. */
  budget: number
  readonly expiry: Timer
}

/** Two frames of the largest size may wait for a slow reader, no more. */
const BUFFER_MAX_BYTES = 2 * FEED_FRAME_MAX_BYTES
/** Members send short frames only. */
const FROM_MEMBER_MAX_BYTES = 64 * 1024
const BEAT_MS = FEED_HEARTBEAT_MS * 0.8
const SILENT_BEATS_MAX = 3
/** Frames of a member that cost the CA work (all but acknowledgements), a heartbeat. */
const REQUESTS_A_BEAT = 20
const CLOSE_GRACE_MS = 1000
/** WebSocket close codes: 1001 and 1008 of RFC 6455 §7.4.1, and of our own. */
const CLOSE = { away: 1001, policy: 1008, revoked: 4403, expired: 4401, replaced: 4409 } as const

export function openFeed(options: FeedOptions): Feed {
  const { world, clock, log } = options
  const connections = new Map<string, Connection>()
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: FROM_MEMBER_MAX_BYTES,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(FEED_PROTOCOL) ? FEED_PROTOCOL : false),
  })
  world.onMove((move) => {
    for (const connection of connections.values()) tell(options, connection, move)
  })
  let closing: Promise<unknown> | undefined
  let beat: Timer
  const beating = (): void => {
    for (const connection of connections.values()) heartbeat(options, connection)
    beat = clock.after(BEAT_MS, beating)
  }
  beat = clock.after(BEAT_MS, beating)

  return {
    accept({ request, socket, head, source }, member) {
      server.handleUpgrade(request, socket, head, (ws) => {
        const connection = connect(options, ws, { member, source })
        const { instanceId } = member
        const previous = connections.get(instanceId)
        connections.set(instanceId, connection)
        if (previous !== undefined) end(clock, previous.ws, CLOSE.replaced, 'replaced')
        ws.on('close', () => {
          connection.expiry.cancel()
          if (connections.get(instanceId) !== connection) return
          connections.delete(instanceId)
          options.endpoints.lost(instanceId)
          log.info('feed.disconnected', { id: member.id, instanceId })
        })
        log.info('feed.connected', { id: member.id, instanceId, source })
      })
    },
    connected: () => new Set(connections.keys()),
    close: async () => {
      beat.cancel()
      closing ??= Promise.all([...connections.values()].map(({ ws }) => ended(clock, ws)))
      await closing
    },
  }
}

function connect(
  options: FeedOptions,
  ws: WebSocket,
  { member, source }: { member: Certificate; source: string },
): Connection {
  const { clock, log, world } = options
  const expiry = clock.after(member.notAfter - clock.now(), () => end(clock, ws, CLOSE.expired, 'expired'))
  const connection: Connection = {
    ws,
    member,
    source,
    told: null,
    endpoints: '',
    silent: 0,
    budget: REQUESTS_A_BEAT,
    expiry,
  }
  ws.on('error', (error) => log.info('feed.error', { id: member.id, ...errorFields(error) }))
  ws.on('pong', () => {
    connection.silent = 0
  })
  ws.on('message', (data, isBinary) => {
    receive(options, connection, isBinary ? undefined : textOf(data)).catch((error: unknown) => {
      const problem = asMeshError(error)
      log[problem.code === 'INTERNAL' ? 'error' : 'warn']('feed.refused', {
        id: member.id,
        ...errorFields(problem),
      })
      send(options, connection, { type: 'problem', code: problem.code, detail: problem.message })
      // an announcement that is not allowed leaves the rest of the feed as it was; everything else ends it
      if (problem.code === 'ENDPOINT_NOT_ALLOWED') return
      end(clock, ws, problem.code === 'PEER_REVOKED' ? CLOSE.revoked : CLOSE.policy, problem.code)
    })
  })
  // a word before the hello, so that the member knows the feed is served even if it stays silent itself
  send(options, connection, { type: 'heartbeat', position: world.position(), sentAt: clock.now() })
  return connection
}

async function receive(
  options: FeedOptions,
  connection: Connection,
  text: string | undefined,
): Promise<void> {
  if (text === undefined) throw new MeshError('WIRE_MALFORMED', 'a feed frame is binary')
  const frame = readFromMember(text)
  if (frame === undefined) return
  connection.silent = 0
  if (frame.type !== 'ack' && connection.budget-- <= 0)
    throw new MeshError('WIRE_TOO_LARGE', 'the member asks for more than the feed gives')
  if (frame.type !== 'hello' && connection.told === null)
    throw new MeshError('WIRE_MALFORMED', 'a feed begins with hello')
  await obey(options, connection, frame)
}

async function obey(options: FeedOptions, connection: Connection, frame: FromMember): Promise<void> {
  const { endpoints, acknowledgements, world } = options
  const { member, source } = connection
  switch (frame.type) {
    case 'hello':
      await bringUpToDate(options, connection, frame.position)
      endpoints.found(member.instanceId)
      return
    case 'resync':
      await bringUpToDate(options, connection, null)
      return
    case 'ack': {
      const { generation, epoch } = world.position()
      if (frame.position.generation !== generation || frame.position.epoch > epoch)
        throw new MeshError('WIRE_MALFORMED', 'a position was acknowledged that was never sent')
      acknowledgements.acknowledge(member.instanceId, frame.position.epoch, frame.cut)
      return
    }
    case 'advertise':
      await endpoints.announce(member, { host: frame.host, port: frame.port, source })
      return
    case 'withdraw':
      await endpoints.withdraw(member.instanceId)
  }
}

/**
 * Answers a hello. In the order of changes: what happened before is in the snapshot, what happens later comes as a delta, and a
 * revocation that came between the handshake and here is seen by `admit`.
 */
function bringUpToDate(
  options: FeedOptions,
  connection: Connection,
  at: { generation: string; epoch: number } | null,
): Promise<void> {
  const { world, admit, clock, acknowledgements } = options
  const { id, instanceId } = connection.member
  return world.inOrder(async () => {
    await admit(connection.member)
    const position = world.position()
    if (at?.generation === position.generation && at.epoch === position.epoch) {
      acknowledgements.acknowledge(instanceId, position.epoch, 0)
      send(options, connection, { type: 'heartbeat', position, sentAt: clock.now() })
    } else {
      const view = await world.viewFor(id, clock.now())
      send(options, connection, { type: 'snapshot', position, sentAt: clock.now(), view })
    }
    connection.told = position.epoch
    connection.endpoints = JSON.stringify(world.endpointsFor(id))
  })
}

function tell(options: FeedOptions, connection: Connection, move: Move): void {
  const { clock } = options
  if (connection.told === null) return
  const changes = changesFor(options, connection, move)
  send(options, connection, {
    type: 'delta',
    from: connection.told,
    position: move.position,
    sentAt: clock.now(),
    changes,
  })
  connection.told = move.position.epoch
  const { id, issuer, serial } = connection.member
  const condemned =
    move.revoked?.ids.includes(id) === true ||
    move.revoked?.serials.some((each) => each.serial === serial && each.issuer === issuer) === true
  if (condemned) end(clock, connection.ws, CLOSE.revoked, 'PEER_REVOKED')
}

function changesFor({ world }: FeedOptions, connection: Connection, move: Move): Change[] {
  const { id } = connection.member
  const changes: Change[] = []
  if (move.revoked !== null)
    changes.push({ kind: 'revoke', ids: [...move.revoked.ids], serials: [...move.revoked.serials] })
  if (move.restored !== null) changes.push({ kind: 'restore', id: move.restored })
  if (move.policy !== null) changes.push({ kind: 'policy', policy: world.policyFor(id) })
  if (move.endpointsChanged) {
    const endpoints = world.endpointsFor(id)
    const encoded = JSON.stringify(endpoints)
    if (encoded !== connection.endpoints) changes.push({ kind: 'endpoints', endpoints })
    connection.endpoints = encoded
  }
  return changes
}

function heartbeat(options: FeedOptions, connection: Connection): void {
  const { world, clock, log } = options
  connection.silent += 1
  connection.budget = REQUESTS_A_BEAT
  if (connection.silent > SILENT_BEATS_MAX) {
    log.warn('feed.silent', { id: connection.member.id })
    connection.ws.terminate()
    return
  }
  connection.ws.ping()
  send(options, connection, { type: 'heartbeat', position: world.position(), sentAt: clock.now() })
}

function send({ log }: FeedOptions, { ws, member }: Connection, frame: FromCa): void {
  if (ws.readyState !== ws.OPEN) return
  ws.send(JSON.stringify(frame))
  if (ws.bufferedAmount <= BUFFER_MAX_BYTES) return
  log.warn('feed.slow', { id: member.id, waiting: ws.bufferedAmount })
  ws.terminate()
}

/** Closes after what was sent; a peer that does not answer the closing is cut. */
function end(clock: Clock, ws: WebSocket, code: number, reason: string): void {
  ws.close(code, reason)
  clock.after(CLOSE_GRACE_MS, () => ws.terminate())
}

function ended(clock: Clock, ws: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    if (ws.readyState === ws.CLOSED) {
      resolve()
      return
    }
    ws.once('close', () => resolve())
    end(clock, ws, CLOSE.away, 'the CA is shutting down')
  })
}

function textOf(data: Buffer | ArrayBuffer | Buffer[]): string {
  if (Array.isArray(data)) return Buffer.concat(data).toString('utf8')
  return Buffer.isBuffer(data) ? data.toString('utf8') : Buffer.from(data).toString('utf8')
}
