// The other end of an HTTP/2 connection by hand: frames as bytes, right or wrong, and the frames that come back; and a connection of ours in
// memory, whose turns the test makes itself. Field lists are coded here, plainly, so that anything can be said.

import { ClientConnection, ServerConnection } from '../../sidecar/http2/connection.js'
import {
  type ConnectionEvents,
  type ConnectionOptions,
  DEFAULT_LIMITS,
  type Limits,
  type ServerEvents,
} from '../../sidecar/http2/contract.js'
import { FLAG, FRAME } from '../../sidecar/http2/frames.js'
import { HpackDecoder } from '../../sidecar/http2/hpack/decoder.js'

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
export const { END_STREAM, END_HEADERS, ACK, PADDED, PRIORITY } = FLAG

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly streamId: number
  readonly payload: Buffer
}

type Fields = readonly (readonly [name: string, value: string])[]

export const GET: Fields = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'tools.mesh'],
]
export const POST: Fields = [[':method', 'POST'], ...GET.slice(1)]

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array | string): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload
  const bytes = Buffer.alloc(9 + body.length)
  bytes.writeUIntBE(body.length, 0, 3)
  bytes[3] = type
  bytes[4] = flags
  bytes.writeUInt32BE(streamId, 5)
  bytes.set(body, 9)
  return bytes
}

/** Literals without indexing, names and values as they are. */
export const block = (fields: Fields): Buffer =>
  Buffer.concat(fields.flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]))

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes])
  const prefix = [127]
  let rest = bytes.length - 127
  for (; rest >= 128; rest >>>= 7) prefix.push(128 | (rest & 127))
  return Buffer.concat([Buffer.from([...prefix, rest]), bytes])
}

export const headers = (streamId: number, fields: Fields, flags: number = END_STREAM | END_HEADERS): Buffer =>
  frame(FRAME.HEADERS, flags, streamId, block(fields))
export const data = (streamId: number, payload: Uint8Array | string, flags: number = END_STREAM): Buffer =>
  frame(FRAME.DATA, flags, streamId, payload)
export const reset = (streamId: number, code: number): Buffer =>
  frame(FRAME.RST_STREAM, 0, streamId, uint32(code))
export const windowUpdate = (streamId: number, increment: number): Buffer =>
  frame(FRAME.WINDOW_UPDATE, 0, streamId, uint32(increment))
export const ping = (payload: string, flags: number = 0): Buffer => frame(FRAME.PING, flags, 0, payload)
export const priority = (streamId: number, parent: number): Buffer =>
  frame(FRAME.PRIORITY, 0, streamId, Buffer.concat([uint32(parent), Buffer.of(255)]))
export const goaway = (lastStreamId: number, code: number): Buffer =>
  frame(FRAME.GOAWAY, 0, 0, Buffer.concat([uint32(lastStreamId), uint32(code)]))
export const continuation = (streamId: number, fragment: Uint8Array, flags: number = END_HEADERS): Buffer =>
  frame(FRAME.CONTINUATION, flags, streamId, fragment)

export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(pairs.length * 6)
  pairs.forEach(([id, value], index) => {
    payload.writeUInt16BE(id, index * 6)
    payload.writeUInt32BE(value, index * 6 + 2)
  })
  return frame(FRAME.SETTINGS, 0, 0, payload)
}

export const SETTINGS_ACK = frame(FRAME.SETTINGS, ACK, 0, '')

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** What a peer says first, whichever it is: its SETTINGS, and the acknowledgement of ours. */
export const HELLO = Buffer.concat([settings(), SETTINGS_ACK])

export function parseFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = []
  for (let at = 0; at + 9 <= bytes.length; ) {
    const end = at + 9 + bytes.readUIntBE(at, 3)
    const [type = 0, flags = 0] = bytes.subarray(at + 3, at + 5)
    frames.push({ type, flags, streamId: bytes.readUInt32BE(at + 5), payload: bytes.subarray(at + 9, end) })
    at = end
  }
  return frames
}

/** A connection of ours with its far end in the test's hands. */
export class Bench<Connection extends ServerConnection | ClientConnection> {
  readonly connection: Connection
  /** Writes that were handed over, each copied. */
  readonly writes: Buffer[] = []
  nowMs = 0
  isClosed = false
  /** While true, nothing that is written is ever taken: a peer that does not read. */
  isStuck = false
  #isWriting = false
  #isScheduled = false
  #seen = 0

  constructor(limits: Partial<Limits>, open: (options: ConnectionOptions) => Connection) {
    this.connection = open({
      wire: {
        write: (bytes) => {
          if (this.#isWriting) throw new Error('a second write before the first was taken')
          this.#isWriting = true
          this.writes.push(Buffer.from(bytes))
        },
        schedule: () => {
          this.#isScheduled = true
        },
        close: () => {
          this.isClosed = true
        },
      },
      limits: { ...DEFAULT_LIMITS, ...limits },
      now: () => this.nowMs,
    })
  }

  /** Feeds bytes, then ends the turn, and all that follow from it. */
  feed(...parts: readonly Uint8Array[]): this {
    for (const part of parts) this.connection.feed(Buffer.from(part))
    return this.turn()
  }

  turn(): this {
    while (this.#isScheduled || (this.#isWriting && !this.isStuck)) {
      if (this.#isScheduled) {
        this.#isScheduled = false
        this.connection.flush()
      }
      if (this.#isWriting && !this.isStuck) {
        this.#isWriting = false
        this.connection.written()
      }
    }
    return this
  }

  /** Frames since the last call; a client's preface is left out. */
  frames(): Frame[] {
    const bytes = Buffer.concat(this.writes.slice(this.#seen))
    this.#seen = this.writes.length
    return parseFrames(bytes.indexOf(PREFACE) === 0 ? bytes.subarray(PREFACE.length) : bytes)
  }

  /** All frames of one type since the last call of either. */
  framesOf(type: number): Frame[] {
    return this.frames().filter((sent) => sent.type === type)
  }
}

export const openServer = (events: ServerEvents, limits: Partial<Limits> = {}): Bench<ServerConnection> =>
  new Bench(limits, (options) => new ServerConnection(options, events, 'extended-connect'))

export const openClient = (events: ConnectionEvents, limits: Partial<Limits> = {}): Bench<ClientConnection> =>
  new Bench(limits, (options) => new ClientConnection(options, events))

/** The fields of a HEADERS frame of ours, where no steady field was said a third time: each frame is decoded by itself. */
export const fieldsOf = ({ payload }: Frame): string[] =>
  new HpackDecoder(1 << 20).decode(payload, 0, payload.length) ?? []

export const codeOf = ({ type, payload }: Frame): number =>
  payload.readUInt32BE(type === FRAME.GOAWAY ? 4 : 0)
