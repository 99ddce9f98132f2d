import { describe, expect, it } from 'vitest'
import { FRAME } from '../../../../sidecar/http2/frames.js'
import {
  data,
  END_HEADERS,
  END_STREAM,
  GET,
  headers,
  PADDED,
  POST,
  settings,
  windowUpdate,
} from '../../../support/http2-raw.js'
import { startServer } from '../../../support/http2-server.js'

const OK = { status: 200, fields: [] }
const NOTHING = new Uint8Array()
const OPEN = END_HEADERS

describe('flow control of a server', () => {
  it('holds back what the window of a stream does not allow, and says when it has gone', () => {
    const { bench, taken } = startServer()
    bench.feed(settings([4, 10]), headers(1, GET))
    const [{ stream, heard }] = taken as [(typeof taken)[number]]
    stream.respond(OK, 'more')
    expect(stream.write(Buffer.from('0123456789'))).toBe(true)
    expect(stream.write(Buffer.from('abc'))).toBe(false)
    bench.turn().frames()
    bench.feed(windowUpdate(1, 2))
    expect(bench.framesOf(FRAME.DATA).map(({ payload }) => payload.toString())).toEqual(['ab'])
    expect(heard).toEqual(['end'])
    bench.feed(windowUpdate(1, 1))
    expect(heard).toEqual(['end', 'drain'])
    stream.end(Buffer.from('d'))
    bench.turn().frames()
    bench.feed(windowUpdate(1, 5))
    const [last] = bench.framesOf(FRAME.DATA)
    expect([last?.payload.toString(), last?.flags]).toEqual(['d', END_STREAM])
  })

  it('sends trailers behind what is held back', () => {
    const { bench, taken } = startServer()
    bench.feed(settings([4, 1]), headers(1, GET))
    const [{ stream }] = taken as [(typeof taken)[number]]
    stream.respond(OK, 'more')
    stream.write(Buffer.from('xyz'))
    stream.endWithTrailers(['x-sum', '3'])
    bench.turn().frames()
    bench.feed(windowUpdate(1, 2))
    expect(bench.frames().map(({ type, flags }) => [type, flags])).toEqual([
      [FRAME.DATA, 0],
      [FRAME.HEADERS, END_HEADERS | END_STREAM],
    ])
  })

  it('refuses trailers that could not be sent while there is somebody to hear it', () => {
    const { bench, taken } = startServer()
    bench.feed(settings([4, 1]), headers(1, GET))
    const [{ stream }] = taken as [(typeof taken)[number]]
    stream.respond(OK, 'more')
    stream.write(Buffer.from('xyz'))
    expect(() => stream.endWithTrailers(['x-sum', '3\n'])).toThrow(
      expect.objectContaining({ code: 'CALL_MALFORMED' }) as Error,
    )
    stream.endWithTrailers([])
    bench.turn().feed(windowUpdate(1, 2))
    expect(bench.frames().at(-1)?.flags).toBe(END_HEADERS | END_STREAM)
  })

  it('ends a body with nothing left to send although the window is shut', () => {
    const { bench, taken } = startServer()
    bench.feed(settings([4, 0]), headers(1, GET))
    taken[0]?.stream.respond(OK, 'more')
    bench.turn()
    taken[0]?.stream.end(NOTHING)
    expect(
      bench
        .turn()
        .framesOf(FRAME.DATA)
        .map(({ flags, payload }) => [flags, payload.length]),
    ).toEqual([[END_STREAM, 0]])
  })

  it('ends a body with the frame that was the last, while that has not left', () => {
    const { bench, taken } = startServer()
    bench.feed(settings(), headers(1, GET), headers(3, GET))
    taken[0]?.stream.respond(OK, 'more')
    taken[0]?.stream.write(Buffer.from('xyz'))
    taken[0]?.stream.end(NOTHING)
    taken[1]?.stream.respond(OK, 'more')
    taken[1]?.stream.end(NOTHING)
    const sent = bench.turn().frames()
    expect(sent.filter(({ type }) => type === FRAME.DATA).map(({ flags }) => flags)).toEqual([END_STREAM])
    expect(sent.at(-1)?.flags).toBe(END_HEADERS | END_STREAM)
  })

  it('widens windows by what was consumed, and by nothing else', () => {
    const limits = { streamWindowBytes: 100_000, connectionWindowBytes: 150_000 }
    const { bench, taken } = startServer(limits, false)
    bench.feed(headers(1, POST, OPEN))
    for (let piece = 0; piece < 10; piece++) bench.feed(data(1, 'x'.repeat(10_000), 0))
    expect(bench.framesOf(FRAME.WINDOW_UPDATE)).toEqual([])
    const [{ stream }] = taken as [(typeof taken)[number]]
    stream.consume(49_999)
    expect(bench.turn().frames()).toEqual([])
    stream.consume(1)
    expect(
      bench
        .turn()
        .frames()
        .map(({ streamId, payload }) => [streamId, payload.readUInt32BE()]),
    ).toEqual([[1, 50_000]])
    stream.consume(25_000)
    expect(
      bench
        .turn()
        .frames()
        .map(({ streamId, payload }) => [streamId, payload.readUInt32BE()]),
    ).toEqual([[0, 75_000]])
    expect(() => stream.consume(25_001)).toThrow(RangeError)
  })

  it('refuses more than a window allows', () => {
    const { bench, lines } = startServer({ streamWindowBytes: 20_000 }, false)
    bench.feed(headers(1, POST, OPEN), data(1, 'x'.repeat(16_000), 0), data(1, 'x'.repeat(4001), 0))
    expect(lines).toContain('refused 1 HTTP2_PROTOCOL 3')
    const other = startServer({ connectionWindowBytes: 65_535 }, false)
    other.bench.feed(headers(1, POST, OPEN), headers(3, POST, OPEN))
    for (let piece = 0; piece < 3; piece++)
      for (const id of [1, 3]) other.bench.feed(data(id, 'x'.repeat(12_000), 0))
    expect(other.lines.at(-1)).toBe('close HTTP2_PROTOCOL 3')
  })

  it('gives the window of padding back by itself', () => {
    const { bench } = startServer({ connectionWindowBytes: 65_535, streamWindowBytes: 65_535 })
    bench.feed(headers(1, POST, OPEN))
    for (let piece = 0; piece < 600; piece++) bench.feed(data(1, `\xffx${'\0'.repeat(255)}`, PADDED))
    const updates = bench.framesOf(FRAME.WINDOW_UPDATE)
    expect(new Set(updates.map(({ streamId }) => streamId))).toEqual(new Set([0, 1]))
  })

  it('gives the window of the connection back when a stream ends with bytes unread', () => {
    const { bench, taken } = startServer({ connectionWindowBytes: 65_535, streamWindowBytes: 65_535 }, false)
    bench.feed(headers(1, POST, OPEN), data(1, 'x'.repeat(16_000), 0), data(1, 'x'.repeat(16_000), 0))
    bench.feed(data(1, 'x'.repeat(16_000), 0))
    taken[0]?.stream.reset(8)
    const sent = bench.turn().frames()
    expect(sent.map(({ type, streamId }) => [type, streamId])).toEqual([
      [FRAME.RST_STREAM, 1],
      [FRAME.WINDOW_UPDATE, 0],
    ])
  })

  it('lets small bodies pass a bulk one', () => {
    const { bench, taken } = startServer()
    bench.feed(settings([4, 10_000_000]), windowUpdate(0, 100_000_000), headers(1, GET), headers(3, GET))
    const [bulk, small] = taken as [(typeof taken)[number], (typeof taken)[number]]
    bulk.stream.respond(OK, 'more')
    expect(bulk.stream.write(Buffer.alloc(2_000_000))).toBe(false)
    small.stream.respond(OK, 'more')
    small.stream.end(Buffer.from('quick'))
    const order = bench.turn().framesOf(FRAME.DATA)
    const place = order.findIndex(({ streamId }) => streamId === 3)
    const before = order.slice(0, place).reduce((bytes, { payload }) => bytes + payload.length, 0)
    expect(before).toBeLessThanOrEqual(160 * 1024)
    expect(order.reduce((bytes, { payload }) => bytes + payload.length, 0)).toBe(2_000_005)
  })

  it('gives bulk bodies turns of sixteen kilobytes', () => {
    const { bench, taken } = startServer()
    bench.feed(
      settings([4, 10_000_000], [5, 1_000_000]),
      windowUpdate(0, 100_000_000),
      headers(1, GET),
      headers(3, GET),
      headers(5, GET),
    )
    for (const { stream } of taken) {
      stream.respond(OK, 'more')
      stream.end(Buffer.alloc(500_000))
    }
    const order = bench
      .turn()
      .framesOf(FRAME.DATA)
      .map(({ streamId }) => streamId)
    const turns = order.slice(10, 40).join('')
    expect(turns).toMatch(/^(135)+$|^(351)+$|^(513)+$/)
  })
})
