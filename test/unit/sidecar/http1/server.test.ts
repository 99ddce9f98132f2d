import { describe, expect, it } from 'vitest'
import type { HttpStream } from '../../../../sidecar/http/stream.js'
import { everyCut, OK, ServerTalk } from '../../../support/http1-talk.js'

const NOTHING = new Uint8Array()
const OK_HEAD = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n'

/** What is heard and said, whatever pieces the input comes in. */
function hear(input: string): ServerTalk {
  const whole = new ServerTalk().feed(input)
  for (const pieces of everyCut(input)) {
    const talk = new ServerTalk()
    for (const piece of pieces) talk.feed(piece)
    expect([pieces[0], talk.lines, talk.wire.output]).toEqual([pieces[0], whole.lines, whole.wire.output])
  }
  return whole
}

const POST = 'POST / HTTP/1.1\r\nHost: a\r\n'
const CHUNKED = `${POST}Transfer-Encoding: Chunked\r\n\r\n`
const POST_LINE = 'POST http://a/ 1.1'
const NEXT = 'GET /next HTTP/1.1\r\nHost: a\r\n\r\n'
const NEXT_LINES = ['GET http://a/next 1.1', 'end']

describe('a body', () => {
  it.each<[input: string, lines: string[]]>([
    [`${POST}Content-Length: 3\r\n\r\nabc`, [`${POST_LINE} content-length 3`, 'data abc', 'end']],
    [`${POST}Content-Length: 0\r\n\r\n`, [`${POST_LINE} content-length 0`, 'end']],
    [`${CHUNKED}0\r\n\r\n`, [POST_LINE, 'end']],
    [`${CHUNKED}3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n`, [POST_LINE, 'data abc0123456789', 'end']],
    [`${CHUNKED}000000000001\r\na\r\n0\r\n\r\n`, [POST_LINE, 'data a', 'end']],
    [
      `${CHUNKED}1\r\n\r\r\n0\r\nX-A: b \r\nx-c:\r\n\r\n`,
      [POST_LINE, 'data \r', 'trailers x-a b x-c ', 'end'],
    ],
    [
      'PUT / HTTP/1.0\r\nContent-Length: 1\r\n\r\na',
      ['PUT http:/// 1.0 content-length 1', 'data a', 'end', 'close'],
    ],
  ])('is taken, however it is cut, and the next request behind it: %j', (input, lines) => {
    const isLast = lines.includes('close')
    expect(hear(input + (isLast ? '' : NEXT)).lines).toEqual(isLast ? lines : [...lines, ...NEXT_LINES])
  })

  it.each<[code: string, input: string]>([
    ['CALL_MALFORMED', '\r\n'],
    ['CALL_MALFORMED', '\r\n\r\n'],
    ['CALL_MALFORMED', '1\r\naxx0\r\n\r\n'],
    ['CALL_MALFORMED', '1\r\na\rx0\r\n\r\n'],
    ['CALL_MALFORMED', '1\rxa\r\n0\r\n\r\n'],
    ['CALL_MALFORMED', '0\rx\r\n'],
    ['CALL_MALFORMED', 'x\r\n'],
    ['CALL_MALFORMED', ' 1\r\na\r\n'],
    ['CALL_MALFORMED', '1 \r\na\r\n'],
    ['CALL_MALFORMED', '0x1\r\na\r\n'],
    ['CALL_MALFORMED', '+1\r\na\r\n'],
    ['CALL_MALFORMED', '1;a=b\r\na\r\n'],
    ['CALL_MALFORMED', '1;\r\na\r\n'],
    ['CALL_MALFORMED', '1\na\n'],
    ['CALL_MALFORMED', '1\r\na\n'],
    ['CALL_MALFORMED', '1\r\nab\r\n'],
    ['CALL_MALFORMED', '1\r\ra'],
    ['CALL_MALFORMED', '1\r\na\r\r'],
    ['CALL_MALFORMED', '1000000000000\r\na'],
    ['CALL_MALFORMED', '0000000000001\r\na\r\n'],
    ['CALL_MALFORMED', '0\r\nx\r\n\r\n'],
    ['CALL_MALFORMED', '0\r\nx: 1\n\r\n\r\n'],
    ['CALL_MALFORMED', '0\r\nx : 1\r\n\r\n'],
    ['CALL_MALFORMED', '0\r\n x: 1\r\n\r\n'],
    ['CALL_MALFORMED', '0\r\nx: \0\r\n\r\n'],
    ['CALL_MALFORMED', '0\r\nContent-Length: 1\r\n\r\n'],
    ['CALL_MALFORMED', '0\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['CALL_MALFORMED', '0\r\nhost: a\r\n\r\n'],
    ['CALL_MALFORMED', '0\r\nte: trailers\r\n\r\n'],
    ['CALL_MALFORMED', '0\r\ntrailer: x\r\n\r\n'],
    ['CALL_MALFORMED', '0\r\nConnection: x\r\n\r\n'],
    ['CALL_HEAD_TOO_LARGE', `0\r\nx: ${'y'.repeat(16 * 1024)}\r\n\r\n`],
    ['CALL_HEAD_TOO_LARGE', `0\r\n${'x:\r\n'.repeat(201)}\r\n`],
  ])('that is chunked wrongly ends the call and the connection with %s: %j', (code, chunks) => {
    // 1000000000000 is 13 digits, one more than may be.
    const input = CHUNKED + chunks + NEXT
    const { lines, wire } = input.length < 1000 ? hear(input) : new ServerTalk().feed(input)
    const heard = lines.filter((line) => !line.startsWith('data '))
    expect(heard).toEqual([
      POST_LINE,
      expect.stringMatching(`^reset ${code} `),
      `refused ${code}`,
      `close ${code}`,
    ])
    expect(wire.output).toBe('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
    expect(wire.isClosed).toBe(true)
  })

  it('that is chunked wrongly behind the beginning of an answer is not answered a second time', () => {
    const talk = new ServerTalk({
      serve: (stream) => {
        stream.respond({ status: 200, fields: [] }, 'more')
        return {}
      },
    }).feed(`${CHUNKED}x`)
    expect(talk.lines).toEqual([
      POST_LINE,
      'reset CALL_MALFORMED 1',
      'refused CALL_MALFORMED without an answer',
      'close CALL_MALFORMED',
    ])
    expect(talk.wire.output).toBe(
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n',
    )
    expect(talk.wire.isClosed).toBe(true)
  })

  it('is not read further than its window, until it is consumed', () => {
    const talk = new ServerTalk({ limits: { windowBytes: 10 }, consume: false })
    talk.feed(`${POST}Content-Length: 30\r\n\r\n0123456789`)
    expect(talk.wire.isPaused).toBe(false)
    talk.feed('a')
    expect(talk.wire.isPaused).toBe(true)
    talk.stream.consume(1)
    expect(talk.wire.isPaused).toBe(false)
    expect(() => talk.stream.consume(11)).toThrow(RangeError)
  })
})

describe('an answer', () => {
  const answered = (input: string, act: (stream: HttpStream) => void): ServerTalk =>
    new ServerTalk({
      serve: (stream) => ({ onEnd: () => act(stream) }),
    }).feed(input)
  const said = (input: string, act: (stream: HttpStream) => void): string => answered(input, act).wire.output

  it('goes as one text with its small body, at once', () => {
    const talk = answered(NEXT, (stream) => {
      stream.respond({ status: 200, fields: ['content-length', '2'] }, 'more')
      stream.end(OK)
    })
    expect(talk.wire).toMatchObject({ output: `${OK_HEAD}\r\nok`, writes: 1 })
  })

  it('is framed anew: by its length, in chunks with trailers, or as nothing', () => {
    expect(
      said(NEXT, (stream) => {
        stream.respond({ status: 201, fields: ['x-a', 'b'] }, 'more')
        expect(stream.write(OK)).toBe(true)
        stream.write(NOTHING)
        stream.write(Buffer.alloc(17, 'x'))
        stream.endWithTrailers(['x-t', '1'])
      }),
    ).toBe(
      'HTTP/1.1 201 Created\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n' +
        `2\r\nok\r\n11\r\n${'x'.repeat(17)}\r\n0\r\nx-t: 1\r\n\r\n`,
    )
    expect(said(NEXT, (stream) => stream.respond({ status: 404, fields: [] }, 'nothing'))).toBe(
      'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n',
    )
    expect(said(NEXT, (stream) => stream.respond({ status: 204, fields: [] }, 'nothing'))).toBe(
      'HTTP/1.1 204 No Content\r\n\r\n',
    )
    expect(
      said(NEXT, (stream) => stream.respond({ status: 304, fields: ['content-length', '9'] }, 'nothing')),
    ).toBe('HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n')
  })

  it('to HEAD has no body, and may say how long it would be', () => {
    const head = 'HEAD /next HTTP/1.1\r\nHost: a\r\n\r\n'
    expect(
      said(head, (stream) => stream.respond({ status: 200, fields: ['content-length', '9'] }, 'nothing')),
    ).toBe('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n')
    const talk = answered(head, (stream) => {
      stream.respond({ status: 200, fields: [] }, 'more')
      stream.end(NOTHING)
    })
    expect(talk.wire.output).toBe('HTTP/1.1 200 OK\r\n\r\n')
    expect(talk.connection.phase).toBe('idle')
    const wrong = answered(head, (stream) => {
      stream.respond({ status: 200, fields: [] }, 'more')
      stream.end(OK)
    })
    expect(wrong.wire.output).toBe('HTTP/1.1 200 OK\r\n\r\n')
    expect(wrong.lines).toContain('close CALL_MALFORMED')
  })

  it('to HTTP/1.0 is closed behind, unless the client asked to go on and the length is known', () => {
    const old = (fields: string, act: (stream: HttpStream) => void): string =>
      said(`GET / HTTP/1.0\r\n${fields}\r\n`, act)
    const known = (stream: HttpStream): void => {
      stream.respond({ status: 200, fields: ['content-length', '2'] }, 'more')
      stream.end(OK)
    }
    const unknown = (stream: HttpStream): void => {
      stream.interim({ status: 103, fields: [] })
      stream.respond({ status: 200, fields: [] }, 'more')
      stream.endWithTrailers(['x-t', '1'])
    }
    expect(old('', known)).toBe(`${OK_HEAD}connection: close\r\n\r\nok`)
    expect(old('Connection: keep-alive\r\n', known)).toBe(`${OK_HEAD}connection: keep-alive\r\n\r\nok`)
    expect(old('Connection: keep-alive, close\r\n', known)).toBe(`${OK_HEAD}connection: close\r\n\r\nok`)
    expect(old('Connection: keep-alive\r\n', unknown)).toBe('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n')
  })

  it('to a client that asks for the end says so, and the connection closes', () => {
    const talk = new ServerTalk().feed(`GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n${NEXT}`)
    expect(talk.wire.output).toBe(`${OK_HEAD}connection: close\r\n\r\nok`)
    expect(talk.lines).toEqual(['GET http://a/ 1.1', 'end', 'close'])
    expect(talk.wire.isClosed).toBe(true)
  })

  it('may have interim responses before it', () => {
    expect(
      said(`${POST}Expect: 100-continue\r\n\r\n`, (stream) => {
        stream.interim({ status: 100, fields: [] })
        stream.interim({ status: 103, fields: ['link', '</a>'] })
        stream.respond({ status: 200, fields: [] }, 'nothing')
      }),
    ).toBe(
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n',
    )
  })

  it('never holds what could be read as another head, or as framing', () => {
    for (const fields of [
      ['x-a', 'b\r\nx: y'],
      ['x-a', '\n'],
      ['x-a', '\0'],
      ['x-a', '\u0161'],
      ['x a', 'b'],
      ['x-a:', 'b'],
      ['', 'b'],
      ['X-A', 'b'],
      ['connection', 'close'],
      ['keep-alive', '1'],
      ['transfer-encoding', 'chunked'],
      ['upgrade', 'h2c'],
      ['content-length', '1, 1'],
      ['content-length', '1', 'content-length', '1'],
    ])
      said(NEXT, (stream) => {
        expect(() => stream.respond({ status: 200, fields }, 'more'), fields.join(' ')).toThrow(
          expect.objectContaining({ code: 'CALL_MALFORMED' }),
        )
        stream.respond({ status: 500, fields: [] }, 'nothing')
      })
    said(NEXT, (stream) => {
      stream.respond({ status: 200, fields: [] }, 'more')
      for (const fields of [
        ['content-length', '1'],
        ['x', '\r\n'],
        ['host', 'a'],
      ])
        expect(() => stream.endWithTrailers(fields)).toThrow(
          expect.objectContaining({ code: 'CALL_MALFORMED' }),
        )
      stream.end(NOTHING)
    })
  })

  it.each<[name: string, act: (stream: HttpStream) => void]>([
    ['longer', (stream) => stream.end(Buffer.from('four'))],
    ['longer in pieces', (stream) => void [OK, OK].map((piece) => stream.write(piece))],
    ['shorter', (stream) => stream.end(Buffer.from('1'))],
    ['nothing', (stream) => stream.endWithTrailers([])],
  ])(
    'that is %s than its declared length ends the connection, and is never longer on the wire',
    (_name, act) => {
      const talk = answered(NEXT, (stream) => {
        stream.respond({ status: 200, fields: ['content-length', '3'] }, 'more')
        act(stream)
      })
      expect(talk.lines.slice(2)).toEqual(['reset CALL_MALFORMED 2', 'close CALL_MALFORMED'])
      expect(talk.wire.output.split('\r\n\r\n')[1]?.length).toBeLessThan(3)
      expect(talk.wire.isClosed).toBe(true)
    },
  )

  it('that says a length and ends with its head is refused, but for HEAD and 304', () => {
    said(NEXT, (stream) => {
      expect(() => stream.respond({ status: 200, fields: ['content-length', '3'] }, 'nothing')).toThrow(
        expect.objectContaining({ code: 'CALL_MALFORMED' }),
      )
      stream.respond({ status: 200, fields: ['content-length', '0'] }, 'nothing')
    })
  })

  it('that the client does not take away is held back, and flows on when it does', () => {
    const talk = new ServerTalk({ serve: () => ({}) })
    talk.connection.feed(Buffer.from(NEXT))
    const { stream, wire } = talk
    stream.respond({ status: 200, fields: [] }, 'more')
    const piece = Buffer.alloc(40_000, 'x')
    expect(stream.write(piece)).toBe(true)
    expect(stream.write(piece)).toBe(false)
    expect(wire.writes).toBe(0)
    talk.settle()
    expect(talk.lines.at(-1)).toBe('drain')
    expect(wire.output.length).toBeGreaterThan(80_000)
    stream.end(NOTHING)
    talk.settle()
    expect(wire.output.endsWith(`${'x'.repeat(40_000)}\r\n0\r\n\r\n`)).toBe(true)
    expect(talk.connection.phase).toBe('idle')
  })

  it('keeps bytes that its user writes over afterwards', () => {
    const talk = new ServerTalk({ serve: () => ({}) }).feed(NEXT)
    talk.stream.respond({ status: 200, fields: ['content-length', '8004'] }, 'more')
    const piece = Buffer.alloc(8000, 'x')
    talk.stream.write(piece)
    const small = Buffer.from('yyyy')
    talk.stream.write(small)
    piece.fill('z')
    small.fill('z')
    talk.settle()
    expect(talk.wire.output.endsWith(`${'x'.repeat(8000)}yyyy`)).toBe(true)
  })
})

describe('an answer before the end of the request', () => {
  const early = (input: string, windowBytes = 10): ServerTalk =>
    new ServerTalk({
      limits: { windowBytes },
      serve: (stream) => {
        stream.respond({ status: 413, fields: [] }, 'nothing')
        return {}
      },
    }).feed(input)
  const SAID = 'HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'

  it('closes the connection when the rest has come, unseen', () => {
    const talk = early(`${POST}Content-Length: 4\r\n\r\nab`)
    expect(talk.wire).toMatchObject({ output: SAID, isClosed: false })
    talk.feed(`cd${NEXT}`)
    expect(talk.lines).toEqual([`${POST_LINE} content-length 4`, 'end', 'close'])
    expect(talk.wire).toMatchObject({ output: SAID, isClosed: true })
  })

  it('closes it when too much of the rest comes', () => {
    const talk = early(`${POST}Content-Length: 40\r\n\r\n0123456789`)
    expect(talk.wire.isClosed).toBe(false)
    talk.feed('x')
    expect(talk.lines.slice(1)).toEqual(['reset HTTP1_CONNECTION_LOST 8', 'close'])
    expect(talk.wire).toMatchObject({ output: SAID, isClosed: true })
  })

  it('closes it at once when its user wants no more', () => {
    const talk = early(`${POST}Content-Length: 40\r\n\r\n`)
    talk.stream.reset(0)
    talk.settle()
    expect(talk.lines.slice(1)).toEqual(['close'])
    expect(talk.wire).toMatchObject({ output: SAID, isClosed: true })
  })
})

describe('a connection', () => {
  it('serves pipelined requests in order, one at a time', () => {
    const talk = new ServerTalk({ serve: () => ({}) })
    talk.feed(NEXT.replace('next', '1') + NEXT.replace('next', '2') + NEXT.replace('next', '3'))
    for (const name of ['1', '2', '3']) {
      expect(talk.heads.at(-1)?.path).toBe(`/${name}`)
      talk.stream.respond({ status: 200, fields: ['x-a', name] }, 'nothing')
      talk.settle()
    }
    expect(talk.heads.length).toBe(3)
    expect(talk.wire.output.match(/x-a: \d/g)).toEqual(['x-a: 1', 'x-a: 2', 'x-a: 3'])
  })

  it('does not read on while too much waits behind an answer', () => {
    const talk = new ServerTalk({ serve: () => ({}), limits: { maxQueuedBytes: 90 } })
    talk.feed(NEXT + NEXT)
    expect(talk.wire.isPaused).toBe(false)
    talk.feed(NEXT).feed(NEXT)
    expect(talk.wire.isPaused).toBe(true)
    for (let served = 0; served < 4; served++) {
      talk.stream.respond({ status: 200, fields: [] }, 'nothing')
      talk.settle()
    }
    expect(talk.wire.isPaused).toBe(false)
    expect(talk.heads.length).toBe(4)
  })

  it('says in which phase it is, and since when', () => {
    const talk = new ServerTalk({ serve: () => ({}) })
    const phaseAt = (time: number, input: string): [string, number] => {
      talk.time = time
      talk.feed(input)
      return [talk.connection.phase, talk.connection.since]
    }
    expect(phaseAt(1, '')).toEqual(['idle', 0])
    expect(phaseAt(2, NEXT.slice(0, 1))).toEqual(['head', 2])
    expect(phaseAt(3, NEXT.slice(1, 9))).toEqual(['head', 2])
    expect(phaseAt(4, NEXT.slice(9))).toEqual(['message', 4])
    talk.time = 5
    talk.stream.respond({ status: 200, fields: [] }, 'nothing')
    expect(phaseAt(6, '\r\n')).toEqual(['idle', 5])
  })

  it('refuses a head that takes too long, and leaves a message alone', () => {
    const talk = new ServerTalk().feed('GET / HTTP')
    talk.connection.expireHead()
    talk.settle()
    expect(talk.lines).toEqual(['refused CALL_TIMEOUT', 'close CALL_TIMEOUT'])
    const busy = new ServerTalk({ serve: () => ({}) }).feed(NEXT)
    busy.connection.expireHead()
    expect(busy.lines).toEqual(NEXT_LINES)
  })

  it('drains: at once when it is idle, otherwise behind its answer', () => {
    const idle = new ServerTalk().feed(NEXT)
    idle.connection.drain()
    idle.settle()
    expect(idle.wire.isClosed).toBe(true)
    const busy = new ServerTalk({ serve: () => ({}) }).feed(NEXT + NEXT)
    busy.connection.drain()
    busy.stream.respond({ status: 200, fields: [] }, 'nothing')
    busy.settle()
    expect(busy.lines).toEqual([...NEXT_LINES, 'close'])
    expect(busy.wire.output).toContain('connection: close')
    expect(busy.wire.isClosed).toBe(true)
  })

  it.each<[name: string, act: (talk: ServerTalk) => void]>([
    ['that is lost', (talk) => talk.connection.lost()],
    ['that the client ends', (talk) => talk.connection.ended()],
    ['that is closed', (talk) => talk.connection.close()],
  ])('%s ends its call with HTTP1_CONNECTION_LOST, once', (_name, act) => {
    const talk = new ServerTalk({ serve: () => ({}) }).feed(NEXT)
    act(talk)
    talk.settle()
    talk.connection.lost()
    expect(talk.lines).toEqual([
      ...NEXT_LINES,
      'reset HTTP1_CONNECTION_LOST 8',
      'close HTTP1_CONNECTION_LOST',
    ])
    talk.stream.respond({ status: 200, fields: [] }, 'nothing')
    expect(talk.wire.output).toBe('')
    const idle = new ServerTalk()
    act(idle)
    expect(idle.lines).toEqual(['close'])
  })

  it('that ends within a head refuses it', () => {
    const talk = new ServerTalk().feed('GET / HTTP/1.1\r\n')
    talk.connection.ended()
    talk.settle()
    expect(talk.lines).toEqual(['refused CALL_MALFORMED', 'close CALL_MALFORMED'])
  })

  it('closes when its user resets the stream, and its sink hears nothing more', () => {
    const talk = new ServerTalk({ serve: () => ({}) }).feed(`${POST}Content-Length: 9\r\n\r\nabc`)
    talk.stream.respond({ status: 200, fields: [] }, 'more')
    talk.stream.reset(2)
    talk.feed('def').connection.lost()
    expect(talk.lines).toEqual([`${POST_LINE} content-length 9`, 'data abc', 'close'])
    expect(talk.wire.isClosed).toBe(true)
  })
})
