// What a hostile peer can make a connection hold: each attack sends, or asks for, hundreds of times more than may be kept.

import { expect, it } from 'vitest'
import type { Http2Stream } from '../../sidecar/http2/contract.js'
import { FRAME } from '../../sidecar/http2/frames.js'
import { takeRequests } from '../support/http2-log.js'
import {
  block,
  data,
  END_HEADERS,
  END_STREAM,
  frame,
  GET,
  HELLO,
  headers,
  openServer,
  POST,
  PREFACE,
  ping,
  reset,
  settings,
  windowUpdate,
} from '../support/http2-raw.js'
import { heldBytes } from '../support/memory.js'

const OPEN = END_HEADERS
const MEGABYTE = 1024 * 1024

/** How often an attack is weighed. */
const LOOKS = 20

/** Runs the attack. @returns by how many bytes what is held had grown at its worst */
function growth(turns: number, act: (turn: number) => void): number {
  for (let turn = 0; turn < 10; turn++) act(turn)
  const before = heldBytes()
  let worst = 0
  for (let look = 1, turn = 10; look <= LOOKS; look++) {
    for (; turn < (turns * look) / LOOKS; turn++) act(turn)
    worst = Math.max(worst, heldBytes() - before)
  }
  return worst
}

function attacked(limits: Parameters<typeof openServer>[1], answer: (stream: Http2Stream) => void) {
  const { lines, events } = takeRequests(false)
  let heldBodyBytes = 0
  const bench = openServer(
    {
      ...events,
      onRequest: (stream) => {
        answer(stream)
        return {
          onData: (bytes) => {
            heldBodyBytes += bytes.length
          },
          onTrailers: () => undefined,
          onEnd: () => undefined,
          onReset: () => undefined,
          onDrain: () => undefined,
        }
      },
    },
    limits,
  ).feed(PREFACE, HELLO)
  return { bench, lines, held: () => heldBodyBytes }
}

const nothing = (): void => undefined

it('a peer that has everything answered and reads nothing is cut off', () => {
  const { bench, lines } = attacked({ maxBacklogBytes: 64 * 1024 }, nothing)
  bench.isStuck = true
  for (let pings = 0; pings < 20_000; pings++) {
    // Slowly enough for the purse, for ever.
    bench.nowMs += 10
    bench.feed(ping('pingpong'))
  }
  expect(lines.at(-1)).toBe('close HTTP2_FLOOD 11')
  bench.isStuck = false
  bench.turn()
  expect(Buffer.concat(bench.writes).length).toBeLessThan(65 * 1024)
  expect(bench.isClosed).toBe(true)
})

it('a peer that asks and reads nothing gets no more answers than it may have streams', () => {
  let answered = 0
  const { bench, lines } = attacked({ maxConcurrentStreams: 100 }, (stream) => {
    answered += 1
    stream.respond({ status: 200, fields: ['x-a', 'v'.repeat(1000)] }, 'more')
    stream.end(Buffer.alloc(1000))
  })
  bench.isStuck = true
  const grown = growth(5000, (turn) => bench.feed(headers(turn * 2 + 1, GET)))
  // The first write had left before nothing was taken any more.
  expect(answered).toBeLessThanOrEqual(101)
  expect(lines.at(-1)).toBe('close HTTP2_FLOOD 11')
  expect(grown).toBeLessThan(4 * MEGABYTE)
})

it('a peer that asks, resets and reads nothing cannot pile up heads, however slowly it goes', () => {
  const { bench, lines } = attacked({ maxBacklogBytes: 64 * 1024 }, (stream) => {
    stream.respond({ status: 200, fields: ['x-a', 'v'.repeat(8000)] }, 'more')
  })
  bench.isStuck = true
  for (let turn = 0; turn < 10_000 && lines.at(-1) !== 'close HTTP2_FLOOD 11'; turn++) {
    bench.nowMs += 20
    bench.feed(headers(turn * 2 + 1, GET), reset(turn * 2 + 1, 8))
  }
  expect(lines.at(-1)).toBe('close HTTP2_FLOOD 11')
  bench.isStuck = false
  bench.turn()
  expect(Buffer.concat(bench.writes).length).toBeLessThan(300 * 1024)
})

