import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { PLAIN_HEAD_MAX_BYTES, peekPlainHead } from '../../ca/plain-head.js'
import { manualClock } from '../support/manual-clock.js'
import { startCa, type TestCa } from '../support/running-ca.js'

/** What the server sent before it ended the connection. */
function send(ca: TestCa, ...parts: readonly (string | Buffer)[]): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const socket = connect({ host: '127.0.0.1', port: ca.running.port, noDelay: true }, () => {
      for (const part of parts) socket.write(part)
    })
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')))
  })
}

/** The code of the one answer, its status when it is none of ours, `nothing` when there was no answer. */
function codeOf(answer: string): string {
  if (answer === '') return 'nothing'
  const answers = answer.split('HTTP/1.1 ').length - 1
  const code = /"code":"(\w+)"/.exec(answer)?.[1] ?? answer.slice(9, 12)
  return answers === 1 ? code : `${answers} answers`
}

const get = (target: string, ...fields: string[]): string =>
  `GET ${target} HTTP/1.1\r\nhost: ca\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`

describe('the plain door of the CA', () => {
  it('serves lists and certificates, and no other path however it is spelled', async () => {
    await using ca = await startCa()
    expect(codeOf(await send(ca, get('/crl/root.crl')))).toBe('200')
    const nowhere = [
      '/',
      '/v1/enrol',
      '/v1/bundle',
      '/v1/status',
      '/v1/renew',
      '/v1/feed',
      '/metrics',
      '/crl/root.crt',
      '/crl/../crl/root.crl',
      '/crl/./root.crl',
      '//crl/root.crl',
      '/crl//root.crl',
      '/crl/root.crl/',
      '/crl/%72oot.crl',
      '/crl/..%2froot.crl',
      '/CRL/root.crl',
      '/crl/ROOT.crl',
      '/crl/root.crl;x',
      '/crl/root.key.pem',
      '/crt/root.key.pem',
      '/crl/../../root.key.pem',
      `/crl/${'0'.repeat(64)}.crl`,
      '/crl/constructor.crl',
    ]
    for (const path of nowhere)
      expect(`${path} ${codeOf(await send(ca, get(path)))}`).toBe(`${path} NOT_FOUND`)
  })

  it('hangs up on every other method, and never reads a token sent without TLS', async () => {
    await using ca = await startCa()
    const secret = await ca.mint('planner')
    const body = JSON.stringify({ kind: 'agent', name: 'planner', secret })
    const posts = ['POST', 'PUT', 'DELETE', 'OPTIONS', 'CONNECT', 'get', 'GETT', 'PRI', 'TRACE'].map(
      (method) => `${method} /v1/enrol HTTP/1.1\r\nhost: ca\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    for (const post of posts) expect(codeOf(await send(ca, post))).toBe('nothing')
    for (const target of ['*', 'http://ca/crl/root.crl', 'ca:443'])
      expect(codeOf(await send(ca, get(target)))).toBe('nothing')
  })

  it('answers one request a connection: a second one, or a body, is refused before the first is read', async () => {
    await using ca = await startCa()
    const twice = get('/crl/root.crl') + get('/crt/root.crt')
    expect(codeOf(await send(ca, twice))).toBe('WIRE_MALFORMED')
    expect(codeOf(await send(ca, `${get('/crl/root.crl', 'content-length: 3')}abc`))).toBe('WIRE_MALFORMED')
    expect(codeOf(await send(ca, get('/crl/root.crl', 'content-length: 3')))).toBe('WIRE_MALFORMED')
    expect(codeOf(await send(ca, get('/crl/root.crl', 'transfer-encoding: chunked')))).toBe('WIRE_MALFORMED')
    const alive = await send(ca, get('/crl/root.crl', 'connection: keep-alive'))
    expect(alive.toLowerCase()).toContain('connection: close')
  })

  it('refuses a head that is too large or malformed', async () => {
    await using ca = await startCa()
    expect(codeOf(await send(ca, get('/crl/root.crl', `x: ${'y'.repeat(PLAIN_HEAD_MAX_BYTES)}`)))).toBe(
      'WIRE_TOO_LARGE',
    )
    expect(codeOf(await send(ca, `GET /${'a'.repeat(9000)}`))).toBe('WIRE_TOO_LARGE')
    const malformed = [
      'GET /crl/root.crl\r\n\r\n',
      'GET /crl/root.crl HTTP/1.1\r\n\r\n',
      'GET /crl/root.crl HTTP/2.0\r\nhost: ca\r\n\r\n',
      'GET /crl/root.crl HTTP/1.1\r\nhost: ca\r\nhost : x\r\n\r\n',
      'GET /crl/root.crl HTTP/1.1\r\nhost: ca\r\nx: a\nb\r\n\r\n',
      'GET /crl/\0root.crl HTTP/1.1\r\nhost: ca\r\n\r\n',
    ]
    for (const head of malformed)
      expect(`${head} ${codeOf(await send(ca, head))}`).toMatch(/ (WIRE_MALFORMED|400)$/)
  })

  it('shuts out a client whose head does not come whole in five seconds, byte by byte as it may come', async () => {
    const clock = manualClock()
    await using ca = await startCa({ clock })
    const socket = connect({ host: '127.0.0.1', port: ca.running.port, noDelay: true })
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    socket.on('error', () => undefined)
    await new Promise((resolve) => socket.once('connect', resolve))
    const answered: Buffer[] = []
    socket.on('data', (chunk: Buffer) => answered.push(chunk))
    for (const byte of 'GET /crl/') {
      await new Promise((resolve) => socket.write(byte, resolve))
      await new Promise((resolve) => setImmediate(resolve))
      clock.advance(500)
    }
    expect(socket.destroyed).toBe(false)
    clock.advance(500)
    await closed
    expect(Buffer.concat(answered).length).toBe(0)
  })

  it('takes a head that comes in pieces', async () => {
    await using ca = await startCa()
    const answer = await new Promise<string>((resolve) => {
      const chunks: Buffer[] = []
      const socket = connect({ host: '127.0.0.1', port: ca.running.port, noDelay: true })
      socket.on('data', (chunk: Buffer) => chunks.push(chunk))
      socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')))
      const pieces = get('/crt/root.crt').match(/[\s\S]{1,3}/g) ?? []
      const next = (): void => {
        const piece = pieces.shift()
        if (piece !== undefined) socket.write(piece, () => setImmediate(next))
      }
      socket.once('connect', next)
    })
    expect(codeOf(answer)).toBe('200')
  })
})

describe('the first bytes of a plain request', () => {
  it('are judged from the first on', () => {
    const stateOf = (text: string): string => peekPlainHead(Buffer.from(text, 'latin1')).state
    const whole = 'HEAD /crl/root.crl HTTP/1.0\r\n\r\n'
    for (let length = 1; length < whole.length; length += 1)
      expect(stateOf(whole.slice(0, length))).toBe('more')
    expect(stateOf(whole)).toBe('whole')
    expect(stateOf(`${whole}x`)).toBe('refused')
    for (const junk of ['P', 'g', 'GE/', 'GET  /', 'HEAD\t/', '\x80', '\r\nGET /'])
      expect(stateOf(junk)).toBe('junk')
  })
})
