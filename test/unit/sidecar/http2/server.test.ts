import { describe, expect, it } from 'vitest'
import { FRAME } from '../../../../sidecar/http2/frames.js'
import { takeRequests } from '../../../support/http2-log.js'
import {
  type Bench,
  codeOf,
  data,
  END_HEADERS,
  END_STREAM,
  fieldsOf,
  GET,
  goaway,
  HELLO,
  headers,
  openServer,
  PADDED,
  POST,
  PREFACE,
  ping,
  reset,
  settings,
  windowUpdate,
} from '../../../support/http2-raw.js'

const OK = { status: 200, fields: [] }
const NOTHING = new Uint8Array()
const OPEN = END_HEADERS

const started = (
  limits: Parameters<typeof openServer>[1] = {},
  consume = true,
): ReturnType<typeof takeRequests> & { bench: Bench<ReturnType<typeof openServer>['connection']> } => {
  const requests = takeRequests(consume)
  const bench = openServer(requests.events, limits).feed(PREFACE, HELLO)
  bench.frames()
  return { ...requests, bench }
}

describe('a server', () => {
  it('hands a request on as structure', () => {
    const { bench, taken } = started()
    bench.feed(headers(1, [...GET, ['x-a', '1'], ['host', 'TOOLS.mesh'], ['x-a', '2']]))
    expect(taken[0]?.head).toEqual({
      method: 'GET',
      scheme: 'http',
      authority: 'tools.mesh',
      path: '/',
      protocol: null,
      fields: ['x-a', '1', 'x-a', '2'],
    })
    expect(taken[0]?.heard).toEqual(['end'])
  })

  it('takes body and trailers, and answers with body and trailers', () => {
    const { bench, taken } = started()
    bench.feed(
      headers(1, POST, OPEN),
      data(1, 'ab', 0),
      data(1, '\x02cd\0\0', PADDED),
      headers(1, [['x-sum', '4']]),
    )
    const [{ stream, heard }] = taken as [(typeof taken)[number]]
    expect(heard).toEqual(['data ab', 'data cd', 'trailers x-sum 4', 'end'])
    stream.respond({ status: 200, fields: ['x-b', '1'] }, 'more')
    stream.write(Buffer.from('yes'))
    stream.endWithTrailers(['grpc-status', '0'])
    const [head, body, trailers] = bench.turn().frames()
    expect(fieldsOf(head!)).toEqual([':status', '200', 'x-b', '1'])
    expect(body?.payload.toString()).toBe('yes')
    expect(body?.flags).toBe(0)
    expect(fieldsOf(trailers!)).toEqual(['grpc-status', '0'])
    expect(trailers?.flags).toBe(END_STREAM | END_HEADERS)
    expect(bench.connection.openStreams).toBe(0)
  })

  it('sends everything of a turn in one write', () => {
    const { bench, taken } = started()
    bench.feed(Buffer.concat([1, 3, 5, 7].map((id) => headers(id, GET))))
    const before = bench.writes.length
    for (const { stream } of taken) {
      stream.respond(OK, 'more')
      stream.end(Buffer.from('hello'))
    }
    bench.turn()
    expect(bench.writes.length).toBe(before + 1)
    expect(bench.frames()).toHaveLength(8)
  })

  it('writes nothing more while a write is under way', () => {
    const { bench, taken } = started()
    bench.feed(headers(1, GET), headers(3, GET))
    bench.isStuck = true
    taken[0]?.stream.respond(OK, 'nothing')
    bench.turn()
    taken[1]?.stream.respond(OK, 'nothing')
    bench.turn()
    expect(bench.frames().map(({ streamId }) => streamId)).toEqual([1])
    bench.isStuck = false
    expect(
      bench
        .turn()
        .frames()
        .map(({ streamId }) => streamId),
    ).toEqual([3])
  })

  it('sends interim heads before the head', () => {
    const { bench, taken } = started()
    bench.feed(headers(1, POST, OPEN))
    const [{ stream }] = taken as [(typeof taken)[number]]
    stream.interim({ status: 100, fields: [] })
    stream.interim({ status: 103, fields: ['link', '</a>'] })
    stream.respond(OK, 'nothing')
    const sent = bench.turn().frames()
    expect(sent.map((one) => fieldsOf(one)[1])).toEqual(['100', '103', '200'])
    expect(sent.map(({ flags }) => flags & END_STREAM)).toEqual([0, 0, END_STREAM])
    expect(() => stream.interim({ status: 200, fields: [] })).toThrow(TypeError)
  })

  it('splits a head that is larger than a frame', () => {
    const { bench, taken } = started()
    bench.feed(headers(1, GET))
    taken[0]?.stream.respond({ status: 200, fields: ['x-long', 'v'.repeat(40_000)] }, 'nothing')
    const sent = bench.turn().frames()
    expect(sent.map(({ type, flags }) => [type, flags])).toEqual([
      [FRAME.HEADERS, END_STREAM],
      [FRAME.CONTINUATION, 0],
      [FRAME.CONTINUATION, END_HEADERS],
    ])
    const whole = { ...sent[0]!, payload: Buffer.concat(sent.map(({ payload }) => payload)) }
    expect(fieldsOf(whole)[3]).toHaveLength(40_000)
  })

  it('answers 431 to a head that is too large, and goes on', () => {
    const { bench, taken, lines } = started({ maxHeaderListBytes: 1000 })
    bench.feed(headers(1, [...GET, ['x-long', 'v'.repeat(900)]]), headers(3, GET))
    const [answer, end] = bench.frames()
    expect(fieldsOf(answer!)).toEqual([':status', '431'])
    expect([end?.type, codeOf(end!)]).toEqual([FRAME.RST_STREAM, 0])
    expect(lines).toContain('refused 1 CALL_HEAD_TOO_LARGE 0')
    expect(taken.map(({ stream }) => stream.id)).toEqual([3])
  })

  it('refuses streams beyond its limit until the end of one has left', () => {
    const { bench, taken, lines } = started({ maxConcurrentStreams: 2 })
    bench.feed(headers(1, GET), headers(3, GET), headers(5, GET))
    expect(lines).toContain('refused 5 HTTP2_STREAM_REFUSED 7')
    bench.isStuck = true
    for (const { stream } of taken) stream.respond(OK, 'nothing')
    bench.feed(headers(7, GET))
    expect(lines).toContain('refused 7 HTTP2_STREAM_REFUSED 7')
    bench.isStuck = false
    bench.turn().feed(headers(9, GET))
    expect(taken.map(({ stream }) => stream.id)).toEqual([1, 3, 9])
  })

  it('forgives frames on a stream that it has reset, and gives their window back', () => {
    const { bench, taken, lines } = started({ connectionWindowBytes: 65_535, streamWindowBytes: 65_535 })
    bench.feed(headers(1, POST, OPEN))
    taken[0]?.stream.reset(8)
    bench.turn().frames()
    for (let piece = 0; piece < 20; piece++) bench.feed(data(1, 'x'.repeat(16_000), 0))
    bench.feed(headers(1, [['x-late', '1']]), headers(3, GET))
    expect(taken.map(({ stream }) => stream.id)).toEqual([1, 3])
    expect(lines).toEqual(['settings'])
    expect(bench.frames().some(({ type, streamId }) => type === FRAME.WINDOW_UPDATE && streamId === 0)).toBe(
      true,
    )
  })

  it('tells the sink when the peer resets, and lets nothing be written any more', () => {
    const { bench, taken } = started()
    bench.feed(headers(1, GET), reset(1, 8))
    const [{ stream, heard }] = taken as [(typeof taken)[number]]
    expect(heard).toEqual(['end', 'reset HTTP2_STREAM_RESET 8'])
    stream.respond(OK, 'more')
    expect(stream.write(Buffer.alloc(100_000))).toBe(true)
    stream.end(NOTHING)
    stream.consume(5)
    expect(bench.turn().frames()).toEqual([])
  })

  it('drains: takes what was under way, then refuses, then closes', () => {
    const { bench, taken, lines } = started()
    bench.feed(headers(1, GET))
    bench.connection.drain()
    const [first, question] = bench.turn().frames()
    expect([first?.type, first?.payload.readUInt32BE(0), codeOf(first!)]).toEqual([
      FRAME.GOAWAY,
      0x7fff_ffff,
      0,
    ])
    bench.feed(headers(3, GET), ping(question!.payload.toString('latin1'), 1))
    const [second] = bench.frames()
    expect([second?.type, second?.payload.readUInt32BE(0)]).toEqual([FRAME.GOAWAY, 3])
    bench.feed(headers(5, GET))
    expect(lines).toContain('refused 5 HTTP2_STREAM_REFUSED 7')
    for (const { stream } of taken) stream.respond(OK, 'nothing')
    bench.turn()
    expect(bench.isClosed).toBe(true)
    expect(lines.at(-1)).toBe('close')
    expect(bench.framesOf(FRAME.HEADERS)).toHaveLength(2)
  })

  it('closes at once, telling every sink', () => {
    const { bench, taken, lines } = started()
    bench.feed(headers(1, GET))
    bench.connection.close(11)
    expect(taken[0]?.heard).toEqual(['end', 'reset HTTP2_CONNECTION_LOST 8'])
    expect(codeOf(bench.turn().frames()[0]!)).toBe(11)
    expect([bench.isClosed, lines.at(-1)]).toEqual([true, 'close'])
    bench.feed(headers(3, GET))
    expect(taken).toHaveLength(1)
  })

  it('says of a transport that is gone what was lost', () => {
    const { bench, taken, lines } = started()
    bench.feed(headers(1, POST, OPEN))
    bench.connection.lost()
    expect(taken[0]?.heard).toEqual(['reset HTTP2_CONNECTION_LOST 8'])
    expect(lines.at(-1)).toBe('close HTTP2_CONNECTION_LOST 8')
    expect(bench.turn().frames()).toEqual([])
  })

  it('goes on with its streams when the client says GOAWAY, and closes behind the last', () => {
    const { bench, taken, lines } = started()
    bench.feed(headers(1, GET), goaway(0, 0))
    expect(bench.isClosed).toBe(false)
    taken[0]?.stream.respond(OK, 'nothing')
    bench.turn()
    expect([bench.isClosed, lines.includes('goaway 0')]).toEqual([true, true])
  })

  it('stops with the connection, in the middle of what it was fed', () => {
    const { bench, taken } = started()
    taken.length = 0
    bench.feed(Buffer.concat([headers(2, GET), headers(1, GET)]))
    expect(taken).toEqual([])
  })

  it('knows extended CONNECT (RFC 8441), and CONNECT', () => {
    const { bench, taken } = started()
    const websocket = [
      [':method', 'CONNECT'],
      [':protocol', 'websocket'],
      [':scheme', 'https'],
      [':path', '/chat'],
      [':authority', 'tools.mesh'],
      ['sec-websocket-version', '13'],
    ] as const
    bench.feed(headers(1, websocket, OPEN), data(1, 'up', 0))
    const [{ stream, head, heard }] = taken as [(typeof taken)[number]]
    expect([head.method, head.protocol, head.path]).toEqual(['CONNECT', 'websocket', '/chat'])
    stream.respond(OK, 'more')
    stream.write(Buffer.from('down'))
    expect(heard).toEqual(['data up'])
    bench.feed(
      headers(
        3,
        [
          [':method', 'CONNECT'],
          [':authority', 'tools.mesh:443'],
        ],
        OPEN,
      ),
    )
    expect(taken[1]?.head).toMatchObject({ method: 'CONNECT', authority: 'tools.mesh:443', path: '' })
  })
})