it('a body that nobody consumes is held by its windows, whatever is sent', () => {
  const limits = { streamWindowBytes: 256 * 1024, connectionWindowBytes: MEGABYTE }
  const { bench, lines, held } = attacked(limits, nothing)
  for (const id of [1, 3, 5, 7, 9, 11]) bench.feed(headers(id, POST, OPEN))
  for (let turn = 0; turn < 1000 && !bench.isClosed; turn++)
    bench.feed(data([1, 3, 5, 7, 9, 11][turn % 6] ?? 1, Buffer.alloc(16_384), 0))
  expect(held()).toBeLessThanOrEqual(MEGABYTE)
  expect(lines.at(-1)).toBe('close HTTP2_PROTOCOL 3')
})

it('a download that nobody reads is made to wait: its writer is told so at once', () => {
  let bulk: Http2Stream | undefined
  const { bench } = attacked({}, (stream) => {
    bulk = stream
    stream.respond({ status: 200, fields: [] }, 'more')
  })
  bench.feed(settings([4, 0x7fff_ffff]), windowUpdate(0, 0x7000_0000), headers(1, GET))
  bench.isStuck = true
  let written = 0
  while (bulk?.write(Buffer.alloc(16_384)) === true) written += 16_384
  bench.turn()
  expect(written).toBeLessThanOrEqual(128 * 1024)
})

it('a table entry that is named over and over ends the connection long before its end (HPACK bomb)', () => {
  const entry = Buffer.concat([Buffer.from('4001617fb11e', 'hex'), Buffer.alloc(4016, 'v')])
  // 64 MB of fields for each block of 16 KB.
  const bomb = Buffer.concat([block(GET), Buffer.alloc(16_000, 0xbe)])
  const started = performance.now()
  const grown = growth(1000, () => {
    const { bench, lines } = attacked({}, nothing)
    bench.feed(frame(FRAME.HEADERS, END_HEADERS | END_STREAM, 1, Buffer.concat([block(GET), entry])))
    bench.feed(frame(FRAME.HEADERS, END_HEADERS | END_STREAM, 3, bomb))
    expect(lines.at(-1)).toBe('close HTTP2_FLOOD 11')
  })
  expect(grown).toBeLessThan(32 * MEGABYTE)
  expect(performance.now() - started).toBeLessThan(5000)
})

it('fields of no length cost what SETTINGS count them for', () => {
  const { bench, lines } = attacked({}, nothing)
  const empty = Buffer.concat([block(GET), Buffer.from('000161 00'.replace(' ', '').repeat(4000), 'hex')])
  bench.feed(
    frame(FRAME.HEADERS, END_HEADERS | END_STREAM, 1, empty.subarray(0, block(GET).length + 4 * 4000)),
  )
  expect(lines).toContain('refused 1 CALL_HEAD_TOO_LARGE 0')
})

it('blocks that are begun and left cost one block', () => {
  const grown = growth(300, () => {
    const { bench } = attacked({}, nothing)
    bench.feed(frame(FRAME.HEADERS, END_STREAM, 1, block([['x-a', 'v'.repeat(16_000)]])))
  })
  expect(grown).toBeLessThan(24 * MEGABYTE)
})

it('streams that are reset by the thousand leave nothing behind', () => {
  const { bench } = attacked({}, (stream) => stream.reset(8))
  const grown = growth(50_000, (turn) => {
    bench.feed(headers(turn * 2 + 1, POST, OPEN))
    bench.writes.length = 0
  })
  expect(bench.isClosed).toBe(false)
  expect(bench.connection.openStreams).toBe(0)
  expect(grown).toBeLessThan(24 * MEGABYTE)
})
