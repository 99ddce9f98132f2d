// The member's end of the CA's feed: keeps one connection, applies what it says to the world, and acknowledges only when the world is
// replaced and written down, and the connections it condemns are destroyed. After a rotation the next connection is up before the last one ends.

import { type Clock, openWake } from '../../host/clock.js'
import { errorFields, type Log } from '../../host/log.js'
import { isMeshError, MeshError, type MeshErrorCode } from '../../mesh/errors.js'
import type { FromCa, FromMember, Position, View } from '../../mesh/wire/feed.js'
import { openBackoff } from '../backoff.js'
import type { CaTls } from '../identity/ca-client.js'
import type { Credentials, Identity } from '../identity/credentials.js'
import { dialFeed, type FeedConnection } from './feed-connection.js'
import { knownFrames } from './known.js'
import type { WorldOwner } from './world-holder.js'

export interface Feed {
  /** Announces where this instance's ingress is reached, now and after every reconnect. `host` null: as the CA sees us. */
  advertise(endpoint: { readonly host: string | null; readonly port: number }): void
  /** Takes the announcement back; resolves when it is sent or no feed is there to send it to. */
  withdraw(): Promise<void>
  /** The CA has spoken on this connection, and has not been silent too long since. */
  readonly connected: boolean
  /** Why the CA and this member will not come together by waiting; none while they are, or may be again by themselves. For a health door. */
  readonly troubles: readonly MeshErrorCode[]
}

export interface FeedOptions {
  /** TLS options of the member door for this identity, by the world of the moment. */
  readonly door: (identity: Identity) => CaTls & { readonly cert: string; readonly key: string }
  readonly credentials: Credentials
  readonly world: WorldOwner
  readonly clock: Clock
  readonly log: Log
}

export interface RunningFeed extends Feed {
  /** Keeps the feed up until the signal. */
  run(signal: AbortSignal): Promise<void>
}

const RETRY_FIRST_MS = 250
const RETRY_CAP_MS = 10_000
const CAPABILITIES: string[] = []

/** A connection on which the CA has spoken. */
interface Live {
  readonly connection: FeedConnection
  readonly identity: Identity
}

export function openFeed(options: FeedOptions): RunningFeed {
  const { credentials, clock, log } = options
  const backoff = openBackoff({ firstMs: RETRY_FIRST_MS, capMs: RETRY_CAP_MS })
  let live: Live | undefined
  const failures = openFailures(log)
  const retry = openWake(clock)
  let wake = (): void => undefined
  credentials.onRotate(() => wake())

  const announced = openAnnounced()
  const untilNeeded = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (signal.aborted || live?.identity !== credentials.current()) {
        resolve()
        return
      }
      signal.addEventListener('abort', () => resolve(), { once: true })
      wake = resolve
    })
  const swapIn = (next: Live): void => {
    live?.connection.close()
    live = next
    failures.over()
    backoff.reset()
    log.info('feed.connected', { serial: next.identity.svid.serial })
    void next.connection.ended.then((reason) => {
      if (live !== next) return
      live = undefined
      log.warn('feed.lost', reason === undefined ? {} : errorFields(reason))
      wake()
    })
  }

  const failed = (error: unknown, signal: AbortSignal): Promise<void> => {
    if (signal.aborted) return Promise.resolve()
    const retryInMs = backoff.next()
    failures.tell(error, retryInMs)
    if (isWithdrawal(error)) options.world.denySelf()
    // a new identity is tried at once
    wake = () => retry.call()
    return retry.pause(retryInMs, signal)
  }

  return {
    get connected() {
      return live !== undefined
    },
    get troubles() {
      return failures.troubles()
    },
    advertise: announced.set,
    withdraw: announced.withdraw,
    async run(signal) {
      while (!signal.aborted) {
        try {
          swapIn(await connect({ ...options, announce: announced.on }, signal))
          await untilNeeded(signal)
        } catch (error) {
          await failed(error, signal)
        }
      }
      const last = live
      live = undefined
      last?.connection.close()
      await last?.connection.ended
    },
  }
}

type Endpoint = Parameters<Feed['advertise']>[0]

/** Where the ingress is, on every connection that is up: at a rotation there are two. */
function openAnnounced(): {
  readonly on: (connection: FeedConnection) => void
  readonly set: (endpoint: Endpoint) => void
  readonly withdraw: () => Promise<void>
} {
  let endpoint: Endpoint | undefined
  const open = new Set<FeedConnection>()
  return {
    on(connection) {
      open.add(connection)
      void connection.ended.then(() => open.delete(connection))
      if (endpoint !== undefined) connection.send({ type: 'advertise', ...endpoint })
    },
    set(announced) {
      endpoint = announced
      for (const connection of open) connection.send({ type: 'advertise', ...announced })
    },
    async withdraw() {
      endpoint = undefined
      await Promise.all([...open].map((connection) => connection.flush({ type: 'withdraw' })))
    },
  }
}

