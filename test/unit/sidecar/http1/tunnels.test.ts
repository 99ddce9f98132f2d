import { describe, expect, it } from 'vitest'
import { acceptOf } from '../../../../sidecar/http1/websocket.js'
import { ClientTalk, everyCut, OK, ServerTalk } from '../../../support/http1-talk.js'

/** RFC 6455 §1.3. */
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
const FIELDS = `Host: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n`
const HANDSHAKE = `GET /chat?x HTTP/1.1\r\n${FIELDS}Sec-WebSocket-Key: ${KEY}\r\n\r\n`
const HEARD = 'CONNECT http://a/chat?x websocket 1.1 sec-websocket-version 13 sec-websocket-protocol chat'
const SAID = `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ${ACCEPT}\r\n\r\n`

it('the proof of a WebSocket handshake is that of RFC 6455', () => {
  expect(acceptOf(KEY)).toBe(ACCEPT)
})

describe('a server', () => {
  it('presents a WebSocket as HTTP/2 does, and after its answer both sides are bytes, however they are cut', () => {
    for (const pieces of everyCut(`${HANDSHAKE}GET / HTTP/1.1\r\n\r\n`)) {
      const talk = new ServerTalk({
        serve: (stream) => {
          stream.respond({ status: 200, fields: [] }, 'more')
          return {
            onData: (bytes) => stream.write(bytes),
            onEnd: () => stream.end(Buffer.from('bye')),
          }
        },
      })
      for (const piece of pieces) talk.feed(piece)
      talk.connection.ended()
      talk.settle()
      expect(talk.lines).toEqual([HEARD, 'data GET / HTTP/1.1\r\n\r\n', 'end', 'close'])
      expect(talk.wire).toMatchObject({ output: `${SAID}GET / HTTP/1.1\r\n\r\nbye`, isClosed: true })
    }
  })

  it('keeps what comes before its answer, up to a limit', () => {
    const talk = new ServerTalk({ serve: () => ({}), limits: { maxQueuedBytes: 3 } }).feed(`${HANDSHAKE}ab`)
    expect(talk.lines).toEqual([HEARD])
    expect(talk.wire.isPaused).toBe(false)
    talk.feed('c')
    expect(talk.wire.isPaused).toBe(true)
    talk.stream.respond({ status: 200, fields: ['sec-websocket-protocol', 'chat'] }, 'more')
    talk.settle()
    expect(talk.lines).toEqual([HEARD, 'data abc'])
    expect(talk.wire.isPaused).toBe(false)
  })

  it('ends its side by a half-close, and the connection when both have ended', () => {
    const talk = new ServerTalk({ serve: () => ({}) }).feed(HANDSHAKE)
    talk.stream.respond({ status: 200, fields: [] }, 'more')
    talk.stream.end(OK)
    talk.settle()
    expect(talk.wire).toMatchObject({ output: `${SAID}ok`, isShut: true, isClosed: false })
    talk.feed('more').connection.ended()
    talk.settle()
    expect(talk.lines).toEqual([HEARD, 'data more', 'end', 'close'])
    expect(talk.wire.isClosed).toBe(true)
  })

  it('answers a handshake that is refused as a plain request, and goes on', () => {
    const talk = new ServerTalk({
      serve: (stream) => {
        stream.respond({ status: 403, fields: [] }, 'nothing')
        return {}
      },
    }).feed(HANDSHAKE + HANDSHAKE)
    expect(talk.lines).toEqual([HEARD, HEARD])
    expect(talk.wire.output).toBe('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n'.repeat(2))
  })

  it.each([
    ['another method', HANDSHAKE.replace('GET', 'POST')],
    ['HTTP/1.0', HANDSHAKE.replace('HTTP/1.1', 'HTTP/1.0')],
    ['no Connection', HANDSHAKE.replace('keep-alive, Upgrade', 'keep-alive')],
    ['another version', HANDSHAKE.replace('13', '8')],
    ['no version', HANDSHAKE.replace(/Sec-WebSocket-Version.*\r\n/, '')],
    ['no key', HANDSHAKE.replace(/Sec-WebSocket-Key.*\r\n/, '')],
    ['a short key', HANDSHAKE.replace(KEY, 'AAAA')],
    ['a body', HANDSHAKE.replace('Host: a', 'Host: a\r\nContent-Length: 1')],
    ['a body in chunks', HANDSHAKE.replace('Host: a', 'Host: a\r\nTransfer-Encoding: chunked')],
    ['another protocol too', HANDSHAKE.replace('WebSocket\r', 'WebSocket, h2c\r')],
  ])('refuses a handshake with %s', (_what, input) => {
    expect(new ServerTalk().feed(input).lines).toEqual([
      'refused CALL_UPGRADE_REFUSED',
      'close CALL_UPGRADE_REFUSED',
    ])
  })

  it('refuses two keys', () => {
    const input = HANDSHAKE.replace('Host: a', `Host: a\r\nSec-WebSocket-Key: ${KEY}`)
    expect(new ServerTalk().feed(input).lines).toEqual(['refused CALL_MALFORMED', 'close CALL_MALFORMED'])
  })

  it('presents CONNECT with the place it names; refused, the connection closes, for the bytes behind may be meant for it', () => {
    const input =
      'CONNECT tools.mesh:443 HTTP/1.1\r\nHost: tools.mesh\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'
    const refused = new ServerTalk({
      serve: (stream) => {
        stream.respond({ status: 403, fields: [] }, 'nothing')
        return {}
      },
    }).feed(input)
    expect(refused.lines).toEqual(['CONNECT ://tools.mesh:443 1.1', 'close'])
    expect(refused.wire.output).toBe(
      'HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n',
    )
    const served = new ServerTalk({
      serve: (stream) => {
        stream.respond({ status: 200, fields: ['content-length', '5'] }, 'more')
        return {}
      },
    }).feed(input)
    expect(served.lines[1]).toMatch(/^data GET/)
    expect(served.wire.output).toBe('HTTP/1.1 200 OK\r\n\r\n')
  })
})

