import { describe, expect, it } from 'vitest'
import type { RequestHead } from '../../../../sidecar/http/message.js'
import type { Follows } from '../../../../sidecar/http/stream.js'
import { ClientTalk, everyCut, GET, OK } from '../../../support/http1-talk.js'

const NOTHING = new Uint8Array()

/** What a request hears of an answer, whatever pieces it comes in. @param end the server half-closes behind it */
function hear(input: string, method = 'GET', end = false): ClientTalk {
  const of = (pieces: readonly string[]): ClientTalk => {
    const talk = new ClientTalk()
    talk.send({ method })
    for (const piece of pieces) talk.feed(piece)
    if (end) {
      talk.connection.ended()
      talk.settle()
    }
    return talk
  }
  const whole = of([input])
  for (const pieces of everyCut(input)) expect(of(pieces).lines).toEqual(whole.lines)
  expect(whole.wire.isClosed).toBe(whole.lines.some((line) => line.startsWith('close')))
  return whole
}

describe('an answer', () => {
  it.each<[input: string, lines: string[], method?: string]>([
    [
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
      ['head 200 content-length 2', 'data ok', 'end', 'idle'],
    ],
    ['HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n', ['head 200 content-length 0', 'end', 'idle']],
    ['HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n', ['head 200 content-length 0', 'end', 'idle']],
    ['HTTP/1.1 200 Tr\xe8s bien\r\nContent-Length: 0\r\n\r\n', ['head 200 content-length 0', 'end', 'idle']],
    [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n',
      ['head 200 x-a b', 'data ok', 'trailers x-t 1', 'end', 'idle'],
    ],
    [
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
      ['interim 100', 'interim 103 link </a>', 'head 204', 'end', 'idle'],
    ],
    ['HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n', ['head 204', 'end', 'idle']],
    ['HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n', ['head 304 content-length 9', 'end', 'close']],
    ['HTTP/1.1 304 Not Modified\r\n\r\n', ['head 304', 'end', 'idle']],
    ['HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n', ['head 200 content-length 9', 'end', 'close'], 'HEAD'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', ['head 200', 'end', 'close'], 'HEAD'],
    [
      'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok',
      ['head 200 content-length 2', 'data ok', 'end', 'close'],
    ],
    [
      'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
      ['head 200 content-length 2', 'data ok', 'end', 'close'],
    ],
    [
      'HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok',
      ['head 200 content-length 2', 'data ok', 'end', 'idle'],
    ],
    [
      'HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 0\r\n\r\n',
      ['head 200 content-length 0', 'end', 'idle'],
    ],
    [
      'HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n',
      ['head 200 content-length 0', 'end', 'idle'],
    ],
  ])('is read, however it is cut: %j', (input, lines, method) => {
    expect(hear(input, method).lines).toEqual(lines)
  })

  it('without a body, where a careless server might send one, is the last of its connection', () => {
    for (const [input, method] of [
      ['HTTP/1.1 200 OK\r\n\r\n', 'HEAD'],
      ['HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n', 'GET'],
      ['HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n', 'GET'],
    ] as const)
      expect(hear(input, method).lines.at(-1)).toBe('close')
  })

  it('without a length goes on until the connection ends', () => {
    const { lines } = hear('HTTP/1.1 200 OK\r\n\r\nok', 'GET', true)
    expect(lines).toEqual(['head 200', 'data ok', 'end', 'close'])
  })

  it.each<[code: string, input: string]>([
    ['CALL_MALFORMED', 'HTTP/2.0 200 OK\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.2 200 OK\r\n\r\n'],
    ['CALL_MALFORMED', 'http/1.1 200 OK\r\n\r\n'],
    ['CALL_MALFORMED', 'ICY 200 OK\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1  200 OK\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 20 OK\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 2000 OK\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 099 OK\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 600 OK\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 200 O\0K\r\n\r\n'],
    ['CALL_MALFORMED', '\r\nHTTP/1.1 200 OK\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 200 OK\n\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 200 OK\r\nX: 1\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 200 OK\r\nX : 1\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 200 OK\r\nX: \0\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 200 OK\r\nX: \r1\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok'],
    ['CALL_MALFORMED', 'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok'],
    ['CALL_MALFORMED', 'HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok'],
    ['CALL_MALFORMED', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['CALL_CODING_UNSUPPORTED', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n'],
    ['CALL_CODING_UNSUPPORTED', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok'],
    ['CALL_MALFORMED', 'HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok'],
    ['CALL_MALFORMED', 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n'],
    ['CALL_MALFORMED', 'HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nok'],
    [
      'CALL_MALFORMED',
      'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
    ],
    ['CALL_MALFORMED', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(101)],
    ['CALL_HEAD_TOO_LARGE', `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(64 * 1024)}\r\n\r\n`],
    ['CALL_HEAD_TOO_LARGE', `HTTP/1.1 200 OK\r\n${'X: 1\r\n'.repeat(201)}\r\n`],
  ])('is refused, however it is cut, with %s: %j', (code, input) => {
    const behind = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
    const talk = new ClientTalk()
    talk.send()
    const { lines } = input.length < 1000 ? hear(input + behind) : talk.feed(input + behind)
    expect(lines.filter((line) => !line.startsWith('interim'))).toEqual([
      expect.stringMatching(`^reset ${code} `),
      `close ${code}`,
    ])
  })

  it.each([
    ['HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok', 'data ok'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n', 'data ok'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n', 'data ok'],
    ['HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n', 'head 200 content-length 3'],
  ])('that ends early is not taken for whole: %j', (input, last) => {
    const { lines } = hear(input, 'GET', true)
    expect(lines.slice(-3)).toEqual([last, 'reset HTTP1_CONNECTION_LOST 8', 'close HTTP1_CONNECTION_LOST'])
  })

  it('with broken chunks ends the connection', () => {
    const { lines } = hear('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx')
    expect(lines).toEqual(['head 200', 'data ok', 'reset CALL_MALFORMED 1', 'close CALL_MALFORMED'])
  })

  it('is not read further than its window, until it is consumed', () => {
    const talk = new ClientTalk({ windowBytes: 10 })
    const stream = talk.send({}, 'nothing', false)
    talk.feed('HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n0123456789')
    expect(talk.wire.isPaused).toBe(false)
    talk.feed('a')
    expect(talk.wire.isPaused).toBe(true)
    stream.consume(11)
    expect(talk.wire.isPaused).toBe(false)
  })
})

describe('a server that speaks out of turn', () => {
  const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

  it('loses the connection: before any request, behind an answer, between two', () => {
    expect(new ClientTalk().feed(ANSWER).lines).toEqual(['close CALL_MALFORMED'])
    for (const behind of ['x', ANSWER]) {
      const together = new ClientTalk()
      together.send()
      expect(together.feed(ANSWER + behind).lines.slice(2)).toEqual(['end', 'close CALL_MALFORMED'])
      const apart = new ClientTalk()
      apart.send()
      apart.feed(ANSWER).feed(behind)
      expect(apart.lines.slice(2)).toEqual(['end', 'idle', 'close CALL_MALFORMED'])
      expect(apart.connection.isReusable).toBe(false)
      expect(() => apart.send()).toThrow(expect.objectContaining({ code: 'HTTP1_CONNECTION_LOST', h2: 7 }))
    }
  })
})

describe('a request', () => {
  const said = (head: Partial<RequestHead>, follows: Follows = 'nothing'): string => {
    const talk = new ClientTalk()
    talk.send(head, follows)
    return talk.wire.output
  }

  it('is written with Host and framing of our own', () => {
    expect(said({ fields: ['x-a', 'b'] })).toBe('GET /x HTTP/1.1\r\nhost: tools.mesh\r\nx-a: b\r\n\r\n')
    expect(said({ method: 'POST' })).toBe('POST /x HTTP/1.1\r\nhost: tools.mesh\r\ncontent-length: 0\r\n\r\n')
    expect(said({ method: 'POST' }, 'more')).toBe(
      'POST /x HTTP/1.1\r\nhost: tools.mesh\r\ntransfer-encoding: chunked\r\n\r\n',
    )
    expect(said({ method: 'POST', fields: ['content-length', '2'] }, 'more')).toBe(
      'POST /x HTTP/1.1\r\nhost: tools.mesh\r\ncontent-length: 2\r\n\r\n',
    )
    expect(said({ authority: '', method: 'DELETE' })).toBe('DELETE /x HTTP/1.1\r\nhost: \r\n\r\n')
  })

  it('with a small body is one text; the next one may follow', () => {
    const talk = new ClientTalk()
    for (let time = 1; time <= 2; time++) {
      const stream = talk.connection.request(
        { ...GET, method: 'POST', fields: ['content-length', '2'] },
        'more',
        { ...SILENT },
      )
      stream.end(OK)
      talk.settle()
      expect(talk.wire.writes).toBe(time)
      expect(talk.connection.isIdle).toBe(false)
      talk.feed('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
      expect(talk.connection.isIdle).toBe(true)
    }
    expect(talk.lines).toEqual(['idle', 'idle'])
  })

  it.each<[what: string, head: Partial<RequestHead>]>([
    ['a line break in a field', { fields: ['x', 'a\r\nb: c'] }],
    ['a NUL in a field', { fields: ['x', '\0'] }],
    ['a field name with a space', { fields: ['x y', 'a'] }],
    ['upper case', { fields: ['X', 'a'] }],
    ['Host among the fields', { fields: ['host', 'a'] }],
    ['Transfer-Encoding', { fields: ['transfer-encoding', 'chunked'] }],
    ['two lengths', { fields: ['content-length', '0', 'content-length', '0'] }],
    ['a length and no body', { fields: ['content-length', '3'] }],
    ['a space in the path', { path: '/x y' }],
    ['a line break in the path', { path: '/x\r\n' }],
    ['no path', { path: '' }],
    ['a space in the method', { method: 'GET /x' }],
    ['an authority with user information', { authority: 'a@b' }],
    ['an authority with a line break', { authority: 'a\r\nx: y' }],
    ['CONNECT', { method: 'CONNECT', path: '' }],
    ['another protocol', { method: 'CONNECT', protocol: 'tea' }],
  ])('with %s is not sent, and the connection stays good', (_what, head) => {
    const talk = new ClientTalk()
    expect(() => talk.send(head)).toThrow(expect.objectContaining({ code: 'CALL_MALFORMED' }))
    talk.settle()
    expect(talk.wire.output).toBe('')
    expect(talk.connection.isIdle).toBe(true)
    talk.send()
    expect(talk.wire.output).toMatch(/^GET /)
  })

  it('that is answered before it is whole leaves a connection that takes no other', () => {
    const talk = new ClientTalk()
    const stream = talk.send({ method: 'POST' }, 'more')
    talk.feed('HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n')
    expect(talk.lines).toEqual(['head 413 content-length 0', 'end'])
    expect(talk.connection.isReusable).toBe(false)
    stream.end(NOTHING)
    talk.settle()
    expect(talk.lines.at(-1)).toBe('close')
    expect(talk.wire.isClosed).toBe(true)
  })

  it('whose body is longer than declared ends the connection', () => {
    const talk = new ClientTalk()
    const stream = talk.send({ method: 'POST', fields: ['content-length', '1'] }, 'more')
    stream.write(OK)
    talk.settle()
    expect(talk.lines).toEqual(['reset CALL_MALFORMED 2', 'close CALL_MALFORMED'])
    expect(talk.wire.output.endsWith('\r\n\r\n')).toBe(true)
  })

  it('that is lost says whether anything was answered or taken', () => {
    const lost = (act: (talk: ClientTalk) => void): string[] => {
      const talk = new ClientTalk()
      act(talk)
      talk.connection.ended()
      talk.settle()
      return talk.lines
    }
    const REFUSED = ['reset HTTP1_CONNECTION_LOST 7', 'close HTTP1_CONNECTION_LOST']
    const CANCELLED = ['reset HTTP1_CONNECTION_LOST 8', 'close HTTP1_CONNECTION_LOST']
    expect(lost((talk) => talk.send())).toEqual(REFUSED)
    expect(lost((talk) => talk.send({ method: 'POST' }, 'more'))).toEqual(REFUSED)
    expect(lost((talk) => talk.send({ method: 'POST' }, 'more').write(OK))).toEqual(CANCELLED)
    expect(
      lost((talk) => {
        talk.send()
        talk.feed('H')
      }),
    ).toEqual(CANCELLED)
    expect(lost(() => undefined)).toEqual(['close'])
  })

  it('that its user resets closes the connection, and its sink hears nothing more', () => {
    const talk = new ClientTalk()
    const stream = talk.send()
    stream.reset(8)
    talk.feed('HTTP/1.1 200 OK\r\n\r\n')
    expect(talk.lines).toEqual(['close'])
    expect(talk.wire.isClosed).toBe(true)
  })
})

const SILENT = {
  onInterim: () => undefined,
  onHead: () => undefined,
  onData: () => undefined,
  onTrailers: () => undefined,
  onEnd: () => undefined,
  onReset: () => undefined,
  onDrain: () => undefined,
}
