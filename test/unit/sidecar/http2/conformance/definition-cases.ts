// h2spec, "Hypertext Transfer Protocol Version 2", sections 6 to 6.8.

import { FRAME } from '../../../../../sidecar/http2/frames.js'
import {
  ACK,
  block,
  continuation,
  data,
  END_HEADERS,
  END_STREAM,
  frame,
  GET,
  headers,
  PADDED,
  POST,
  ping,
  priority,
  reset,
  settings,
} from '../../../../support/http2-raw.js'
import {
  acknowledged,
  type Case,
  connectionError,
  dataOf,
  OPEN,
  PAYLOAD,
  pong,
  REQUEST,
  streamError,
  ZEROS,
} from './case.js'

const whole = block(GET)
/** A block that only CONTINUATION may follow. */
const unended = frame(FRAME.HEADERS, 0, 1, whole)
const more = block([['x-dummy0', 'x'.repeat(100)]])
const noWindow = settings([4, 0])
const protocolError = connectionError('PROTOCOL_ERROR')

export const DEFINITIONS: readonly Case[] = [
  {
    id: 'http2/6.1/1',
    title: 'Sends a DATA frame with 0x0 stream identifier',
    steps: [data(0, 'test')],
    expects: protocolError,
  },
  {
    id: 'http2/6.1/2',
    title: 'Sends a DATA frame on the stream that is not in "open" or "half-closed (local)" state',
    steps: [noWindow, headers(1, POST), data(1, 'test')],
    expects: streamError('STREAM_CLOSED'),
  },
  {
    id: 'http2/6.1/3',
    title: 'Sends a DATA frame with invalid pad length',
    steps: [headers(1, [...POST, ['content-length', '4']], OPEN), data(1, '\x06Test', END_STREAM | PADDED)],
    expects: protocolError,
  },
  {
    id: 'http2/6.2/1',
    title: 'Sends a HEADERS frame without the END_HEADERS flag, and a PRIORITY frame',
    steps: [unended, priority(1, 0), continuation(1, more)],
    expects: protocolError,
  },
  {
    id: 'http2/6.2/2',
    title: 'Sends a HEADERS frame to another stream while sending a HEADERS frame',
    steps: [unended, headers(3, GET), continuation(1, more)],
    expects: protocolError,
  },
  {
    id: 'http2/6.2/3',
    title: 'Sends a HEADERS frame with 0x0 stream identifier',
    steps: [headers(0, GET)],
    expects: protocolError,
  },
  {
    id: 'http2/6.2/4',
    title: 'Sends a HEADERS frame with invalid pad length',
    steps: [
      frame(
        FRAME.HEADERS,
        END_HEADERS | END_STREAM | PADDED,
        1,
        Buffer.concat([Buffer.of(whole.length + 2), whole]),
      ),
    ],
    expects: streamError('PROTOCOL_ERROR'),
  },
  {
    id: 'http2/6.3/1',
    title: 'Sends a PRIORITY frame with 0x0 stream identifier',
    steps: [priority(0, 0)],
    expects: protocolError,
  },
  {
    id: 'http2/6.3/2',
    title: 'Sends a PRIORITY frame with a length other than 5 octets',
    steps: [noWindow, REQUEST, frame(FRAME.PRIORITY, 0, 1, '\x80\0\0\x01')],
    expects: streamError('FRAME_SIZE_ERROR'),
  },
  {
    id: 'http2/6.4/1',
    title: 'Sends a RST_STREAM frame with 0x0 stream identifier',
    steps: [reset(0, 8)],
    expects: protocolError,
  },
  {
    id: 'http2/6.4/2',
    title: 'Sends a RST_STREAM frame on a idle stream',
    steps: [reset(1, 8)],
    expects: protocolError,
  },
  {
    id: 'http2/6.4/3',
    title: 'Sends a RST_STREAM frame with a length other than 4 octets',
    steps: [REQUEST, frame(FRAME.RST_STREAM, 0, 1, '\0\0\0')],
    expects: streamError('FRAME_SIZE_ERROR'),
  },
  {
    id: 'http2/6.5/1',
    title: 'Sends a SETTINGS frame with ACK flag and payload',
    steps: [frame(FRAME.SETTINGS, ACK, 0, '\0')],
    expects: connectionError('FRAME_SIZE_ERROR'),
  },
  {
    id: 'http2/6.5/2',
    title: 'Sends a SETTINGS frame with a stream identifier other than 0x0',
    steps: [frame(FRAME.SETTINGS, 0, 1, '\0\x03\0\0\0\x64')],
    expects: protocolError,
  },
  {
    id: 'http2/6.5/3',
    title: 'Sends a SETTINGS frame with a length other than a multiple of 6 octets',
    steps: [frame(FRAME.SETTINGS, 0, 0, '\0\x03\0')],
    expects: streamError('PROTOCOL_ERROR', 'FRAME_SIZE_ERROR'),
  },
  ...(
    [
      [1, 'SETTINGS_ENABLE_PUSH (0x2): Sends the value other than 0 or 1', 2, 2, 'PROTOCOL_ERROR'],
      [
        2,
        'SETTINGS_INITIAL_WINDOW_SIZE (0x4): Sends the value above the maximum flow control window size',
        4,
        0x8000_0000,
        'FLOW_CONTROL_ERROR',
      ],
      [
        3,
        'SETTINGS_MAX_FRAME_SIZE (0x5): Sends the value below the initial value',
        5,
        16_383,
        'PROTOCOL_ERROR',
      ],
      [
        4,
        'SETTINGS_MAX_FRAME_SIZE (0x5): Sends the value above the maximum allowed frame size',
        5,
        16_777_216,
        'PROTOCOL_ERROR',
      ],
    ] as const
  ).map(([number, title, setting, value, code]) => ({
    id: `http2/6.5.2/${number}`,
    title,
    steps: [settings([setting, value])],
    expects: connectionError(code),
  })),
  {
    id: 'http2/6.5.2/5',
    title: 'Sends a SETTINGS frame with unknown identifier',
    steps: [settings([0xff, 1]), ping(ZEROS)],
    expects: pong(ZEROS),
  },
  {
    id: 'http2/6.5.3/1',
    title: 'Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE',
    steps: [settings([4, 100], [4, 1]), REQUEST],
    expects: dataOf(1),
  },
  {
    id: 'http2/6.5.3/2',
    title: 'Sends a SETTINGS frame without ACK flag',
    steps: [settings([2, 0])],
    expects: acknowledged,
  },
  { id: 'http2/6.7/1', title: 'Sends a PING frame', steps: [ping(PAYLOAD)], expects: pong(PAYLOAD) },
  {
    id: 'http2/6.7/2',
    title: 'Sends a PING frame with ACK',
    steps: [ping('invalid\0', ACK), ping(PAYLOAD)],
    expects: pong(PAYLOAD),
  },
  {
    id: 'http2/6.7/3',
    title: 'Sends a PING frame with a stream identifier field value other than 0x0',
    steps: [frame(FRAME.PING, 0, 1, ZEROS)],
    expects: protocolError,
  },
  {
    id: 'http2/6.7/4',
    title: 'Sends a PING frame with a length field value other than 8',
    steps: [frame(FRAME.PING, 0, 0, '\0\0\0\0\0\0')],
    expects: connectionError('FRAME_SIZE_ERROR'),
  },
  {
    id: 'http2/6.8/1',
    title: 'Sends a GOAWAY frame with a stream identifier other than 0x0',
    steps: [frame(FRAME.GOAWAY, 0, 1, ZEROS)],
    expects: protocolError,
  },
]
