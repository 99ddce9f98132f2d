// SETTINGS (RFC 9113 §6.5, RFC 8441 §3): what each side has said of itself, read strictly, written whole. Pure.

import { H2, type StreamError } from '../http/stream-error.js'
import { violation } from './errors.js'
import {
  DEFAULT_MAX_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  LARGEST_MAX_FRAME_BYTES,
  LARGEST_WINDOW_BYTES,
  readUint32,
} from './frames.js'
import { DEFAULT_TABLE_BYTES } from './hpack/decoder.js'

export interface Settings {
  readonly headerTableBytes: number
  readonly maxConcurrentStreams: number
  readonly initialWindowBytes: number
  readonly maxFrameBytes: number
  readonly maxHeaderListBytes: number
  readonly enableConnectProtocol: boolean
}

/** What holds of a peer that has not spoken yet. */
export const INITIAL_SETTINGS: Settings = {
  headerTableBytes: DEFAULT_TABLE_BYTES,
  maxConcurrentStreams: 0xffff_ffff,
  initialWindowBytes: DEFAULT_WINDOW_BYTES,
  maxFrameBytes: DEFAULT_MAX_FRAME_BYTES,
  maxHeaderListBytes: 0xffff_ffff,
  enableConnectProtocol: false,
}

export type Role = 'client' | 'server'

export const SETTING_BYTES = 6

const ID = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
  ENABLE_CONNECT_PROTOCOL: 8,
  NO_RFC7540_PRIORITIES: 9,
} as const

/**
 * The peer's settings after a SETTINGS frame. The last of repeated ones counts, so that a frame costs one change, however long it is.
 *
 * @param from the role of the peer
 * @throws StreamError PROTOCOL_ERROR | FLOW_CONTROL_ERROR
 */
export function readSettings(before: Settings, payload: Buffer, from: Role): Settings {
  const after: { -readonly [Key in keyof Settings]: Settings[Key] } = { ...before }
  for (let at = 0; at < payload.length; at += SETTING_BYTES) {
    const value = readUint32(payload, at + 2)
    const id = ((payload[at] ?? 0) << 8) | (payload[at + 1] ?? 0)
    checkBounds(id, value, from)
    switch (id) {
      case ID.HEADER_TABLE_SIZE:
        after.headerTableBytes = value
        break
      case ID.MAX_CONCURRENT_STREAMS:
        after.maxConcurrentStreams = value
        break
      case ID.INITIAL_WINDOW_SIZE:
        after.initialWindowBytes = value
        break
      case ID.MAX_FRAME_SIZE:
        after.maxFrameBytes = value
        break
      case ID.MAX_HEADER_LIST_SIZE:
        after.maxHeaderListBytes = value
        break
      case ID.ENABLE_CONNECT_PROTOCOL:
        after.enableConnectProtocol = value === 1
        break
    }
  }
  // RFC 8441 §3: who has once allowed it may not take it back.
  if (before.enableConnectProtocol && !after.enableConnectProtocol)
    throw outOfBounds('ENABLE_CONNECT_PROTOCOL')
  return after
}

function checkBounds(id: number, value: number, from: Role): void {
  // A server may only say that it does not want what it can never get (RFC 9113 §6.5.2).
  if (id === ID.ENABLE_PUSH && value > (from === 'client' ? 1 : 0)) throw outOfBounds('ENABLE_PUSH')
  if (id === ID.INITIAL_WINDOW_SIZE && value > LARGEST_WINDOW_BYTES)
    throw violation(H2.FLOW_CONTROL_ERROR, 'INITIAL_WINDOW_SIZE is out of bounds')
  if (id === ID.MAX_FRAME_SIZE && (value < DEFAULT_MAX_FRAME_BYTES || value > LARGEST_MAX_FRAME_BYTES))
    throw outOfBounds('MAX_FRAME_SIZE')
  if (id === ID.ENABLE_CONNECT_PROTOCOL && value > 1) throw outOfBounds('ENABLE_CONNECT_PROTOCOL')
  // Priorities are ignored of either kind (RFC 9218 §2.1).
  if (id === ID.NO_RFC7540_PRIORITIES && value > 1) throw outOfBounds('NO_RFC7540_PRIORITIES')
}

/** The payload of our SETTINGS. */
export function formatSettings(settings: Settings, role: Role): Buffer {
  const pairs: (readonly [id: number, value: number])[] = [
    [ID.HEADER_TABLE_SIZE, settings.headerTableBytes],
    [ID.INITIAL_WINDOW_SIZE, settings.initialWindowBytes],
    [ID.MAX_FRAME_SIZE, settings.maxFrameBytes],
    [ID.MAX_HEADER_LIST_SIZE, settings.maxHeaderListBytes],
  ]
  if (role === 'client') pairs.push([ID.ENABLE_PUSH, 0])
  else pairs.push([ID.MAX_CONCURRENT_STREAMS, settings.maxConcurrentStreams])
  if (role === 'server' && settings.enableConnectProtocol) pairs.push([ID.ENABLE_CONNECT_PROTOCOL, 1])
  const payload = Buffer.alloc(pairs.length * SETTING_BYTES)
  pairs.forEach(([id, value], index) => {
    payload.writeUInt16BE(id, index * SETTING_BYTES)
    payload.writeUInt32BE(value, index * SETTING_BYTES + 2)
  })
  return payload
}

const outOfBounds = (name: string): StreamError => violation(H2.PROTOCOL_ERROR, `${name} is out of bounds`)
