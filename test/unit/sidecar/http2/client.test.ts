import { describe, expect, it } from 'vitest'
import type { RequestHead } from '../../../../sidecar/http/message.js'
import type { Http2Stream } from '../../../../sidecar/http2/contract.js'
import { FRAME } from '../../../../sidecar/http2/frames.js'
import { listen, listenTo } from '../../../support/http2-log.js'
import {
  ACK,
  codeOf,
  data,
  END_HEADERS,
  END_STREAM,
  fieldsOf,
  frame,
  goaway,
  HELLO,
  headers,
  openClient,
  PREFACE,
  reset,
  SETTINGS_ACK,
  settings,
} from '../../../support/http2-raw.js'

const REQUEST: RequestHead = {
  method: 'GET',
  scheme: 'https',
  authority: 'tools.mesh',
  path: '/tickets',
  protocol: null,
  fields: ['accept', '*/*'],
}
const OPEN = END_HEADERS
const OK = [[':status', '200']] as const

function started(limits: Parameters<typeof openClient>[1] = {}) {
  const { lines, events } = listenTo()
  const bench = openClient(events, limits).turn()
  const greeting = Buffer.concat(bench.writes)
  bench.feed(HELLO)
  bench.frames()
  const ask = (head: Partial<RequestHead> = {}, follows: 'more' | 'nothing' = 'nothing') => {
    const heard = listen(() => stream)
    const stream: Http2Stream = bench.connection.request({ ...REQUEST, ...head }, follows, heard.sink)
    bench.turn()
    return { stream, heard: heard.lines }
  }
  return { bench, lines, ask, greeting }
}

