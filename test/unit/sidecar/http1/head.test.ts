import { describe, expect, it } from 'vitest'
import { isMeshError } from '../../../../mesh/errors.js'
import { endToEnd, tokensOf } from '../../../../sidecar/http1/fields.js'
import { type RawHead, readHead } from '../../../../sidecar/http1/head.js'

const head = (change: Partial<RawHead> = {}): RawHead => ({
  method: 'GET',
  target: '/x?y',
  version: '1.1',
  fields: ['Host', 'Tickets.mesh'],
  ...change,
})
const isIdentity = (name: string): boolean => name.startsWith('x-troth-')

const codeOf = (change: Partial<RawHead>): string => {
  try {
    readHead(head(change), isIdentity)
    return 'accepted'
  } catch (error) {
    return isMeshError(error) ? error.code : String(error)
  }
}

describe('readHead', () => {
  it('gives target, host and framing of an ordinary head', () => {
    expect(readHead(head(), isIdentity)).toMatchObject({
      method: 'GET',
      authority: null,
      originForm: '/x?y',
      host: 'tickets.mesh',
      framing: { kind: 'none' },
    })
  })

  it('splits an absolute form, with and without a path', () => {
    const of = (target: string) => readHead(head({ target }), isIdentity)
    expect(of('http://tickets.mesh/a?b')).toMatchObject({ authority: 'tickets.mesh', originForm: '/a?b' })
    expect(of('HTTP://Tickets.mesh:80')).toMatchObject({ authority: 'tickets.mesh:80', originForm: '/' })
    expect(of('http://tickets.mesh?b')).toMatchObject({ originForm: '/?b' })
  })

  it('reads both framings', () => {
    const framing = (...fields: string[]) =>
      readHead(head({ fields: ['Host', 'a', ...fields] }), isIdentity).framing
    expect(framing('Content-Length', '12')).toEqual({ kind: 'length', bytes: 12 })
    expect(framing('Transfer-Encoding', 'Chunked')).toEqual({ kind: 'chunked' })
  })

  it.each<[string, string, Partial<RawHead>]>([
    ['HTTP/0.9', 'CALL_VERSION_UNSUPPORTED', { version: '0.9' }],
    ['HTTP/2.0', 'CALL_VERSION_UNSUPPORTED', { version: '2.0' }],
    ['two Hosts', 'CALL_MALFORMED', { fields: ['Host', 'a', 'host', 'a'] }],
    ['no Host', 'CALL_MALFORMED', { fields: [] }],
    ['a Host of two', 'CALL_MALFORMED', { fields: ['Host', 'a,b'] }],
    ['userinfo in the target', 'CALL_MALFORMED', { target: 'http://a@tickets.mesh/' }],
    ['another host in the target', 'CALL_MALFORMED', { target: 'http://search.mesh/' }],
    ['authority form', 'CALL_MALFORMED', { target: 'tickets.mesh:80' }],
    ['CONNECT', 'CALL_MALFORMED', { method: 'CONNECT' }],
    ['TRACE', 'CALL_MALFORMED', { method: 'TRACE' }],
    ['a list of lengths', 'CALL_MALFORMED', { fields: ['Host', 'a', 'Content-Length', '2, 2'] }],
    ['a hex length', 'CALL_MALFORMED', { fields: ['Host', 'a', 'Content-Length', '0x2'] }],
    ['a length of 16 digits', 'CALL_MALFORMED', { fields: ['Host', 'a', 'Content-Length', '1'.repeat(16)] }],
    [
      'identity coding',
      'CALL_CODING_UNSUPPORTED',
      { fields: ['Host', 'a', 'Transfer-Encoding', 'identity'] },
    ],
    [
      'two codings',
      'CALL_CODING_UNSUPPORTED',
      { fields: ['Host', 'a', 'Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked'] },
    ],
    ['a coding on 1.0', 'CALL_MALFORMED', { version: '1.0', fields: ['Transfer-Encoding', 'chunked'] }],
    ['an upgrade', 'CALL_UPGRADE_REFUSED', { fields: ['Host', 'a', 'Upgrade', 'h2c'] }],
    ['a nominated Host', 'CALL_MALFORMED', { fields: ['Host', 'a', 'Connection', 'close, HOST'] }],
    ['a nominated identity', 'CALL_MALFORMED', { fields: ['Host', 'a', 'Connection', 'X_Troth_Caller'] }],
    ['too many fields', 'CALL_HEAD_TOO_LARGE', { fields: Array<string>(402).fill('a') }],
  ])('refuses %s with %s', (_name, code, change) => {
    expect(codeOf(change)).toBe(code)
  })

  it('takes HTTP/1.0 without a Host', () => {
    expect(readHead(head({ version: '1.0', fields: [] }), isIdentity).host).toBeNull()
  })
})

describe('endToEnd', () => {
  it('leaves out hop-by-hop fields and what Connection nominates, and keeps order and repetition', () => {
    const fields = [
      'A',
      '1',
      'Connection',
      'x-hop, close',
      'X-Hop',
      '1',
      'TE',
      'trailers',
      'a',
      '2',
      'Drop',
      '1',
    ]
    expect(endToEnd(fields, (name) => name !== 'drop')).toEqual(['A', '1', 'a', '2'])
  })

  it('reads list fields over several lines', () => {
    expect(tokensOf(['Connection', 'a, B', 'connection', ',c'], 'connection')).toEqual(['a', 'b', 'c'])
  })
})