/** What waiting will not mend is said once as what it is, and what to do; then only that it was tried again. */
function openFailures(log: Log): {
  readonly tell: (error: unknown, retryInMs: number) => void
  readonly over: () => void
  readonly troubles: () => readonly MeshErrorCode[]
} {
  let troubles: readonly MeshErrorCode[] = []
  return {
    tell(error, retryInMs) {
      const final = isMeshError(error) && !error.spec.retryable ? error : undefined
      const isNew = final !== undefined && !troubles.includes(final.code)
      troubles = final === undefined ? [] : [final.code]
      const hint = isNew ? { hint: final.hint } : {}
      log[isNew ? 'error' : 'warn']('feed.failed', { ...errorFields(error), ...hint, retryInMs })
    },
    over() {
      troubles = []
    },
    troubles: () => troubles,
  }
}

const isWithdrawal = (error: unknown): boolean =>
  isMeshError(error) && ['PEER_REVOKED', 'AGENT_REVOKED', 'AGENT_SUSPENDED'].includes(error.code)

/** Dials, says hello, and waits until the world stands where the CA does. */
async function connect(
  options: FeedOptions & { announce: (connection: FeedConnection) => void },
  signal: AbortSignal,
): Promise<Live> {
  const { credentials, door, world, clock, log } = options
  const identity = credentials.current()
  let caughtUp = (): void => undefined
  const first = new Promise<void>((resolve) => {
    caughtUp = resolve
  })
  const talk = { world, log, isAwaited: true }
  const connection = await dialFeed({
    tls: door(identity),
    clock,
    signal,
    onOpen: (opened) => {
      opened.send({ type: 'hello', position: world.current().position, capabilities: CAPABILITIES })
      options.announce(opened)
    },
    onAlarm: world.alarm,
    onFrame: (frame, { send }) => {
      applyFrame(frame, talk, send)
      if (frame.type !== 'problem' && isAt(world, frame.position)) caughtUp()
    },
  })
  const stop = (): void => connection.close()
  signal.addEventListener('abort', stop, { once: true })
  try {
    await Promise.race([first, connection.ended.then(throwEnd)])
  } finally {
    signal.removeEventListener('abort', stop)
  }
  return { connection, identity }
}

function throwEnd(reason: MeshError | undefined): never {
  throw reason ?? new MeshError('CA_UNREACHABLE', 'the feed was closed before the CA spoke')
}

/** One connection's exchange. `isAwaited`: a snapshot was asked for, by hello or resync, and has not come yet. */
interface Talk {
  readonly world: WorldOwner
  readonly log: Log
  isAwaited: boolean
  /** Connections cut for what is not acknowledged yet, because it could not be written down; undefined: nothing is owed. */
  owed?: number | undefined
}

function applyFrame(frame: FromCa, talk: Talk, send: (frame: FromMember) => void): void {
  const { world, log } = talk
  if (frame.type === 'problem') {
    log.error('feed.problem', { code: frame.code, detail: frame.detail })
    return
  }
  world.heard()
  const cut = cutBy(frame, world)
  if (cut !== undefined) {
    talk.isAwaited = false
    if (frame.type !== 'heartbeat' || talk.owed !== undefined) {
      talk.owed = (talk.owed ?? 0) + cut
      if (world.keep()) {
        send({ type: 'ack', position: frame.position, cut: talk.owed })
        talk.owed = undefined
      }
    }
    if (frame.type === 'snapshot' && frame.returns) tellKnown(frame.view, talk, send)
  } else if (!talk.isAwaited) {
    talk.isAwaited = true
    send({ type: 'resync' })
  }
}

/** The CA was restored from a backup, and asks for what its view does not say. */
function tellKnown(view: View, { world, log }: Talk, send: (frame: FromMember) => void): void {
  const frames = knownFrames(world.current().revocations, view)
  for (const frame of frames) send(frame)
  log.warn('feed.returned-revocations', { frames: frames.length })
}

/** Connections cut by the frame; undefined when the world does not stand where the frame needs it. */
function cutBy(frame: Exclude<FromCa, { type: 'problem' }>, world: WorldOwner): number | undefined {
  if (frame.type === 'heartbeat') return isAt(world, frame.position) ? 0 : undefined
  if (frame.type === 'snapshot') return world.replace(frame.view, frame.position, frame.returns)
  const applied = world.change(frame.from, frame.position, frame.changes)
  if (applied === 'gap') return undefined
  return applied === 'known' ? 0 : applied.cut
}

function isAt(world: WorldOwner, { generation, epoch }: Position): boolean {
  const at = world.current().position
  return at !== null && at.generation === generation && at.epoch === epoch
}