describe('a client', () => {
  it('begins with the preface and its settings, without push', () => {
    const { greeting } = started()
    expect(greeting.indexOf(PREFACE)).toBe(0)
    expect(greeting.includes(Buffer.from('000200000000', 'hex'))).toBe(true)
  })

  it('sends a request and takes its answer', () => {
    const { bench, ask } = started()
    const { stream, heard } = ask()
    const [sent] = bench.frames()
    expect([sent?.streamId, sent?.flags]).toEqual([1, END_STREAM | END_HEADERS])
    expect(fieldsOf(sent!)).toEqual([
      ':method',
      'GET',
      ':scheme',
      'https',
      ':path',
      '/tickets',
      ':authority',
      'tools.mesh',
      'accept',
      '*/*',
    ])
    bench.feed(
      headers(1, [[':status', '103']], OPEN),
      headers(1, [...OK, ['x-a', '1']], OPEN),
      data(1, 'hello', 0),
      headers(1, [['grpc-status', '0']]),
    )
    expect(heard).toEqual(['interim 103', 'head 200 x-a 1', 'data hello', 'trailers grpc-status 0', 'end'])
    expect([stream.isClosed, bench.connection.openStreams]).toEqual([true, 0])
  })

  it('streams a body up while the answer comes down', () => {
    const { bench, ask } = started()
    const { stream, heard } = ask({ method: 'POST' }, 'more')
    stream.write(Buffer.from('one'))
    bench.feed(headers(1, OK, OPEN), data(1, 'two', 0))
    stream.end(Buffer.from('three'))
    bench.turn().feed(data(1, 'four'))
    expect(bench.framesOf(FRAME.DATA).map(({ payload }) => payload.toString())).toEqual(['one', 'three'])
    expect(heard).toEqual(['head 200', 'data two', 'data four', 'end'])
  })

  it('opens no more streams than the peer allows, and says when it may again', () => {
    const { bench, ask, lines } = started()
    bench.feed(settings([3, 1]))
    ask()
    expect(bench.connection.capacity).toBe(0)
    expect(() => ask()).toThrow(expect.objectContaining({ code: 'HTTP2_STREAM_REFUSED' }) as Error)
    bench.feed(headers(1, OK))
    expect([lines.at(-1), bench.connection.capacity]).toEqual(['capacity', 1])
    ask()
    expect(bench.connection.capacity).toBe(0)
    bench.feed(settings([3, 2]))
    expect([lines.at(-1), bench.connection.capacity]).toEqual(['capacity', 1])
  })

  it('opens no more than a hundred before it was told', () => {
    const { events } = listenTo()
    expect(openClient(events).connection.capacity).toBe(100)
    expect(openClient(events).feed(settings()).connection.capacity).toBe(0xffff_ffff)
  })

  it('opens none while too much waits for the peer to read', () => {
    const { bench, ask, lines } = started({ maxBacklogBytes: 1000 })
    bench.isStuck = true
    ask()
    let asked = 0
    for (; bench.connection.capacity > 0; asked++) ask({ fields: ['x-a', 'v'.repeat(90)] }).stream.reset(8)
    expect(asked).toBeLessThan(12)
    bench.isStuck = false
    bench.turn()
    expect(lines.at(-1)).toBe('capacity')
    expect(bench.connection.capacity).toBeGreaterThan(0)
  })

  it('tells refused requests from lost ones when the peer goes away', () => {
    const { bench, ask, lines } = started()
    const first = ask()
    const second = ask()
    bench.feed(goaway(1, 0))
    expect(second.heard).toEqual(['reset HTTP2_STREAM_REFUSED 7'])
    expect(() => ask()).toThrow(expect.objectContaining({ code: 'HTTP2_STREAM_REFUSED' }) as Error)
    bench.feed(headers(1, OK))
    expect(first.heard).toEqual(['head 200', 'end'])
    expect(lines.slice(-2)).toEqual(['goaway 0', 'close'])
    expect(bench.isClosed).toBe(true)
  })

  it('refuses a GOAWAY that takes back what an earlier one refused', () => {
    const { bench, ask, lines } = started()
    ask()
    bench.feed(goaway(1, 0), goaway(3, 0))
    expect(lines.at(-1)).toBe('close HTTP2_PROTOCOL 1')
  })

  it('drains: opens nothing more and closes behind the last answer', () => {
    const { bench, ask } = started()
    ask()
    bench.connection.drain()
    expect(bench.connection.capacity).toBe(0)
    bench.turn().feed(headers(1, OK))
    expect([bench.isClosed, bench.framesOf(FRAME.GOAWAY).length]).toEqual([true, 1])
  })

  it('takes a reset for what its code says', () => {
    const { bench, ask } = started()
    const cancelled = ask()
    const refused = ask()
    bench.feed(reset(1, 8), reset(3, 7))
    expect(cancelled.heard).toEqual(['reset HTTP2_STREAM_RESET 8'])
    expect(refused.heard).toEqual(['reset HTTP2_STREAM_REFUSED 7'])
  })

  it('takes a whole answer although the peer wants no more of the request', () => {
    const { bench, ask } = started()
    const { stream, heard } = ask({ method: 'POST' }, 'more')
    bench.feed(headers(1, [[':status', '413']]), reset(1, 0))
    expect(heard).toEqual(['head 413', 'end', 'reset HTTP2_STREAM_RESET 0'])
    expect(stream.write(Buffer.from('more'))).toBe(true)
    expect(bench.turn().framesOf(FRAME.DATA)).toEqual([])
  })

  it('knows which answers have no body', () => {
    const { bench, ask } = started()
    const head = ask({ method: 'HEAD' })
    const unchanged = ask()
    const wrong = ask({ method: 'HEAD' })
    bench.feed(
      headers(1, [...OK, ['content-length', '17']]),
      headers(3, [
        [':status', '304'],
        ['content-length', '17'],
      ]),
      headers(5, OK, OPEN),
      data(5, 'body'),
    )
    expect(head.heard).toEqual(['head 200 content-length 17', 'end'])
    expect(unchanged.heard).toEqual(['head 304 content-length 17', 'end'])
    expect(wrong.heard).toEqual(['head 200', 'reset CALL_MALFORMED 1'])
  })

  it.each([
    ['no status', [['x-a', '1']]],
    ['a status of four digits', [[':status', '2000']]],
    ['101', [[':status', '101']]],
    [
      'a pseudo-field of requests',
      [
        [':status', '200'],
        [':path', '/'],
      ],
    ],
    [
      'two statuses',
      [
        [':status', '200'],
        [':status', '200'],
      ],
    ],
    [
      'upper case',
      [
        [':status', '200'],
        ['X-A', '1'],
      ],
    ],
    [
      'transfer-encoding',
      [
        [':status', '200'],
        ['transfer-encoding', 'chunked'],
      ],
    ],
    [
      'two lengths',
      [
        [':status', '200'],
        ['content-length', '1'],
        ['content-length', '1'],
      ],
    ],
  ] as const)('refuses an answer with %s', (_, fields) => {
    const { bench, ask, lines } = started()
    const { heard } = ask()
    bench.feed(headers(1, fields))
    expect(heard).toEqual(['reset CALL_MALFORMED 1'])
    expect(lines).toContain('refused 1 CALL_MALFORMED 1')
    expect(codeOf(bench.framesOf(FRAME.RST_STREAM)[0]!)).toBe(1)
  })

  it('refuses DATA before the head, an interim head that ends, and a short body', () => {
    const { bench, ask } = started()
    const [early, interim, short] = [ask(), ask(), ask()]
    bench.feed(data(1, 'x'), headers(3, [[':status', '100']]))
    bench.feed(headers(5, [...OK, ['content-length', '5']], OPEN), data(5, 'four'))
    expect(early.heard).toEqual(['reset CALL_MALFORMED 1'])
    expect(interim.heard).toEqual(['reset CALL_MALFORMED 1'])
    expect(short.heard.at(-1)).toBe('reset CALL_MALFORMED 1')
  })

  it('takes nothing on streams that it has not opened, and no push', () => {
    for (const bytes of [
      headers(2, OK),
      headers(3, OK),
      data(1, 'x'),
      frame(FRAME.PUSH_PROMISE, END_HEADERS, 1, '\0\0\0\x02'),
      settings([2, 1]),
    ]) {
      const { bench, lines } = started()
      bench.feed(bytes)
      expect(lines.at(-1)).toBe('close HTTP2_PROTOCOL 1')
    }
  })

  it('uses extended CONNECT with peers that know it only', () => {
    const { bench, ask } = started()
    const tunnel = { method: 'CONNECT', protocol: 'websocket' }
    expect(() => ask(tunnel, 'more')).toThrow(
      expect.objectContaining({ code: 'HTTP2_STREAM_REFUSED' }) as Error,
    )
    bench.feed(settings([8, 1]))
    bench.frames()
    const { heard } = ask(tunnel, 'more')
    expect(fieldsOf(bench.framesOf(FRAME.HEADERS)[0]!)).toContain(':protocol')
    bench.feed(headers(1, [...OK, ['content-length', '3']], OPEN), data(1, 'frames of any length', 0))
    expect(heard).toEqual(['head 200 content-length 3', 'data frames of any length'])
  })

  it('does not use up a stream for a head that cannot be sent', () => {
    const { bench, ask } = started()
    expect(() => ask({ fields: ['x-a', 'b\nc'] })).toThrow(
      expect.objectContaining({ code: 'CALL_MALFORMED' }) as Error,
    )
    ask()
    expect(bench.frames().map(({ type, streamId }) => [type, streamId])).toEqual([[FRAME.HEADERS, 1]])
  })

  it('measures with PING, in order, a few at once', () => {
    const { bench } = started()
    const back: number[] = []
    for (let ping = 0; ping < 8; ping++) expect(bench.connection.ping(() => back.push(ping))).toBe(true)
    expect(bench.connection.ping(() => back.push(99))).toBe(false)
    const sent = bench.turn().framesOf(FRAME.PING)
    bench.feed(frame(FRAME.PING, ACK, 0, 'notours!'))
    for (const { payload } of sent) bench.feed(frame(FRAME.PING, ACK, 0, payload))
    expect(back).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })

  it('knows whether its settings were acknowledged', () => {
    const { events } = listenTo()
    const bench = openClient(events).feed(settings())
    expect(bench.connection.isAcknowledged).toBe(false)
    bench.feed(SETTINGS_ACK)
    expect(bench.connection.isAcknowledged).toBe(true)
  })
})
