// The sockets of the feed to members: one WebSocket an instance, heartbeats, bounds, endings. The only file of the CA that knows
// WebSockets; what is said on them is in feed-session.ts. A member that does not read, or asks too much, is dropped.

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Clock, Timer } from '../host/clock.js'
import { errorFields, type Log } from '../host/log.js'
import { asMeshError, MeshError } from '../mesh/errors.js'
import {
  FEED_FRAME_MAX_BYTES,
  FEED_HEARTBEAT_MS,
  FEED_MEMBER_FRAME_MAX_BYTES,
  FEED_PROTOCOL,
  type FromCa,
} from '../mesh/wire/feed.js'
import { receive, type Session, type SessionOptions, tell } from './feed-session.js'
import type { Certificate } from './store/model.js'

export interface FeedOptions extends SessionOptions {
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
  readonly session: Session
  /** Heartbeats since it last gave a sign of life. */
  silent: number
  /** Its frames are obeyed one after the other. */
  tail: Promise<void>
  queued: number
  readonly expiry: Timer
}

/** Two frames of the largest size may wait for a slow reader, no more. */
const BUFFER_MAX_BYTES = 2 * FEED_FRAME_MAX_BYTES
const BEAT_MS = FEED_HEARTBEAT_MS * 0.8
const SILENT_BEATS_MAX = 3
/** Frames of a member that cost the CA work (all but acknowledgements), a heartbeat. */
const REQUESTS_A_BEAT = 20
/** Frames of one member that wait for their turn. */
const QUEUED_MAX = 256
const CLOSE_GRACE_MS = 1000
/** WebSocket close codes: 1001 and 1008 of RFC 6455 §7.4.1, and of our own. */
const CLOSE = { away: 1001, policy: 1008, expired: 4401, revoked: 4403, replaced: 4409 } as const

export function openFeed(options: FeedOptions): Feed {
  const { world, clock, log, endpoints } = options
  // one feed an instance, and one more that has not said hello yet: after a rotation the next is up before the last one ends
  const live = new Map<string, Connection>()
  const waiting = new Map<string, Connection>()
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: FEED_MEMBER_FRAME_MAX_BYTES,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(FEED_PROTOCOL) ? FEED_PROTOCOL : false),
  })
  world.onMove((move) => {
    for (const { ws, session } of live.values())
      if (tell(options, session, move) === 'condemned') end(clock, ws, CLOSE.revoked, 'PEER_REVOKED')
  })
  let closing: Promise<unknown> | undefined
  let beat: Timer
  const beating = (): void => {
    for (const connection of [...live.values(), ...waiting.values()]) heartbeat(options, connection)
    beat = clock.after(BEAT_MS, beating)
  }
  beat = clock.after(BEAT_MS, beating)

  const greeted = (connection: Connection): void => {
    const { instanceId, id } = connection.session.member
    if (waiting.get(instanceId) !== connection) return
    waiting.delete(instanceId)
    place(clock, live, connection)
    log.info('feed.connected', { id, instanceId, source: connection.session.source })
  }
  const gone = (connection: Connection): void => {
    const { instanceId, id } = connection.session.member
    connection.expiry.cancel()
    if (waiting.get(instanceId) === connection) waiting.delete(instanceId)
    if (live.get(instanceId) !== connection) return
    live.delete(instanceId)
    endpoints.lost(instanceId)
    log.info('feed.disconnected', { id, instanceId })
  }

  return {
    accept({ request, socket, head, source }, member) {
      server.handleUpgrade(request, socket, head, (ws) => {
        const connection = connect(options, ws, { member, source, greeted })
        place(clock, waiting, connection)
        ws.on('close', () => gone(connection))
      })
    },
    connected: () => new Set(live.keys()),
    close: async () => {
      beat.cancel()
      closing ??= Promise.all([...live.values(), ...waiting.values()].map(({ ws }) => ended(clock, ws)))
      await closing
    },
  }
}

/** Puts the connection in its instance's place; what was there ends. */
function place(clock: Clock, places: Map<string, Connection>, connection: Connection): void {
  const { instanceId } = connection.session.member
  const previous = places.get(instanceId)
  places.set(instanceId, connection)
  if (previous !== undefined) end(clock, previous.ws, CLOSE.replaced, 'replaced')
}

interface Caller {
  readonly member: Certificate
  readonly source: string
  readonly greeted: (connection: Connection) => void
}

function connect(options: FeedOptions, ws: WebSocket, { member, source, greeted }: Caller): Connection {
  const { clock, log } = options
  const connection: Connection = {
    ws,
    session: {
      member,
      source,
      send: (frame) => send(log, connection, frame),
      greeted: () => greeted(connection),
      told: null,
      endpoints: '',
      budget: REQUESTS_A_BEAT,
      returns: 0,
    },
    silent: 0,
    tail: Promise.resolve(),
    queued: 0,
    expiry: clock.after(member.notAfter - clock.now(), () => end(clock, ws, CLOSE.expired, 'expired')),
  }
  ws.on('error', (error) => log.info('feed.error', { id: member.id, ...errorFields(error) }))
  ws.on('pong', () => {
    connection.silent = 0
  })
  // each is answered, also for a member that reads no answers
  ws.on('ping', () => {
    connection.session.budget -= 1
    if (connection.session.budget < 0) ws.terminate()
  })
  ws.on('message', (data, isBinary) => {
    connection.queued += 1
    if (connection.queued > QUEUED_MAX) {
      ws.terminate()
      return
    }
    const text = isBinary ? undefined : textOf(data)
    connection.tail = connection.tail.then(() => take(options, connection, text))
  })
  return connection
}

/** Obeys one frame; never rejects. */
async function take(options: FeedOptions, connection: Connection, text: string | undefined): Promise<void> {
  const { clock, log } = options
  const { ws, session } = connection
  connection.queued -= 1
  if (ws.readyState !== ws.OPEN) return
  try {
    if (text === undefined) throw new MeshError('WIRE_MALFORMED', 'a feed frame is binary')
    connection.silent = 0
    await receive(options, session, text)
  } catch (error) {
    const problem = asMeshError(error)
    const { code, message: detail } = problem
    log[code === 'INTERNAL' ? 'error' : 'warn']('feed.refused', {
      id: session.member.id,
      ...errorFields(problem),
    })
    session.send({ type: 'problem', code, detail })
    // an announcement that is not allowed leaves the rest of the feed as it was; everything else ends it
    if (code === 'ENDPOINT_NOT_ALLOWED') return
    const isWithdrawn = code === 'PEER_REVOKED' || code === 'AGENT_SUSPENDED'
    end(clock, ws, isWithdrawn ? CLOSE.revoked : CLOSE.policy, code)
  }
}

function heartbeat({ world, clock, log }: FeedOptions, connection: Connection): void {
  const { ws, session } = connection
  connection.silent += 1
  session.budget = REQUESTS_A_BEAT
  if (connection.silent > SILENT_BEATS_MAX) {
    log.warn('feed.silent', { id: session.member.id })
    ws.terminate()
    return
  }
  if (ws.readyState === ws.OPEN) ws.ping()
  // before the hello is answered, a position would only make the member ask again
  if (session.told !== null)
    session.send({ type: 'heartbeat', position: world.position(), sentAt: clock.now() })
}

function send(log: Log, { ws, session }: Connection, frame: FromCa): void {
  if (ws.readyState !== ws.OPEN) return
  ws.send(JSON.stringify(frame))
  if (ws.bufferedAmount <= BUFFER_MAX_BYTES) return
  log.warn('feed.slow', { id: session.member.id, waitingBytes: ws.bufferedAmount })
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
