// h2spec, "Hypertext Transfer Protocol Version 2" from section 6.9 on, and "HPACK: Header Compression for HTTP/2".

import { FRAME } from '../../../../../sidecar/http2/frames.js'
import {
  block,
  continuation,
  data,
  END_HEADERS,
  END_STREAM,
  frame,
  GET,
  goaway,
  headers,
  POST,
  ping,
  reset,
  settings,
  uint32,
  windowUpdate,
} from '../../../../support/http2-raw.js'
import {
  alive,
  answered,
  type Case,
  connectionError,
  dataOf,
  OPEN,
  PAYLOAD,
  REQUEST,
  streamError,
  ZEROS,
} from './case.js'

const post = headers(1, POST, OPEN)
const whole = block(GET)
const more = block([['x-dummy0', 'x'.repeat(100)]])
const LARGEST = 0x7fff_ffff
const protocolError = connectionError('PROTOCOL_ERROR')
const malformed = streamError('PROTOCOL_ERROR')

const flowControl: readonly Case[] = [
  {
    id: 'http2/6.9/1',
    title: 'Sends a WINDOW_UPDATE frame with a flow control window increment of 0',
    steps: [windowUpdate(0, 0)],
    expects: protocolError,
  },
  {
    id: 'http2/6.9/2',
    title: 'Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream',
    steps: [post, windowUpdate(1, 0)],
    expects: malformed,
  },
  {
    id: 'http2/6.9/3',
    title: 'Sends a WINDOW_UPDATE frame with a length other than 4 octets',
    steps: [frame(FRAME.WINDOW_UPDATE, 0, 0, '\0\0\x01')],
    expects: connectionError('FRAME_SIZE_ERROR'),
  },
  {
    id: 'http2/6.9.1/1',
    title: 'Sends SETTINGS frame to set the initial window size to 1 and sends HEADERS frame',
    steps: [settings([4, 1]), REQUEST],
    expects: dataOf(1),
  },
  {
    id: 'http2/6.9.1/2',
    title: 'Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1',
    steps: [windowUpdate(0, LARGEST), windowUpdate(0, LARGEST)],
    expects: connectionError('FLOW_CONTROL_ERROR'),
  },
  {
    id: 'http2/6.9.1/3',
    title:
      'Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream',
    steps: [post, windowUpdate(1, LARGEST), windowUpdate(1, LARGEST)],
    expects: streamError('FLOW_CONTROL_ERROR'),
  },
  {
    id: 'http2/6.9.2/1',
    title: 'Changes SETTINGS_INITIAL_WINDOW_SIZE after sending HEADERS frame',
    steps: [settings([4, 0]), REQUEST, settings([4, 1])],
    expects: dataOf(1),
  },
  {
    id: 'http2/6.9.2/2',
    title: 'Sends a SETTINGS frame for window size to be negative',
    steps: [settings([4, 3]), REQUEST, settings([4, 2]), windowUpdate(1, 2)],
    expects: {
      says: 'DATA of 3, then of 1',
      holds: (frames) =>
        frames
          .filter(({ type }) => type === FRAME.DATA)
          .map(({ payload }) => payload.length)
          .join() === '3,1',
    },
  },
  {
    id: 'http2/6.9.2/3',
    title: 'Sends a SETTINGS_INITIAL_WINDOW_SIZE settings with an exceeded maximum window size value',
    steps: [settings([4, 0x8000_0000])],
    expects: connectionError('FLOW_CONTROL_ERROR'),
  },
]

const unended = frame(FRAME.HEADERS, END_STREAM, 1, whole)

const continuations: readonly Case[] = [
  {
    id: 'http2/6.10/1',
    title: 'Sends multiple CONTINUATION frames preceded by a HEADERS frame',
    steps: [unended, continuation(1, more, 0), continuation(1, more)],
    expects: answered,
  },
  {
    id: 'http2/6.10/2',
    title: 'Sends a CONTINUATION frame followed by any frame other than CONTINUATION',
    steps: [frame(FRAME.HEADERS, 0, 1, block(POST)), continuation(1, more, 0), data(1, 'test')],
    expects: protocolError,
  },
  {
    id: 'http2/6.10/3',
    title: 'Sends a CONTINUATION frame with 0x0 stream identifier',
    steps: [unended, continuation(0, more)],
    expects: protocolError,
  },
  {
    id: 'http2/6.10/4',
    title: 'Sends a CONTINUATION frame preceded by a HEADERS frame with END_HEADERS flag',
    steps: [REQUEST, continuation(1, more)],
    expects: protocolError,
  },
  {
    id: 'http2/6.10/5',
    title: 'Sends a CONTINUATION frame preceded by a CONTINUATION frame with END_HEADERS flag',
    steps: [unended, continuation(1, more), continuation(1, more)],
    expects: protocolError,
  },
  {
    id: 'http2/6.10/6',
    title: 'Sends a CONTINUATION frame preceded by a DATA frame',
    steps: [frame(FRAME.HEADERS, 0, 1, block(POST)), data(1, 'test'), continuation(1, more)],
    expects: protocolError,
  },
]

const errorCodes: readonly Case[] = [
  {
    id: 'http2/7/1',
    title: 'Sends a GOAWAY frame with unknown error code',
    steps: [goaway(0, 0xff), ping(PAYLOAD)],
    expects: alive(PAYLOAD),
  },
  {
    id: 'http2/7/2',
    title: 'Sends a RST_STREAM frame with unknown error code',
    steps: [post, reset(1, 0xff), ping(ZEROS)],
    expects: alive(ZEROS),
  },
]

