import { createServer } from 'node:net'
import { connect } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { HELLO_MAX_BYTES, peekClientHello } from '../../../ca/client-hello.js'

/** The first bytes that Node's own TLS client sends. */
function realHello(alpn: string[] | undefined): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.once('data', (bytes: Buffer) => {
        socket.destroy()
        server.close()
        resolve(bytes)
      })
    })
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      const client = connect({
        host: '127.0.0.1',
        port,
        ...(alpn === undefined ? {} : { ALPNProtocols: alpn }),
      })
      client.on('error', () => undefined)
      client.setTimeout(5000, () => reject(new Error('no hello')))
    })
  })
}

const u16 = (n: number): Buffer => Buffer.from([n >> 8, n & 0xff])
const vector = (octets: 1 | 2, body: Buffer): Buffer =>
  Buffer.concat([octets === 1 ? Buffer.from([body.length]) : u16(body.length), body])
const alpnExtension = (...names: string[]): Buffer => {
  const list = Buffer.concat(names.map((name) => vector(1, Buffer.from(name))))
  return Buffer.concat([u16(16), vector(2, vector(2, list))])
}
const message = (body: Buffer, type = 1): Buffer =>
  Buffer.concat([Buffer.from([type, 0]), u16(body.length), body])
const record = (fragment: Buffer): Buffer => Buffer.concat([Buffer.from([22, 3, 1]), vector(2, fragment)])
const hello = (extensions: Buffer, suites = Buffer.from([0x13, 0x01])): Buffer =>
  Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    vector(1, Buffer.alloc(0)),
    vector(2, suites),
    vector(1, Buffer.from([0])),
    vector(2, extensions),
  ])

describe('peekClientHello', () => {
  it('reads the protocols that a real client offers', async () => {
    const bytes = await realHello(['troth.member.v1', 'http/1.1'])
    expect(peekClientHello(bytes)).toEqual({ state: 'hello', alpn: ['troth.member.v1', 'http/1.1'] })
  })

  it('reads a real hello without ALPN as offering nothing', async () => {
    expect(peekClientHello(await realHello(undefined))).toEqual({ state: 'hello', alpn: [] })
  })

  it('asks for more at every split of a real hello, and never reads beyond it', async () => {
    const bytes = await realHello(['troth.member.v1'])
    for (let length = 0; length < bytes.length; length += 1)
      expect(peekClientHello(bytes.subarray(0, length))).toEqual({ state: 'more' })
    expect(peekClientHello(Buffer.concat([bytes, bytes])).state).toBe('hello')
  })

  it('puts a hello together from many records', () => {
    const whole = message(hello(alpnExtension('troth.member.v1')))
    const parts = [...whole].map((byte) => record(Buffer.from([byte])))
    expect(peekClientHello(Buffer.concat(parts))).toEqual({ state: 'hello', alpn: ['troth.member.v1'] })
    expect(peekClientHello(Buffer.concat(parts.slice(0, -1)))).toEqual({ state: 'more' })
  })

  it.each([
    ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['one wrong byte', Buffer.from([0])],
    ['an SSLv2 hello', Buffer.from([0x80, 0x2e, 0x01, 0x03, 0x01])],
    ['an alert', Buffer.from([21, 3, 3, 0, 2, 2, 40])],
    ['another major version', Buffer.from([22, 4, 0])],
    ['an empty record', Buffer.from([22, 3, 1, 0, 0])],
    ['a record beyond its limit', Buffer.from([22, 3, 1, 0x40, 0x01])],
    ['another handshake message', record(message(hello(Buffer.alloc(0)), 2))],
    ['a message beyond the limit', record(Buffer.from([1, 1, 0, 0]))],
    ['a body that ends too soon', record(message(Buffer.alloc(20)))],
    ['an odd list of cipher suites', record(message(hello(Buffer.alloc(0), Buffer.from([1, 2, 3]))))],
    ['no cipher suite', record(message(hello(Buffer.alloc(0), Buffer.alloc(0))))],
    ['two ALPN extensions', record(message(hello(Buffer.concat([alpnExtension('a'), alpnExtension('b')]))))],
    ['an empty protocol name', record(message(hello(alpnExtension(''))))],
    ['an empty protocol list', record(message(hello(alpnExtension())))],
    ['an extension longer than its list', record(message(hello(Buffer.concat([u16(16), u16(9)]))))],
    [
      'bytes after the extensions',
      record(message(Buffer.concat([hello(Buffer.alloc(0)), Buffer.from([1])]))),
    ],
  ])('refuses %s', (_what, bytes) => {
    expect(peekClientHello(bytes)).toEqual({ state: 'junk' })
  })

  it('gives up on a hello that is not whole within its limit', () => {
    const endless = Buffer.concat(
      Array.from({ length: 3000 }, () => record(Buffer.from([1]))).slice(
        0,
        Math.ceil(HELLO_MAX_BYTES / 6) + 1,
      ),
    )
    expect(peekClientHello(endless.subarray(0, HELLO_MAX_BYTES)).state).toBe('junk')
  })

  it('answers, and never throws, whatever single byte of a hello is changed', () => {
    const good = record(message(hello(alpnExtension('troth.member.v1', 'http/1.1'))))
    for (let at = 0; at < good.length; at += 1) {
      for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
        const bytes = Buffer.from(good)
        bytes[at] = value
        expect(['more', 'junk', 'hello']).toContain(peekClientHello(bytes).state)
      }
    }
  })
})
