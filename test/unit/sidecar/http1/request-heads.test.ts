import { describe, expect, it } from 'vitest'
import { everyCut, ServerTalk } from '../../../support/http1-talk.js'

/** What is heard, and said, whatever pieces the input comes in. */
function hear(input: string): { lines: string[]; output: string } {
  const whole = new ServerTalk().feed(input)
  for (const pieces of everyCut(input)) {
    const talk = new ServerTalk()
    for (const piece of pieces) talk.feed(piece)
    expect([pieces[0], talk.lines, talk.wire.output]).toEqual([pieces[0], whole.lines, whole.wire.output])
  }
  return { lines: whole.lines, output: whole.wire.output }
}

const requestOf = (input: string): string => hear(input).lines[0] ?? ''
const refusalOf = (input: string): string[] => hear(input).lines

describe('a request head', () => {
  it.each([
    ['GET /x?y HTTP/1.1\r\nHost: Tools.mesh\r\n\r\n', 'GET http://Tools.mesh/x?y 1.1'],
    ['GET / HTTP/1.1\r\nhost:tools.mesh:8080\r\n\r\n', 'GET http://tools.mesh:8080/ 1.1'],
    ['GET / HTTP/1.1\r\nHOST: [::1]:80\t \r\n\r\n', 'GET http://[::1]:80/ 1.1'],
    ['\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n', 'GET http://a/ 1.1'],
    ['GET / HTTP/1.0\r\n\r\n', 'GET http:/// 1.0'],
    ['GET / HTTP/1.0\r\nHost: a\r\n\r\n', 'GET http://a/ 1.0'],
    ['GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n', 'GET http://a/b?c absolute 1.1'],
    ['GET HTTP://A:80 HTTP/1.1\r\nHost: a\r\n\r\n', 'GET http://A:80/ absolute 1.1'],
    ['GET http://a?c HTTP/1.1\r\nHost: a:80\r\n\r\n', 'GET http://a/?c absolute 1.1'],
    ['GET http://a/ HTTP/1.0\r\n\r\n', 'GET http://a/ absolute 1.0'],
    ['PURGE-1 /x HTTP/1.1\r\nHost: a\r\n\r\n', 'PURGE-1 http://a/x 1.1'],
    ['GET /x HTTP/1.1\r\nHost: a\r\nX-A:  b \t\r\nx-a:\r\nX_b: \xe9\r\n\r\n', 'x-a b x-a  x_b \xe9'],
    ['GET /x HTTP/1.1\r\nHost: a\r\nX-A: \xa0b\xa0\r\n\r\n', 'x-a \xa0b\xa0'],
    ['GET /x HTTP/1.1\r\nHost: a\r\nCookie: a\r\nCOOKIE: b\r\n\r\n', 'cookie a cookie b'],
    [
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nKeep-Alive: x\r\nProxy-Connection: y\r\n\r\n',
      '1.1',
    ],
    ['GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Hop,, close\r\nX-hop: 1\r\nx-own: 2\r\n\r\n', '1.1 x-own 2'],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n', '1.1 content-length 0'],
    ['GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n', '1.1 expect 100-Continue'],
    ['GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n', 'GET http:/// 1.0'],
    [
      'GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n',
      'GET http://a/ 1.1',
    ],
  ])('is read, however it is cut: %j', (input, line) => {
    const request = requestOf(input)
    expect(request.endsWith(line), request).toBe(true)
  })

  it.each<[code: string, input: string]>([
    ['CALL_VERSION_UNSUPPORTED', 'GET /x\r\n\r\n'],
    ['CALL_VERSION_UNSUPPORTED', 'GET /x HTTP/2.0\r\nHost: a\r\n\r\n'],
    ['CALL_VERSION_UNSUPPORTED', 'GET /x HTTP/1.2\r\nHost: a\r\n\r\n'],
    ['CALL_VERSION_UNSUPPORTED', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['CALL_MALFORMED', 'GET /x HTTP/1.11\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET /x http/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET  /x HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET /x  HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET /x HTTP/1.1 \r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', ' GET /x HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET\t/x HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'G(T /x HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET /\t HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET x HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n'],
    ['CALL_MALFORMED', 'GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'CONNECT a:1 HTTP/1.1\r\nHost: b\r\n\r\n'],
    ['CALL_MALFORMED', 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\nabc'],
    ['CALL_MALFORMED', '\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', '\rGET / HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', '\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\nHost: a\n\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\n\n\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\n\rHost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nX: \x1b\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\n\tX: 1\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\n Host: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nX(: 1\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nX\xe9: 1\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost:\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.0\r\nHost:\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: u@a\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a:x\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n'],
    [
      'CALL_MALFORMED',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    ],
    ['CALL_MALFORMED', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\na'],
    ['CALL_MALFORMED', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na'],
    ['CALL_MALFORMED', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na'],
    ['CALL_MALFORMED', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\na'],
    ['CALL_MALFORMED', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na'],
    ['CALL_MALFORMED', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1e1\r\n\r\na'],
    ['CALL_MALFORMED', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\na'],
    ['CALL_MALFORMED', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000000\r\n\r\na'],
    ['CALL_MALFORMED', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\t\r\n\r\na'],
    ['CALL_CODING_UNSUPPORTED', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\t\r\n\r\n'],
    ['CALL_MALFORMED', 'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['CALL_CODING_UNSUPPORTED', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
    ['CALL_CODING_UNSUPPORTED', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n'],
    ['CALL_CODING_UNSUPPORTED', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n'],
    ['CALL_CODING_UNSUPPORTED', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "chunked"\r\n\r\n'],
    ['CALL_CODING_UNSUPPORTED', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a\r\n\r\n'],
    ['CALL_CODING_UNSUPPORTED', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n'],
    [
      'CALL_CODING_UNSUPPORTED',
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n',
    ],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Content_Length\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: content-type\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close, AUTHORIZATION\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: cookie\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\n\r\n'],
    ['CALL_MALFORMED', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: x_troth_caller\r\n\r\n'],
    ['CALL_UPGRADE_REFUSED', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: tea\r\n\r\n'],
    ['CALL_UPGRADE_REFUSED', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c, tea\r\n\r\n'],
    ['CALL_UPGRADE_REFUSED', 'GET / HTTP/1.1\r\nHost: a\r\nUpgrade:\r\n\r\n'],
    ['CALL_MALFORMED', '\x16\x03\x01\x02\x00\x01\r\n\r\n'],
  ])('is refused, however it is cut, with %s: %j', (code, input) => {
    const behind = 'GET /next HTTP/1.1\r\nHost: a\r\n\r\n'
    expect(refusalOf(input + behind)).toEqual([`refused ${code}`, `close ${code}`])
  })

  it('is refused before it is whole when it can no longer become a good one', () => {
    for (const [input, code] of [
      ['\x16\x03\x01', 'CALL_MALFORMED'],
      ['GET /x HTTP/2.0\r\n', 'CALL_VERSION_UNSUPPORTED'],
      ['GET /x HTTP/1.1\nHost', 'CALL_MALFORMED'],
      ['GET /x HTTP/1.1\r\nHost: a\n', 'CALL_MALFORMED'],
    ] as const)
      expect(refusalOf(input)).toEqual([`refused ${code}`, `close ${code}`])
  })

  it('is refused when it is larger, or has more fields, than may be', () => {
    const limits = { maxHeadBytes: 100, maxFields: 3 }
    const of = (input: string): string[] => {
      const whole = new ServerTalk({ limits }).feed(input).lines
      for (const pieces of everyCut(input)) {
        const talk = new ServerTalk({ limits })
        for (const piece of pieces) talk.feed(piece)
        expect(talk.lines).toEqual(whole)
      }
      return whole
    }
    const head = (bytes: number): string => {
      const start = 'GET / HTTP/1.1\r\nHost: a\r\nX: '
      return `${start}${'y'.repeat(bytes - start.length - 4)}\r\n\r\n`
    }
    expect(of(head(100))[0]).toMatch(/^GET /)
    expect(of(head(101))).toEqual(['refused CALL_HEAD_TOO_LARGE', 'close CALL_HEAD_TOO_LARGE'])
    expect(of('GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB:\r\n\r\n')[0]).toMatch(/^GET /)
    expect(of('GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB:\r\nC:\r\n\r\n')[0]).toBe('refused CALL_HEAD_TOO_LARGE')
  })
})