const without = (name: string): typeof GET => GET.filter(([field]) => field !== name)

const messages: readonly Case[] = [
  {
    id: 'http2/8.1/1',
    title: 'Sends a second HEADERS frame without the END_STREAM flag',
    steps: [post, data(1, 'test', 0), headers(1, [['x-test', 'ok']], OPEN)],
    expects: malformed,
  },
  {
    id: 'http2/8.1.2/1',
    title: 'Sends a HEADERS frame that contains the header field name in uppercase letters',
    steps: [headers(1, [...GET, ['X-TEST', 'ok']])],
    expects: malformed,
  },
  {
    id: 'http2/8.1.2.1/1',
    title: 'Sends a HEADERS frame that contains a unknown pseudo-header field',
    steps: [headers(1, [...GET, [':test', 'ok']])],
    expects: malformed,
  },
  {
    id: 'http2/8.1.2.1/2',
    title: 'Sends a HEADERS frame that contains the pseudo-header field defined for response',
    steps: [headers(1, [...GET, [':status', '200']])],
    expects: malformed,
  },
  {
    id: 'http2/8.1.2.1/3',
    title: 'Sends a HEADERS frame that contains a pseudo-header field as trailers',
    steps: [post, data(1, 'test', 0), headers(1, [[':method', 'POST']])],
    expects: malformed,
  },
  {
    id: 'http2/8.1.2.1/4',
    title:
      'Sends a HEADERS frame that contains a pseudo-header field that appears in a header block after a regular header field',
    steps: [headers(1, [['x-test', 'ok'], ...GET])],
    expects: malformed,
  },
  {
    id: 'http2/8.1.2.2/1',
    title: 'Sends a HEADERS frame that contains the connection-specific header field',
    steps: [headers(1, [...GET, ['connection', 'keep-alive']])],
    expects: malformed,
  },
  {
    id: 'http2/8.1.2.2/2',
    title: 'Sends a HEADERS frame that contains the TE header field with any value other than "trailers"',
    steps: [headers(1, [...GET, ['trailers', 'test'], ['te', 'trailers, deflate']])],
    expects: malformed,
  },
  {
    id: 'http2/8.1.2.3/1',
    title: 'Sends a HEADERS frame with empty ":path" pseudo-header field',
    steps: [
      headers(
        1,
        GET.map(([name, value]) => [name, name === ':path' ? '' : value] as const),
      ),
    ],
    expects: malformed,
  },
  ...[':method', ':scheme', ':path'].flatMap((name, index): Case[] => [
    {
      id: `http2/8.1.2.3/${index + 2}`,
      title: `Sends a HEADERS frame that omits "${name}" pseudo-header field`,
      steps: [headers(1, without(name))],
      expects: malformed,
    },
    {
      id: `http2/8.1.2.3/${index + 5}`,
      title: `Sends a HEADERS frame with duplicated "${name}" pseudo-header field`,
      steps: [headers(1, [...GET, ...GET.filter(([field]) => field === name)])],
      expects: malformed,
    },
  ]),
  {
    id: 'http2/8.1.2.6/1',
    title:
      'Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload length',
    steps: [headers(1, [...POST, ['content-length', '1']], OPEN), data(1, 'test')],
    expects: malformed,
  },
  {
    id: 'http2/8.1.2.6/2',
    title:
      'Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple DATA frames payload length',
    steps: [headers(1, [...POST, ['content-length', '1']], OPEN), data(1, 'test', 0), data(1, 'test')],
    expects: malformed,
  },
  {
    id: 'http2/8.2/1',
    title: 'Sends a PUSH_PROMISE frame',
    steps: [frame(FRAME.PUSH_PROMISE, END_HEADERS, 1, Buffer.concat([uint32(3), whole]))],
    expects: protocolError,
  },
]

/** A request whose block begins, or ends, with these octets. */
const withBlock = (before: string, after: string): Buffer =>
  frame(
    FRAME.HEADERS,
    END_HEADERS | END_STREAM,
    1,
    Buffer.concat([Buffer.from(before, 'hex'), whole, Buffer.from(after, 'hex')]),
  )

const hpack: readonly Case[] = (
  [
    ['2.3.3/1', 'Sends a indexed header field representation with invalid index', '', 'c6'],
    ['2.3.3/2', 'Sends a literal header field representation with invalid index', '', '7f0700'],
    ['4.2/1', 'Sends a dynamic table size update at the end of header block', '', '21'],
    [
      '5.2/1',
      'Sends a Huffman-encoded string literal representation with padding longer than 7 bits',
      '',
      '0085f2b24a84ff8449509fff',
    ],
    [
      '5.2/2',
      'Sends a Huffman-encoded string literal representation padded by zero',
      '',
      '0085f2b24a84ff83495090',
    ],
    [
      '5.2/3',
      'Sends a Huffman-encoded string literal representation containing the EOS symbol',
      '',
      '0085f2b24a84ff874951fffffffa7f',
    ],
    ['6.1/1', 'Sends a indexed header field representation with index 0', '', '80'],
    [
      '6.3/1',
      'Sends a dynamic table size update larger than the value of SETTINGS_HEADER_TABLE_SIZE',
      '3fe21f',
      '',
    ],
  ] as const
).map(([id, title, before, after]) => ({
  id: `hpack/${id}`,
  title,
  steps: [withBlock(before, after)],
  expects: connectionError('COMPRESSION_ERROR'),
}))

export const MESSAGES: readonly Case[] = [
  ...flowControl,
  ...continuations,
  ...errorCodes,
  ...messages,
  ...hpack,
]
