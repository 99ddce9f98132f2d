// What can be said of a frame from its header alone: sizes, stream or no stream, and where in a connection it stands (RFC 9113 §4.2, §6).
// Pure but for the few facts it is asked with.

import { H2, type StreamError } from '../http/stream-error.js'
import { violation } from './errors.js'
import type { FrameHeader } from './frame-reader.js'
import { FLAG, FRAME } from './frames.js'
import { SETTING_BYTES } from './settings.js'

/** Lengths that are fixed; of PRIORITY and RST_STREAM see below. */
const FIXED_BYTES: Readonly<Record<number, number>> = {
  [FRAME.PRIORITY]: 5,
  [FRAME.RST_STREAM]: 4,
  [FRAME.PING]: 8,
  [FRAME.WINDOW_UPDATE]: 4,
}

/** Frames that belong to a stream; the others but WINDOW_UPDATE belong to the connection. */
const OF_STREAM: ReadonlySet<number> = new Set([
  FRAME.DATA,
  FRAME.HEADERS,
  FRAME.PRIORITY,
  FRAME.RST_STREAM,
  FRAME.PUSH_PROMISE,
  FRAME.CONTINUATION,
])
const OF_CONNECTION: ReadonlySet<number> = new Set([FRAME.SETTINGS, FRAME.PING, FRAME.GOAWAY])

/**
 * @param openBlock the stream whose header block is not complete, 0 for none: only its CONTINUATION may come (RFC 9113 §6.10)
 * @throws StreamError PROTOCOL_ERROR | FRAME_SIZE_ERROR
 */
export function checkFrame(frame: FrameHeader, maxFrameBytes: number, openBlock: number): void {
  const { type, length, streamId } = frame
  if (length > maxFrameBytes) throw wrongSize('a frame is larger than SETTINGS allow')
  if (openBlock !== 0 && (type !== FRAME.CONTINUATION || streamId !== openBlock))
    throw wrong('another frame stands inside a header block')
  if (openBlock === 0 && type === FRAME.CONTINUATION) throw wrong('CONTINUATION continues nothing')
  if (streamId === 0 && OF_STREAM.has(type)) throw wrong('a frame of a stream names none')
  if (streamId !== 0 && OF_CONNECTION.has(type)) throw wrong('a frame of the connection names a stream')
  if (type === FRAME.PUSH_PROMISE) throw wrong('push was never allowed')
  checkLength(frame)
}

function checkLength({ type, length, flags }: FrameHeader): void {
  const fixed = FIXED_BYTES[type]
  // A PRIORITY of the wrong size is its stream's error (RFC 9113 §6.3), and nothing depends on it.
  if (fixed !== undefined && length !== fixed && type !== FRAME.PRIORITY)
    throw wrongSize('a frame has the wrong length')
  if (type === FRAME.GOAWAY && length < 8) throw wrongSize('a frame has the wrong length')
  if (type !== FRAME.SETTINGS) return
  if (length % SETTING_BYTES !== 0) throw wrongSize('SETTINGS has the wrong length')
  if ((flags & FLAG.ACK) !== 0 && length !== 0) throw wrongSize('the ACK of SETTINGS has a payload')
}

export const PRIORITY_BYTES = 5

const wrong = (why: string): StreamError => violation(H2.PROTOCOL_ERROR, why)
const wrongSize = (why: string): StreamError => violation(H2.FRAME_SIZE_ERROR, why)
