// h2spec, "Hypertext Transfer Protocol Version 2", sections 3 to 5.

import { FRAME } from '../../../../../sidecar/http2/frames.js'
import {
  block,
  continuation,
  data,
  END_HEADERS,
  END_STREAM,
  frame,
  GET,
  headers,
  POST,
  PREFACE,
  PRIORITY,
  ping,
  priority,
  reset,
  settings,
  uint32,
  windowUpdate,
} from '../../../../support/http2-raw.js'
import {
  answered,
  type Case,
  connectionError,
  OPEN,
  pong,
  REQUEST,
  settingsFirst,
  streamError,
  ZEROS,
} from './case.js'

const post = headers(1, POST, OPEN)
const whole = block(GET)
/** A block that only CONTINUATION may follow. */
const unended = frame(FRAME.HEADERS, 0, 1, whole)
const more = block([['x-dummy0', 'x'.repeat(100)]])
const unknownFrame = frame(0x16, 0, 0, ZEROS)
const noWindow = settings([4, 0])
const protocolError = connectionError('PROTOCOL_ERROR')

export const FRAMES: readonly Case[] = [
  {
    id: 'http2/3.5/1',
    title: 'Sends client connection preface',
    steps: [PREFACE, settings([4, 65_535])],
    expects: settingsFirst,
    isWhole: true,
  },
  {
    id: 'http2/3.5/2',
    title: 'Sends invalid connection preface',
    steps: [Buffer.from('INVALID CONNECTION PREFACE\r\n\r\n')],
    expects: protocolError,
    isWhole: true,
  },
  {
    id: 'http2/4.1/1',
    title: 'Sends a frame with unknown type',
    steps: [unknownFrame, ping(ZEROS)],
    expects: pong(ZEROS),
  },
  {
    id: 'http2/4.1/2',
    title: 'Sends a frame with undefined flag',
    steps: [ping(ZEROS, 0x16)],
    expects: pong(ZEROS),
  },
  {
    id: 'http2/4.1/3',
    title: 'Sends a frame with reserved field bit',
    steps: [frame(FRAME.PING, 0x16, 0x8000_0000, ZEROS)],
    expects: pong(ZEROS),
  },
  {
    id: 'http2/4.2/1',
    title: 'Sends a DATA frame with 2^14 octets in length',
    steps: [post, data(1, 'x'.repeat(16_384))],
    expects: answered,
  },
  {
    id: 'http2/4.2/2',
    title: 'Sends a large size DATA frame that exceeds the SETTINGS_MAX_FRAME_SIZE',
    steps: [post, data(1, 'x'.repeat(16_385))],
    expects: streamError('FRAME_SIZE_ERROR'),
  },
  {
    id: 'http2/4.2/3',
    title: 'Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE',
    steps: [headers(1, [...GET, ...['a', 'b', 'c', 'd', 'e'].map((n) => [n, 'x'.repeat(4000)] as const)])],
    expects: connectionError('FRAME_SIZE_ERROR'),
  },
  {
    id: 'http2/4.3/1',
    title: 'Sends invalid header block fragment',
    steps: [frame(FRAME.HEADERS, END_HEADERS | END_STREAM, 1, '\x40')],
    expects: connectionError('COMPRESSION_ERROR'),
  },
  {
    id: 'http2/4.3/2',
    title: 'Sends a PRIORITY frame while sending the header blocks',
    steps: [unended, priority(1, 0), continuation(1, more)],
    expects: protocolError,
  },
  {
    id: 'http2/4.3/3',
    title: 'Sends a HEADERS frame to another stream while sending the header blocks',
    steps: [unended, headers(3, GET), continuation(1, more)],
    expects: protocolError,
  },
  {
    id: 'http2/5.1/1',
    title: 'idle: Sends a DATA frame',
    steps: [data(1, 'test')],
    expects: streamError('PROTOCOL_ERROR', 'STREAM_CLOSED'),
  },
  {
    id: 'http2/5.1/2',
    title: 'idle: Sends a RST_STREAM frame',
    steps: [reset(1, 8)],
    expects: protocolError,
  },
  {
    id: 'http2/5.1/3',
    title: 'idle: Sends a WINDOW_UPDATE frame',
    steps: [windowUpdate(1, 100)],
    expects: protocolError,
  },
  {
    id: 'http2/5.1/4',
    title: 'idle: Sends a CONTINUATION frame',
    steps: [continuation(1, whole)],
    expects: protocolError,
  },
  {
    id: 'http2/5.1/5',
    title: 'half closed (remote): Sends a DATA frame',
    steps: [noWindow, REQUEST, data(1, 'test')],
    expects: streamError('STREAM_CLOSED'),
  },
  {
    id: 'http2/5.1/6',
    title: 'half closed (remote): Sends a HEADERS frame',
    steps: [noWindow, REQUEST, REQUEST],
    expects: streamError('STREAM_CLOSED'),
  },
  {
    id: 'http2/5.1/7',
    title: 'half closed (remote): Sends a CONTINUATION frame',
    steps: [noWindow, REQUEST, continuation(1, whole)],
    expects: streamError('STREAM_CLOSED', 'PROTOCOL_ERROR'),
  },
  {
    id: 'http2/5.1/8',
    title: 'closed: Sends a DATA frame after sending RST_STREAM frame',
    steps: [post, reset(1, 8), data(1, 'test')],
    expects: streamError('STREAM_CLOSED'),
  },
  {
    id: 'http2/5.1/9',
    title: 'closed: Sends a HEADERS frame after sending RST_STREAM frame',
    steps: [post, reset(1, 8), REQUEST],
    expects: streamError('STREAM_CLOSED'),
  },
  {
    id: 'http2/5.1/10',
    title: 'closed: Sends a CONTINUATION frame after sending RST_STREAM frame',
    steps: [post, reset(1, 8), continuation(1, more)],
    expects: streamError('STREAM_CLOSED', 'PROTOCOL_ERROR'),
  },
  {
    id: 'http2/5.1/11',
    title: 'closed: Sends a DATA frame',
    steps: [REQUEST, data(1, 'test')],
    expects: streamError('STREAM_CLOSED'),
  },
  {
    id: 'http2/5.1/12',
    title: 'closed: Sends a HEADERS frame',
    steps: [REQUEST, REQUEST],
    expects: connectionError('STREAM_CLOSED'),
  },
  {
    id: 'http2/5.1/13',
    title: 'closed: Sends a CONTINUATION frame',
    steps: [REQUEST, continuation(1, more)],
    expects: connectionError('STREAM_CLOSED', 'PROTOCOL_ERROR'),
  },
  {
    id: 'http2/5.1.1/1',
    title: 'Sends even-numbered stream identifier',
    steps: [headers(2, GET)],
    expects: protocolError,
  },
  {
    id: 'http2/5.1.1/2',
    title: 'Sends stream identifier that is numerically smaller than previous',
    steps: [headers(5, GET), headers(3, GET)],
    // A stream that was passed over is closed (RFC 9113 §5.1.1), so that both codes are right; h2spec takes either.
    expects: connectionError('PROTOCOL_ERROR', 'STREAM_CLOSED'),
  },
  {
    id: 'http2/5.1.2/1',
    title: 'Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded',
    steps: [
      Buffer.concat([noWindow, ...Array.from({ length: 257 }, (_, index) => headers(index * 2 + 1, GET))]),
    ],
    expects: streamError('PROTOCOL_ERROR', 'REFUSED_STREAM'),
  },
  {
    id: 'http2/5.3.1/1',
    title: 'Sends HEADERS frame that depends on itself',
    steps: [
      frame(
        FRAME.HEADERS,
        END_HEADERS | END_STREAM | PRIORITY,
        1,
        Buffer.concat([uint32(1), Buffer.of(255), whole]),
      ),
    ],
    expects: streamError('PROTOCOL_ERROR'),
  },
  {
    id: 'http2/5.3.1/2',
    title: 'Sends PRIORITY frame that depend on itself',
    steps: [priority(1, 1)],
    expects: streamError('PROTOCOL_ERROR'),
  },
  {
    id: 'http2/5.4.1/1',
    title: 'Sends an invalid PING frame for connection close',
    steps: [frame(FRAME.PING, 0, 0, '\0\0\0\0\0\0')],
    expects: connectionError('FRAME_SIZE_ERROR'),
  },
  {
    id: 'http2/5.4.1/2',
    title: 'Sends an invalid PING frame to receive GOAWAY frame',
    steps: [frame(FRAME.PING, 0, 3, ZEROS)],
    expects: protocolError,
  },
  {
    id: 'http2/5.5/1',
    title: 'Sends an unknown extension frame',
    steps: [unknownFrame, ping(ZEROS)],
    expects: pong(ZEROS),
  },
  {
    id: 'http2/5.5/2',
    title: 'Sends an unknown extension frame in the middle of a header block',
    steps: [frame(FRAME.HEADERS, END_STREAM, 1, whole), unknownFrame],
    expects: protocolError,
  },
]
