// A peer with a valid certificate may still try to keep us busy. Each flood ends its connection with ENHANCE_YOUR_CALM (11) after a number of
// frames that stands here; what a busy but honest peer sends does not.

import { describe, expect, it } from 'vitest'
import type { Http2Stream } from '../../sidecar/http2/contract.js'
import { FRAME } from '../../sidecar/http2/frames.js'
import { listen, listenTo, takeRequests } from '../support/http2-log.js'
import {
  ACK,
  type Bench,
  block,
  codeOf,
  continuation,
  data,
  END_HEADERS,
  END_STREAM,
  frame,
  GET,
  HELLO,
  headers,
  openClient,
  openServer,
  PADDED,
  POST,
  PREFACE,
  ping,
  priority,
  reset,
  SETTINGS_ACK,
  settings,
  windowUpdate,
} from '../support/http2-raw.js'

const OK = { status: 200, fields: [] }
const OPEN = END_HEADERS

function attacked(answer: (stream: Http2Stream) => void = () => undefined) {
  const requests = takeRequests()
  const { events } = requests
  const bench = openServer({
    ...events,
    onRequest: (stream, head) => {
      const sink = events.onRequest(stream, head)
      answer(stream)
      return sink
    },
  }).feed(PREFACE, HELLO)
  return { ...requests, bench }
}

/** Feeds until the connection closes. @returns how often it took to */
function floodWith(bench: Bench<never>, lines: readonly string[], next: (turn: number) => Buffer): number {
  let turn = 0
  for (; turn < 50_000 && !bench.isClosed; turn++) bench.feed(next(turn))
  expect(lines.at(-1)).toBe('close HTTP2_FLOOD 11')
  const farewell = bench.framesOf(FRAME.GOAWAY)
  expect(codeOf(farewell.at(-1)!)).toBe(11)
  return turn
}

const idOf = (turn: number): number => turn * 2 + 1

describe('a flood ends its connection', () => {
  it.each([
    ['rapid reset (CVE-2023-44487)', 8],
    ['rapid reset that calls itself no error', 0],
  ])('%s', (_, code) => {
    const { bench, lines, taken } = attacked()
    const turns = floodWith(bench as never, lines, (turn) =>
      Buffer.concat([headers(idOf(turn), GET), reset(idOf(turn), code)]),
    )
    expect(turns).toBe(1001)
    expect(taken).toHaveLength(1001)
  })

  it.each([
    ['WINDOW_UPDATE of nothing', (id: number) => windowUpdate(id, 0)],
    ['a window too large', (id: number) => windowUpdate(id, 0x7fff_ffff)],
    ['PRIORITY on itself', (id: number) => priority(id, id)],
    ['a body longer than declared', (id: number) => data(id, 'xx', 0)],
    ['trailers that do not end', (id: number) => headers(id, [['x-a', 'b']], OPEN)],
  ])('resets that the peer provokes from us (CVE-2025-8671): %s', (_, provoke) => {
    const { bench, lines } = attacked()
    const turns = floodWith(bench as never, lines, (turn) =>
      Buffer.concat([headers(idOf(turn), [...POST, ['content-length', '1']], OPEN), provoke(idOf(turn))]),
    )
    expect(turns).toBeGreaterThan(990)
    expect(turns).toBeLessThanOrEqual(1001)
  })

  it.each([
    ['malformed heads', (id: number) => headers(id, [...GET, ['connection', 'close']])],
    ['heads that depend on themselves', (id: number) => selfDependent(id)],
    ['heads that are too large', (id: number) => tooLarge(id)],
  ])('requests that are refused one by one: %s', (_, request) => {
    const { bench, lines, taken } = attacked()
    expect(floodWith(bench as never, lines, (turn) => request(idOf(turn)))).toBe(1001)
    expect(taken).toEqual([])
  })

  it.each([
    ['PING', () => ping('pingpong')],
    ['the ACK of a PING that we never sent', () => ping('pingpong', ACK)],
    ['SETTINGS', () => settings()],
    ['SETTINGS that move every window', (turn: number) => settings([4, turn % 2 === 0 ? 1 : 65_535])],
    ['the ACK of SETTINGS', () => SETTINGS_ACK],
    ['PRIORITY', () => priority(101, 0)],
    ['frames of an unknown type', () => frame(0x77, 0, 0, 'x')],
    ['RST_STREAM on a closed stream', () => reset(1, 8)],
    ['DATA without data', () => data(3, '', 0)],
    ['DATA of padding alone', () => data(3, `\xff${'\0'.repeat(255)}`, PADDED)],
  ])('%s', (_, next) => {
    const { bench, lines } = attacked()
    bench.feed(headers(1, GET), reset(1, 8), headers(3, POST, OPEN))
    const turns = floodWith(bench as never, lines, next)
    expect(turns).toBeGreaterThan(900)
    expect(turns).toBeLessThanOrEqual(1001)
  })

  it('WINDOW_UPDATE by the octet (Data Dribble, CVE-2019-9511)', () => {
    const { bench, lines } = attacked((stream) => {
      stream.respond(OK, 'more')
      stream.end(Buffer.alloc(1_000_000))
    })
    bench.feed(settings([4, 0]), headers(1, GET))
    expect(floodWith(bench as never, lines, () => windowUpdate(1, 1))).toBe(10_001)
  })

  it('CONTINUATION without an end (CVE-2024-27316), large or empty', () => {
    for (const [fragment, most] of [
      [Buffer.alloc(0), 34],
      [block([['x-a', 'v'.repeat(16_000)]]), 6],
    ] as const) {
      const { bench, lines } = attacked()
      const turns = floodWith(bench as never, lines, (turn) =>
        turn === 0 ? frame(FRAME.HEADERS, END_STREAM, 1, block(GET)) : continuation(1, fragment, 0),
      )
      expect(turns).toBeLessThanOrEqual(most)
    }
  })

  it('heads on a stream that we have reset', () => {
    const { bench, lines } = attacked((stream) => stream.reset(8))
    bench.feed(headers(1, POST, OPEN))
    expect(floodWith(bench as never, lines, () => headers(1, [['x-a', 'b']], OPEN))).toBe(999)
  })

  it('interim heads from a server', () => {
    const { lines, events } = listenTo()
    const bench = openClient(events).feed(HELLO)
    const heard = listen(() => undefined)
    const head = { method: 'GET', scheme: 'http', authority: 'a', path: '/', protocol: null, fields: [] }
    bench.connection.request(head, 'nothing', heard.sink)
    floodWith(bench as never, lines, () => headers(1, [[':status', '103']], OPEN))
    expect(heard.lines.at(-1)).toBe('reset HTTP2_CONNECTION_LOST 11')
  })
})