describe('flow control of a server', () => {
  it('holds back what the window of a stream does not allow, and says when it has gone', () => {
    const { bench, taken } = started()
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
    const { bench, taken } = started()
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
    const { bench, taken } = started()
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
    const { bench, taken } = started()
    bench.feed(settings([4, 0]), headers(1, GET))
    taken[0]?.stream.respond(OK, 'more')
    taken[0]?.stream.end(NOTHING)
    expect(
      bench
        .turn()
        .framesOf(FRAME.DATA)
        .map(({ flags, payload }) => [flags, payload.length]),
    ).toEqual([[END_STREAM, 0]])
  })

  it('widens windows by what was consumed, and by nothing else', () => {
    const limits = { streamWindowBytes: 100_000, connectionWindowBytes: 150_000 }
    const { bench, taken } = started(limits, false)
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
    const { bench, lines } = started({ streamWindowBytes: 20_000 }, false)
    bench.feed(headers(1, POST, OPEN), data(1, 'x'.repeat(16_000), 0), data(1, 'x'.repeat(4001), 0))
    expect(lines).toContain('refused 1 HTTP2_PROTOCOL 3')
    const other = started({ connectionWindowBytes: 65_535 }, false)
    other.bench.feed(headers(1, POST, OPEN), headers(3, POST, OPEN))
    for (let piece = 0; piece < 3; piece++)
      for (const id of [1, 3]) other.bench.feed(data(id, 'x'.repeat(12_000), 0))
    expect(other.lines.at(-1)).toBe('close HTTP2_PROTOCOL 3')
  })

  it('gives the window of padding back by itself', () => {
    const { bench } = started({ connectionWindowBytes: 65_535, streamWindowBytes: 65_535 })
    bench.feed(headers(1, POST, OPEN))
    for (let piece = 0; piece < 600; piece++) bench.feed(data(1, `\xffx${'\0'.repeat(255)}`, PADDED))
    const updates = bench.framesOf(FRAME.WINDOW_UPDATE)
    expect(new Set(updates.map(({ streamId }) => streamId))).toEqual(new Set([0, 1]))
  })

  it('gives the window of the connection back when a stream ends with bytes unread', () => {
    const { bench, taken } = started({ connectionWindowBytes: 65_535, streamWindowBytes: 65_535 }, false)
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
    const { bench, taken } = started()
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
    const { bench, taken } = started()
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
