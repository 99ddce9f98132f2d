// What a conformance case is: the bytes a client sends after the handshake, in steps between which the server may answer, and what must come
// back. The ids and titles are those of h2spec (github.com/summerwind/h2spec), so that the lists can be laid side by side.

import { type H2, nameOfCode } from '../../../../../sidecar/http/stream-error.js'
import { FRAME } from '../../../../../sidecar/http2/frames.js'
import {
  ACK,
  codeOf,
  END_HEADERS,
  END_STREAM,
  type Frame,
  GET,
  headers,
} from '../../../../support/http2-raw.js'

export interface Expectation {
  readonly says: string
  readonly holds: (frames: readonly Frame[]) => boolean
}

export interface Case {
  /** `http2/6.9.1/2`: h2spec's group, section and number. */
  readonly id: string
  readonly title: string
  /** Without preface, SETTINGS and ACK, unless `isWhole`. */
  readonly steps: readonly Buffer[]
  readonly expects: Expectation
  readonly isWhole?: true
}

type Code = keyof typeof H2

/** GOAWAY with this very code; h2spec would also be content with a closed connection. */
export const connectionError = (...codes: readonly Code[]): Expectation => ({
  says: `GOAWAY ${codes.join(' or ')}`,
  holds: (frames) => frames.some((sent) => sent.type === FRAME.GOAWAY && has(codes, sent)),
})

/** RST_STREAM with this code, or a connection error. */
export const streamError = (...codes: readonly Code[]): Expectation => ({
  says: `RST_STREAM or GOAWAY ${codes.join(' or ')}`,
  holds: (frames) =>
    frames.some((sent) => (sent.type === FRAME.RST_STREAM || sent.type === FRAME.GOAWAY) && has(codes, sent)),
})

const has = (codes: readonly Code[], sent: Frame): boolean =>
  (codes as readonly string[]).includes(nameOfCode(codeOf(sent)))

export const answered: Expectation = {
  says: 'HEADERS on stream 1',
  holds: (frames) => frames.some(({ type, streamId }) => type === FRAME.HEADERS && streamId === 1),
}

export const dataOf = (length: number): Expectation => ({
  says: `DATA of ${length}`,
  holds: (frames) => frames.find(({ type }) => type === FRAME.DATA)?.payload.length === length,
})

export const someData: Expectation = {
  says: 'DATA',
  holds: (frames) => frames.some(({ type }) => type === FRAME.DATA),
}

export const pong = (payload: string): Expectation => ({
  says: 'the ACK of PING',
  holds: (frames) =>
    frames.some(
      (sent) => sent.type === FRAME.PING && sent.flags === ACK && sent.payload.toString('latin1') === payload,
    ),
})

/** PING is answered, or the connection is being closed in order. */
export const alive = (payload: string): Expectation => ({
  says: 'the ACK of PING, or no error',
  holds: (frames) =>
    pong(payload).holds(frames) || frames.every((sent) => sent.type !== FRAME.GOAWAY || codeOf(sent) === 0),
})

export const acknowledged: Expectation = {
  says: 'the ACK of SETTINGS',
  // One is for the handshake's own.
  holds: (frames) =>
    frames.filter(({ type, flags }) => type === FRAME.SETTINGS && flags === ACK).length === 2,
}

export const settingsFirst: Expectation = {
  says: 'SETTINGS first',
  holds: ([first]) => first?.type === FRAME.SETTINGS && first.flags === 0,
}

export const ZEROS = '\0\0\0\0\0\0\0\0'
export const PAYLOAD = 'h2spec\0\0'

/** A request without a body; and one whose body is still to come. */
export const REQUEST = headers(1, GET)
export const OPEN = END_HEADERS
export const CLOSED = END_HEADERS | END_STREAM
