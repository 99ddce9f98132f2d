// h2spec, "Generic tests for HTTP/2 server": 41 cases.

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
  PADDED,
  POST,
  PREFACE,
  PRIORITY,
  ping,
  priority,
  reset,
  settings,
  windowUpdate,
} from '../../../../support/http2-raw.js'
import {
  acknowledged,
  alive,
  answered,
  type Case,
  OPEN,
  PAYLOAD,
  pong,
  REQUEST,
  settingsFirst,
  someData,
  ZEROS,
} from './case.js'

const post = headers(1, POST, OPEN)
const whole = block(GET)

/** A request whose block ends in these octets. */
const withBlock = (hex: string): Buffer =>
  frame(FRAME.HEADERS, END_HEADERS | END_STREAM, 1, Buffer.concat([whole, Buffer.from(hex, 'hex')]))

/** The same with these octets first. */
const behind = (hex: string): Buffer =>
  frame(FRAME.HEADERS, END_HEADERS | END_STREAM, 1, Buffer.concat([Buffer.from(hex, 'hex'), whole]))

const noWindow = settings([4, 0])

export const GENERIC: readonly Case[] = [
  {
    id: 'generic/1/1',
    title: 'Sends a client connection preface',
    steps: [PREFACE, settings([4, 65_535])],
    expects: settingsFirst,
    isWhole: true,
  },
  {
    id: 'generic/2/1',
    title: 'Sends a PRIORITY frame on idle stream',
    steps: [priority(1, 0), ping(ZEROS)],
    expects: pong(ZEROS),
  },
  {
    id: 'generic/2/2',
    title: 'Sends a WINDOW_UPDATE frame on half-closed (remote) stream',
    steps: [noWindow, REQUEST, windowUpdate(1, 1)],
    expects: someData,
  },
  {
    id: 'generic/2/3',
    title: 'Sends a PRIORITY frame on half-closed (remote) stream',
    steps: [noWindow, REQUEST, priority(1, 0), windowUpdate(1, 1)],
    expects: someData,
  },
  {
    id: 'generic/2/4',
    title: 'Sends a RST_STREAM frame on half-closed (remote) stream',
    steps: [noWindow, REQUEST, reset(1, 8), ping(ZEROS)],
    expects: pong(ZEROS),
  },
  {
    id: 'generic/2/5',
    title: 'Sends a PRIORITY frame on closed stream',
    steps: [REQUEST, priority(1, 0), ping(ZEROS)],
    expects: pong(ZEROS),
  },
  {
    id: 'generic/3.1/1',
    title: 'Sends a DATA frame',
    steps: [post, data(1, 'test')],
    expects: answered,
  },
  {
    id: 'generic/3.1/2',
    title: 'Sends multiple DATA frames',
    steps: [post, data(1, 'test', 0), data(1, 'test')],
    expects: answered,
  },
  {
    id: 'generic/3.1/3',
    title: 'Sends a DATA frame with padding',
    steps: [post, data(1, '\x05test\0\0\0\0\0', END_STREAM | PADDED)],
    expects: answered,
  },
  { id: 'generic/3.2/1', title: 'Sends a HEADERS frame', steps: [REQUEST], expects: answered },
  {
    id: 'generic/3.2/2',
    title: 'Sends a HEADERS frame with padding',
    steps: [
      frame(
        FRAME.HEADERS,
        END_HEADERS | END_STREAM | PADDED,
        1,
        Buffer.concat([Buffer.of(8), whole, Buffer.alloc(8)]),
      ),
    ],
    expects: answered,
  },
  {
    id: 'generic/3.2/3',
    title: 'Sends a HEADERS frame with priority',
    steps: [
      frame(
        FRAME.HEADERS,
        END_HEADERS | END_STREAM | PRIORITY,
        1,
        Buffer.concat([Buffer.of(0, 0, 0, 0, 255), whole]),
      ),
    ],
    expects: answered,
  },
  {
    id: 'generic/3.3/1',
    title: 'Sends a PRIORITY frame with priority 1',
    steps: [frame(FRAME.PRIORITY, 0, 1, '\0\0\0\0\0'), REQUEST],
    expects: answered,
  },
  {
    id: 'generic/3.3/2',
    title: 'Sends a PRIORITY frame with priority 256',
    steps: [priority(1, 0), REQUEST],
    expects: answered,
  },
  {
    id: 'generic/3.3/3',
    title: 'Sends a PRIORITY frame with stream dependency',
    steps: [priority(3, 1), REQUEST],
    expects: answered,
  },
  {
    id: 'generic/3.3/4',
    title: 'Sends a PRIORITY frame with exclusive',
    steps: [frame(FRAME.PRIORITY, 0, 1, '\x80\0\0\0\0'), REQUEST],
    expects: answered,
  },
  {
    id: 'generic/3.3/5',
    title: 'Sends a PRIORITY frame for an idle stream, then send a HEADER frame for a lower stream ID',
    steps: [priority(3, 0), REQUEST],
    expects: answered,
  },
  {
    id: 'generic/3.4/1',
    title: 'Sends a RST_STREAM frame',
    steps: [headers(1, GET, OPEN), reset(1, 8), ping(ZEROS)],
    expects: pong(ZEROS),
  },
  {
    id: 'generic/3.5/1',
    title: 'Sends a SETTINGS frame',
    steps: [settings([1, 4096], [2, 1], [3, 100], [4, 65_535], [5, 16_384], [6, 100])],
    expects: acknowledged,
  },
  { id: 'generic/3.7/1', title: 'Sends a PING frame', steps: [ping(PAYLOAD)], expects: pong(PAYLOAD) },
  {
    id: 'generic/3.8/1',
    title: 'Sends a GOAWAY frame',
    steps: [goaway(0, 0), ping(PAYLOAD)],
    expects: alive(PAYLOAD),
  },
  {
    id: 'generic/3.9/1',
    title: 'Sends a WINDOW_UPDATE frame with stream ID 0',
    steps: [windowUpdate(0, 1), ping(ZEROS)],
    expects: pong(ZEROS),
  },
  {
    id: 'generic/3.9/2',
    title: 'Sends a WINDOW_UPDATE frame with stream ID 1',
    steps: [REQUEST, windowUpdate(1, 1)],
    expects: answered,
  },
  {
    id: 'generic/3.10/1',
    title: 'Sends a CONTINUATION frame',
    steps: [frame(FRAME.HEADERS, END_STREAM, 1, whole.subarray(0, 5)), continuation(1, whole.subarray(5))],
    expects: answered,
  },
  {
    id: 'generic/3.10/2',
    title: 'Sends multiple CONTINUATION frames',
    steps: [
      frame(FRAME.HEADERS, END_STREAM, 1, whole.subarray(0, 5)),
      continuation(1, whole.subarray(5, 10), 0),
      continuation(1, whole.subarray(10)),
    ],
    expects: answered,
  },
  { id: 'generic/4/1', title: 'Sends a GET request', steps: [REQUEST], expects: answered },
  {
    id: 'generic/4/2',
    title: 'Sends a HEAD request',
    steps: [headers(1, [[':method', 'HEAD'], ...GET.slice(1)])],
    expects: answered,
  },
  { id: 'generic/4/3', title: 'Sends a POST request', steps: [post, data(1, 'test')], expects: answered },
  {
    id: 'generic/4/4',
    title: 'Sends a POST request with trailers',
    steps: [
      headers(1, [...POST, ['trailer', 'x-test']], OPEN),
      data(1, 'test', 0),
      headers(1, [['x-test', 'ok']]),
    ],
    expects: answered,
  },
  {
    id: 'generic/5/1',
    title: 'Sends a indexed header field representation',
    // h2spec has put five fields of its own into the table; here the first is put there.
    steps: [withBlock('4003782d7402 6f6b be'.replaceAll(' ', ''))],
    expects: answered,
  },
  ...(
    [
      [2, 'incremental indexing - indexed name', '4087b505b161cc5a93849c48aca4'],
      [
        3,
        'incremental indexing - indexed name (with Huffman coding)',
        '400a757365722d6167656e7406683273706563',
      ],
      [4, 'incremental indexing - new name', '4006782d7465737406683273706563'],
      [5, 'incremental indexing - new name (with Huffman coding)', '4085f2b24a84ff849c48aca4'],
    ] as const
  ).map(([number, what, hex]) => ({
    id: `generic/5/${number}`,
    title: `Sends a literal header field with ${what}`,
    steps: [withBlock(hex)],
    expects: answered,
  })),
  ...(
    [
      [6, 'without indexing - indexed name', '000a757365722d6167656e7406683273706563'],
      [7, 'without indexing - indexed name (with Huffman coding)', '0087b505b161cc5a93849c48aca4'],
      [8, 'without indexing - new name', '0006782d7465737406683273706563'],
      [9, 'without indexing - new name (huffman encoded)', '0085f2b24a84ff849c48aca4'],
      [10, 'never indexed - indexed name', '100a757365722d6167656e7406683273706563'],
      [11, 'never indexed - indexed name (huffman encoded)', '1087b505b161cc5a93849c48aca4'],
      [12, 'never indexed - new name', '1006782d7465737406683273706563'],
      [13, 'never indexed - new name (huffman encoded)', '1085f2b24a84ff849c48aca4'],
    ] as const
  ).map(([number, what, hex]) => ({
    id: `generic/5/${number}`,
    title: `Sends a literal header field ${what}`,
    steps: [withBlock(hex)],
    expects: answered,
  })),
  {
    id: 'generic/5/14',
    title: 'Sends a dynamic table size update',
    steps: [behind('3f61')],
    expects: answered,
  },
  {
    id: 'generic/5/15',
    title: 'Sends multiple dynamic table size update',
    steps: [behind('3f613fe11f')],
    expects: answered,
  },
]