describe('a client', () => {
  const WEBSOCKET = { method: 'CONNECT', protocol: 'websocket', path: '/chat' } as const
  const begin = (): { talk: ClientTalk; stream: ReturnType<ClientTalk['send']>; accept: string } => {
    const talk = new ClientTalk()
    const stream = talk.send({ ...WEBSOCKET, fields: ['sec-websocket-version', '13'] }, 'more')
    const key = /sec-websocket-key: (\S+)\r\n/.exec(talk.wire.output)?.[1] ?? ''
    return { talk, stream, accept: acceptOf(key) }
  }
  const agreed = (accept: string): string =>
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nX-A: b\r\n\r\n`

  it('asks with a fresh key', () => {
    const first = begin().talk.wire.output
    expect(first.replace(/key: \S+/, 'key: KEY')).toBe(
      'GET /chat HTTP/1.1\r\nhost: tools.mesh\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: KEY\r\n\r\n',
    )
    expect(begin().talk.wire.output).not.toBe(first)
  })

  it('presents the agreement as 200, and after it both sides are bytes', () => {
    const { talk, stream, accept } = begin()
    for (const octet of `${agreed(accept)}hello`) talk.feed(octet)
    stream.write(Buffer.from('HTTP'))
    stream.end(OK)
    talk.settle()
    expect(talk.lines).toEqual(['head 200 x-a b', 'data hello'])
    expect(talk.wire).toMatchObject({ isShut: true, isClosed: false })
    expect(talk.wire.output.endsWith('\r\n\r\nHTTPok')).toBe(true)
    talk.connection.ended()
    talk.settle()
    expect(talk.lines.slice(2)).toEqual(['end', 'close'])
    expect(talk.wire.isClosed).toBe(true)
  })

  it.each([
    [
      'a wrong proof',
      (accept: string) => agreed(accept.replace(/^./, (first) => (first === 'A' ? 'B' : 'A'))),
    ],
    ['no proof', (accept: string) => agreed(accept).replace(/Sec-.*\r\n/, '')],
    ['another protocol', (accept: string) => agreed(accept).replace('websocket', 'h2c')],
    ['no Connection', (accept: string) => agreed(accept).replace(/Connection.*\r\n/, '')],
    ['200, which would pass for an agreement', () => 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['204', () => 'HTTP/1.1 204 No Content\r\n\r\n'],
  ])('takes no agreement with %s', (_what, answer) => {
    const { talk, accept } = begin()
    expect(talk.feed(answer(accept)).lines).toEqual(['reset CALL_MALFORMED 1', 'close CALL_MALFORMED'])
  })

  it('hears a refusal as a plain answer, and the connection goes on', () => {
    const { talk, stream } = begin()
    talk.feed('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno')
    stream.write(OK)
    stream.end(OK)
    expect(talk.lines).toEqual(['head 403 content-length 2', 'data no', 'end', 'idle'])
  })

  it('sends nothing before the agreement', () => {
    const { talk, stream } = begin()
    const { length } = talk.wire.output
    stream.write(OK)
    talk.settle()
    expect(talk.wire.output.length).toBe(length)
    expect(talk.lines).toEqual(['reset CALL_MALFORMED 2', 'close CALL_MALFORMED'])
  })

  it('has lost the tunnel, not ended it, when the connection breaks', () => {
    const { talk, accept } = begin()
    talk.feed(agreed(accept)).connection.lost()
    expect(talk.lines.slice(1)).toEqual(['reset HTTP1_CONNECTION_LOST 8', 'close HTTP1_CONNECTION_LOST'])
  })
})
