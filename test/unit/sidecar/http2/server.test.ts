import { describe, expect, it } from 'vitest'
import { FRAME } from '../../../../sidecar/http2/frames.js'
import {
  codeOf,
  data,
  END_HEADERS,
  END_STREAM,
  fieldsOf,
  GET,
  goaway,
  headers,
  PADDED,
  POST,
  ping,
  reset,
} from '../../../support/http2-raw.js'
import { startServer } from '../../../support/http2-server.js'

const OK = { status: 200, fields: [] }
const NOTHING = new Uint8Array()
const OPEN = END_HEADERS

describe('a server', () => {
  it('hands a request on as structure', () => {
    const { bench, taken } = startServer()
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
    const { bench, taken } = startServer()
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
    const { bench, taken } = startServer()
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
    const { bench, taken } = startServer()
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
    const { bench, taken } = startServer()
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
    const { bench, taken } = startServer()
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
    const { bench, taken, lines } = startServer({ maxHeaderListBytes: 1000 })
    bench.feed(headers(1, [...GET, ['x-long', 'v'.repeat(900)]]), headers(3, GET))
    const [answer, end] = bench.frames()
    expect(fieldsOf(answer!)).toEqual([':status', '431'])
    expect([end?.type, codeOf(end!)]).toEqual([FRAME.RST_STREAM, 0])
    expect(lines).toContain('refused 1 CALL_HEAD_TOO_LARGE 0')
    expect(taken.map(({ stream }) => stream.id)).toEqual([3])
  })

  it('refuses streams beyond its limit until the end of one has left', () => {
    const { bench, taken, lines } = startServer({ maxConcurrentStreams: 2 })
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
    const { bench, taken, lines } = startServer({ connectionWindowBytes: 65_535, streamWindowBytes: 65_535 })
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
    const { bench, taken } = startServer()
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
    const { bench, taken, lines } = startServer()
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
    const { bench, taken, lines } = startServer()
    bench.feed(headers(1, GET))
    bench.connection.close(11)
    expect(taken[0]?.heard).toEqual(['end', 'reset HTTP2_CONNECTION_LOST 8'])
    expect(codeOf(bench.turn().frames()[0]!)).toBe(11)
    expect([bench.isClosed, lines.at(-1)]).toEqual([true, 'close'])
    bench.feed(headers(3, GET))
    expect(taken).toHaveLength(1)
  })

  it('says of a transport that is gone what was lost', () => {
    const { bench, taken, lines } = startServer()
    bench.feed(headers(1, POST, OPEN))
    bench.connection.lost()
    expect(taken[0]?.heard).toEqual(['reset HTTP2_CONNECTION_LOST 8'])
    expect(lines.at(-1)).toBe('close HTTP2_CONNECTION_LOST 8')
    expect(bench.turn().frames()).toEqual([])
  })

  it('goes on with its streams when the client says GOAWAY, and closes behind the last', () => {
    const { bench, taken, lines } = startServer()
    bench.feed(headers(1, GET), goaway(0, 0))
    expect(bench.isClosed).toBe(false)
    taken[0]?.stream.respond(OK, 'nothing')
    bench.turn()
    expect([bench.isClosed, lines.includes('goaway 0')]).toEqual([true, true])
  })

  it('stops with the connection, in the middle of what it was fed', () => {
    const { bench, taken } = startServer()
    taken.length = 0
    bench.feed(Buffer.concat([headers(2, GET), headers(1, GET)]))
    expect(taken).toEqual([])
  })

  it('knows extended CONNECT (RFC 8441), and CONNECT', () => {
    const { bench, taken } = startServer()
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
