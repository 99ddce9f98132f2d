import { describe, expect, it } from 'vitest'
import {
  declaredLength,
  readRequestHead,
  readResponseHead,
  readTrailers,
} from '../../../../sidecar/http2/head.js'

const GET = [':method', 'GET', ':scheme', 'https', ':path', '/', ':authority', 'tools.mesh']

const malformed = expect.objectContaining({ code: 'CALL_MALFORMED', h2: 1 }) as Error

describe('request heads', () => {
  it('take Host for the authority where that is all there is', () => {
    expect(readRequestHead([...GET.slice(0, 6), 'host', 'tools.mesh:80', 'a', 'b'], false)).toMatchObject({
      authority: 'tools.mesh:80',
      fields: ['a', 'b'],
    })
  })

  it('keep octets beyond ASCII, tabs and empty values as they are', () => {
    const fields = ['x-a', 'caf\u00e9', 'x-b', 'a\tb', 'x-c', '']
    expect(readRequestHead([...GET, ...fields], false).fields).toEqual(fields)
  })

  it('take OPTIONS *', () => {
    expect(
      readRequestHead([':method', 'OPTIONS', ':path', '*', ...GET.slice(2, 4), ...GET.slice(6)], false).path,
    ).toBe('*')
  })

  it.each([
    ['NUL in a value', [...GET, 'a', 'b\0']],
    ['a line feed in a value', [...GET, 'a', 'b\nc: d']],
    ['a carriage return in a value', [...GET, 'a', 'b\rc']],
    ['another control in a value', [...GET, 'a', 'b\x01']],
    ['DEL in a value', [...GET, 'a', 'b\x7f']],
    ['white space before a value', [...GET, 'a', ' b']],
    ['white space behind a value', [...GET, 'a', 'b\t']],
    ['an empty name', [...GET, '', 'b']],
    ['a name with a space', [...GET, 'a b', 'c']],
    ['a name with a colon', [...GET, 'a:b', 'c']],
    ['a name beyond ASCII', [...GET, 'caf\u00e9', 'c']],
    ['a pseudo-field behind a field', ['a', 'b', ...GET]],
    ['keep-alive', [...GET, 'keep-alive', '5']],
    ['proxy-connection', [...GET, 'proxy-connection', 'close']],
    ['transfer-encoding', [...GET, 'transfer-encoding', 'chunked']],
    ['upgrade', [...GET, 'upgrade', 'h2c']],
    ['te with more than trailers', [...GET, 'te', 'gzip']],
    ['two hosts', [...GET, 'host', 'tools.mesh', 'host', 'tools.mesh']],
    ['a host that is not the authority', [...GET, 'host', 'other.mesh']],
    ['no authority at all', GET.slice(0, 6)],
    ['user information in the authority', [...GET.slice(0, 6), ':authority', 'root@tools.mesh']],
    ['a path in the authority', [...GET.slice(0, 6), ':authority', 'tools.mesh/x']],
    ['an empty authority', [...GET.slice(0, 6), ':authority', '']],
    ['a space in the path', [...GET.slice(0, 4), ':path', '/a b', ...GET.slice(6)]],
    ['a path that is a URL', [...GET.slice(0, 4), ':path', 'http://other.mesh/', ...GET.slice(6)]],
    ['* for GET', [...GET.slice(0, 4), ':path', '*', ...GET.slice(6)]],
    ['a letter beyond ASCII in the path', [...GET.slice(0, 4), ':path', '/\u00e9', ...GET.slice(6)]],
    ['a method that is no token', [':method', 'GET /', ...GET.slice(2)]],
    ['an empty method', [':method', '', ...GET.slice(2)]],
    ['a scheme that is none', [...GET.slice(0, 2), ':scheme', 'ht tp', ...GET.slice(4)]],
    ['CONNECT with a path', [':method', 'CONNECT', ...GET.slice(4)]],
    [':protocol on GET', [...GET, ':protocol', 'websocket']],
  ])('are refused with %s', (_, list) => {
    expect(() => readRequestHead(list, true)).toThrow(malformed)
  })

  it('are refused with :protocol where it was not allowed', () => {
    const list = [':method', 'CONNECT', ...GET.slice(2), ':protocol', 'websocket']
    expect(readRequestHead(list, true).protocol).toBe('websocket')
    expect(() => readRequestHead(list, false)).toThrow(malformed)
  })
})

describe('trailers', () => {
  it.each(['content-length', 'host', 'te', 'trailer', ':status', 'connection', 'X-Upper'])(
    'do not hold %s',
    (name) => {
      expect(() => readTrailers(['x-a', '1', name, '5'])).toThrow(malformed)
    },
  )

  it('are fields', () => {
    expect(readTrailers(['grpc-status', '0', 'x-a', ''])).toEqual(['grpc-status', '0', 'x-a', ''])
  })
})

describe('content-length', () => {
  it('is a number or nothing', () => {
    expect(declaredLength(['a', 'b'])).toBeNull()
    expect(declaredLength(['content-length', '042'])).toBe(42)
    for (const value of ['', '-1', '+1', '0x1', '1,1', '1 ', '9'.repeat(16)])
      expect(() => declaredLength(['content-length', value])).toThrow(malformed)
  })
})

describe('response heads', () => {
  it('are a status and fields', () => {
    expect(readResponseHead([':status', '204', 'host', 'kept'])).toEqual({
      status: 204,
      fields: ['host', 'kept'],
    })
    expect(
      readResponseHead([':status', '204', 'a', 'content-length', 'content-length', '0', 'c', 'd']).fields,
    ).toEqual(['a', 'content-length', 'c', 'd'])
    for (const [status, length] of [
      ['204', '5'],
      ['100', '0'],
      ['103', '1'],
    ] as const)
      expect(() => readResponseHead([':status', status, 'content-length', length])).toThrow(malformed)
    for (const status of ['', '20', '099', '600', '2oo', ' 200'])
      expect(() => readResponseHead([':status', status])).toThrow(malformed)
  })
})
