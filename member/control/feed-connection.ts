// One WebSocket to the CA's feed, over the member door: the only place of a member that knows ws. It moves frames and ends on
// silence; what frames mean is for the feed client.

import type { IncomingMessage } from 'node:http'
import { connect } from 'node:tls'
import { WebSocket } from 'ws'
import type { Clock, Timer } from '../../host/clock.js'
import { asMeshError, isMeshError, MeshError } from '../../mesh/errors.js'
import {
  FEED_FRAME_MAX_BYTES,
  FEED_HEARTBEAT_MS,
  FEED_PATH,
  FEED_PROTOCOL,
  type FromCa,
  type FromMember,
  readFromCa,
} from '../../mesh/wire/feed.js'
import { errorOfProblem } from '../../mesh/wire/problem.js'
import { type CaTls, isVerification, refusedByTls } from '../identity/ca-client.js'

export interface FeedConnection {
  readonly send: (frame: FromMember) => void
  /** As `send`; resolves when it has left this process, cannot, or has not within a second. */
  readonly flush: (frame: FromMember) => Promise<void>
  /** Ends it: politely, and by force a second later. */
  readonly close: () => void
  /** Resolves when it is over: the reason, or undefined when `close` was the reason. */
  readonly ended: Promise<MeshError | undefined>
}

export interface Dial {
  readonly tls: CaTls & { readonly cert: string; readonly key: string }
  readonly clock: Clock
  /** Ends the dialling; a connection that is up is its owner's to close. */
  readonly signal: AbortSignal
  /** Called before any frame can arrive. */
  readonly onOpen: (connection: FeedConnection) => void
  /** A critical frame of a newer release came: what is known may no longer be what holds. */
  readonly onAlarm: () => void
  /** Called for each frame in order; an error it throws ends the connection. */
  readonly onFrame: (frame: FromCa, connection: FeedConnection) => void
}

const HANDSHAKE_MS = 10_000
const CLOSE_MS = 1000
const FLUSH_MS = 1000
/** Two heartbeats and a half. */
const SILENCE_MS = FEED_HEARTBEAT_MS * 2.5
const MAX_PROBLEM_BYTES = 64 * 1024

/**
 * @throws MeshError CA_UNREACHABLE | CA_IDENTITY_WRONG, or the CA's refusal
 */
export function dialFeed(dial: Dial): Promise<FeedConnection> {
  const { tls, signal } = dial
  return new Promise((resolve, reject) => {
    const host = tls.host.includes(':') ? `[${tls.host}]` : tls.host
    const socket = new WebSocket(`wss://${host}:${tls.port}${FEED_PATH}`, FEED_PROTOCOL, {
      createConnection: () => connect({ ...tls }),
      handshakeTimeout: HANDSHAKE_MS,
      maxPayload: FEED_FRAME_MAX_BYTES,
      perMessageDeflate: false,
      followRedirects: false,
    })
    const stop = (): void => socket.terminate()
    const refuse = (error: unknown): void => {
      signal.removeEventListener('abort', stop)
      reject(feedError(error))
    }
    signal.addEventListener('abort', stop, { once: true })
    socket.once('error', refuse)
    socket.once('unexpected-response', (_request, response: IncomingMessage) => {
      readProblem(response).then(refuse, refuse)
    })
    socket.once('open', () => {
      signal.removeEventListener('abort', stop)
      socket.off('error', refuse)
      const connection = openConnection(socket, dial)
      dial.onOpen(connection)
      resolve(connection)
    })
  })
}

function openConnection(socket: WebSocket, { clock, onAlarm, onFrame }: Dial): FeedConnection {
  let reason: MeshError | undefined
  let silence: Timer | undefined

  const fail = (error: unknown): void => {
    reason ??= feedError(error)
    socket.terminate()
  }
  const listen = (): void => {
    silence?.cancel()
    silence = clock.after(SILENCE_MS, () =>
      fail(new MeshError('CA_UNREACHABLE', `the feed was silent for ${SILENCE_MS} ms`)),
    )
  }
  listen()
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    listen()
    try {
      if (isBinary) throw new MeshError('WIRE_MALFORMED', 'the CA sent a binary frame')
      const frame = readFromCa(data.toString('utf8'))
      if (frame !== undefined) onFrame(frame, connection)
    } catch (error) {
      if (isMeshError(error, 'WIRE_VERSION')) onAlarm()
      else fail(asMeshError(error))
    }
  })
  socket.on('error', fail)

  let closing = false
  const ended = new Promise<MeshError | undefined>((resolve) => {
    socket.once('close', (code: number) => {
      silence?.cancel()
      const lost = new MeshError('CA_UNREACHABLE', `the CA closed the feed (${code})`)
      resolve(reason ?? (closing ? undefined : lost))
    })
  })
  const connection: FeedConnection = {
    ended,
    send: (frame) => socket.send(JSON.stringify(frame)),
    flush: (frame) =>
      new Promise((resolve) => {
        const timer = clock.after(FLUSH_MS, resolve)
        socket.send(JSON.stringify(frame), () => {
          timer.cancel()
          resolve()
        })
      }),
    close() {
      closing = true
      socket.close(1000)
      const timer = clock.after(CLOSE_MS, () => socket.terminate())
      void ended.then(() => timer.cancel())
    },
  }
  return connection
}

async function readProblem(response: IncomingMessage): Promise<MeshError> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_PROBLEM_BYTES) break
    chunks.push(chunk)
  }
  return errorOfProblem(Buffer.concat(chunks))
}

function feedError(error: unknown): MeshError {
  if (isMeshError(error)) return error
  if (isVerification(error)) return refusedByTls(error, 'member')
  const why = error instanceof Error ? error.message : 'no reason given'
  return new MeshError('CA_UNREACHABLE', `the feed of the CA failed: ${why}`, { cause: error })
}