describe('an honest peer is not taken for a flood', () => {
  it('that cancels a hundred calls a second for a minute', () => {
    const { bench, lines } = attacked()
    for (let turn = 0; turn < 6000; turn++) {
      bench.nowMs += 10
      bench.feed(headers(idOf(turn), GET), reset(idOf(turn), 8))
    }
    expect([bench.isClosed, lines]).toEqual([false, ['settings']])
  })

  it('that asks twenty thousand times and takes its answers', () => {
    const { bench, lines } = attacked((stream) => {
      stream.respond(OK, 'more')
      stream.end(Buffer.from('hello'))
    })
    bench.feed(windowUpdate(0, 1_000_000))
    for (let turn = 0; turn < 20_000; turn++) {
      bench.feed(headers(idOf(turn), GET))
      if (turn % 1000 === 0) bench.writes.length = 0
    }
    expect([bench.isClosed, lines]).toEqual([false, ['settings']])
  })

  it('that measures the line and widens windows with every frame of a long download', () => {
    let bulk: Http2Stream | undefined
    const { bench, lines } = attacked((stream) => {
      bulk = stream
      stream.respond(OK, 'more')
    })
    bench.feed(headers(1, GET))
    for (let turn = 0; turn < 20_000; turn++) {
      bulk?.write(Buffer.alloc(16_000))
      bench.turn().feed(windowUpdate(1, 16_000), windowUpdate(0, 16_000), ping('measures'))
      bench.writes.length = 0
    }
    expect([bench.isClosed, lines]).toEqual([false, ['settings']])
  })

  it('that streams a body by the octet', () => {
    const { bench, lines, taken } = attacked()
    bench.feed(headers(1, POST, OPEN))
    for (let turn = 0; turn < 50_000; turn++) bench.feed(data(1, 'x', 0))
    expect([bench.isClosed, lines]).toEqual([false, ['settings']])
    expect(taken[0]?.heard).toHaveLength(50_000)
  })
})

const selfDependent = (id: number): Buffer =>
  frame(
    FRAME.HEADERS,
    END_HEADERS | END_STREAM | 0x20,
    id,
    Buffer.concat([priority(id, id).subarray(9), block(GET)]),
  )

/** Larger than 64 KiB when it is read, but small on the wire: one entry of the table, named twenty times. */
const tooLarge = (id: number): Buffer =>
  frame(
    FRAME.HEADERS,
    END_HEADERS | END_STREAM,
    id,
    Buffer.concat([
      block(GET),
      Buffer.from('4001617fb11e', 'hex'),
      Buffer.alloc(4016, 'v'),
      Buffer.alloc(20, 0xbe),
    ]),
  )
