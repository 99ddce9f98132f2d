import { generateKeyPairSync } from 'node:crypto'
import { connect as connectTcp } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { TLS_FLOOR } from '../../host/tls.js'
import { MEMBER_ALPN } from '../../mesh/wire/enrolment.js'
import { manualClock } from '../support/manual-clock.js'
import { codeOf, startCa, type TestCa } from '../support/running-ca.js'

/** Resolves with what the server sent before it ended the connection. */
function sendRaw(port: number, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const socket = connectTcp({ host: '127.0.0.1', port }, () => socket.write(bytes))
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')))
  })
}

/** The error that ends a TLS connection, or what its request was answered. */
function askTls(ca: TestCa, options: ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectTls({
      ...TLS_FLOOR,
      host: '127.0.0.1',
      port: ca.running.port,
      ca: ca.rootPem,
      ...options,
    })
    let text = ''
    socket.on('secureConnect', () =>
      socket.write('POST /v1/renew HTTP/1.1\r\nhost: ca\r\ncontent-length: 2\r\n\r\n{}'),
    )
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    socket.on('close', () => resolve(text))
  })
}

/** One TLS connection with a request, the session it was given, and whether it resumed an earlier one. */
function handshake(
  ca: TestCa,
  options: ConnectionOptions,
): Promise<{ session: Buffer | undefined; reused: boolean }> {
  return new Promise((resolve, reject) => {
    const where = { host: '127.0.0.1', port: ca.running.port, ca: ca.rootPem }
    let session: Buffer | undefined
    const socket = connectTls({ ...TLS_FLOOR, ...where, ...options }, () => {
      const reused = socket.isSessionReused()
      socket.on('close', () => resolve({ session, reused }))
      socket.end('GET / HTTP/1.1\r\nhost: ca\r\nconnection: close\r\n\r\n')
    })
    socket.on('session', (given: Buffer) => {
      session = given
    })
    socket.on('error', reject)
    socket.resume()
  })
}

describe('the TLS doors of the CA', () => {
  it('know no member path without the member protocol', async () => {
    await using ca = await startCa()
    expect(codeOf(await ca.public('POST', '/v1/renew', { csrPem: 'x' }))).toBe('NOT_FOUND')
    expect(codeOf(await ca.public('GET', '/v1/feed'))).toBe('NOT_FOUND')
    expect(codeOf(await ca.public('GET', '/v1/agents'))).toBe('NOT_FOUND')
  })

  it('serve the admin wire to no agent, and enrolment to no member', async () => {
    await using ca = await startCa()
    const member = await ca.enrol('planner')
    expect(codeOf(await ca.member(member, 'POST', '/v1/tokens', { name: 'x' }))).toBe('PEER_KIND_WRONG')
    expect(codeOf(await ca.member(member, 'POST', '/v1/enrol', {}))).toBe('NOT_FOUND')
  })

  it('end a member connection without a certificate before any answer', async () => {
    await using ca = await startCa()
    expect(await askTls(ca, { ALPNProtocols: [MEMBER_ALPN] })).toMatch(/CERTIFICATE_REQUIRED|ECONNRESET|^$/)
  })

  it('end a member connection with a certificate of another CA before any answer', async () => {
    await using ca = await startCa()
    await using other = await startCa()
    const { keyPem, chainPem } = await other.enrol('planner')
    const answer = await askTls(ca, { ALPNProtocols: [MEMBER_ALPN], key: keyPem, cert: chainPem })
    expect(answer).not.toContain('HTTP/1.1')
  })

  it('end a member connection whose key is not the certificate’s', async () => {
    await using ca = await startCa()
    const { chainPem } = await ca.enrol('planner')
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const key = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
    expect(() =>
      connectTls({ ALPNProtocols: [MEMBER_ALPN], key, cert: chainPem, port: ca.running.port }),
    ).toThrow(/mismatch/i)
  })

  it('speak TLS 1.3 only', async () => {
    await using ca = await startCa()
    const answer = await askTls(ca, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })
    expect(answer).toMatch(/PROTOCOL_VERSION|ECONNRESET/)
  })

  it('hang up on what is no ClientHello, and go on serving', async () => {
    await using ca = await startCa()
    for (const junk of [
      Buffer.from('POST /v1/enrol HTTP/1.1\r\nhost: ca\r\n\r\n'),
      Buffer.alloc(20_000, 0xff),
      Buffer.from([22, 3, 1, 0, 0]),
      Buffer.concat([Buffer.from([22, 3, 1, 0, 5, 1, 0, 0, 1, 0]), Buffer.from([22, 3, 1, 0, 1, 0])]),
    ])
      expect(await sendRaw(ca.running.port, junk)).not.toContain('HTTP')
    expect(codeOf(await ca.public('GET', '/v1/nothing'))).toBe('NOT_FOUND')
  })

  it('shut out a client that sends its hello too slowly', async () => {
    await using ca = await startCa()
    const started = performance.now()
    expect(await sendRaw(ca.running.port, Buffer.from([22, 3]))).toBe('')
    expect(performance.now() - started).toBeLessThan(8000)
  })

  it('stay open for others when one address keeps all the connections it can', async () => {
    await using ca = await startCa()
    const { port } = ca.running
    const idle = Array.from({ length: 600 }, () =>
      connectTcp({ host: '127.0.0.1', port, localAddress: '127.0.0.2' }),
    )
    for (const socket of idle) socket.on('error', () => undefined)
    await Promise.race(idle.map((socket) => new Promise((resolve) => socket.once('close', resolve))))
    expect(codeOf(await ca.public('GET', '/v1/nothing'))).toBe('NOT_FOUND')
    for (const socket of idle) socket.destroy()
  })

  it('hold nobody beyond a minute who is no feed, however he spends it', async () => {
    const clock = manualClock()
    await using ca = await startCa({ clock })
    const { keyPem, chainPem } = await ca.enrol('planner')
    const feed = await ca.feed({ keyPem, chainPem })
    feed.send({ type: 'hello', position: null, capabilities: [] })
    await feed.next('snapshot')
    const idle = connectTls({ ...TLS_FLOOR, host: '127.0.0.1', port: ca.running.port, ca: ca.rootPem })
    idle.on('error', () => undefined)
    await new Promise((resolve) => idle.once('secureConnect', resolve))
    const ended = new Promise((resolve) => idle.once('close', resolve))
    for (let elapsed = 0; elapsed < 60_000; elapsed += 8000) {
      clock.advance(8000)
      await feed.next('heartbeat')
    }
    await ended
    feed.send({ type: 'resync' })
    await feed.next('snapshot')
  })

  it('never resume a session, whatever the client offers', async () => {
    await using ca = await startCa()
    const { keyPem, chainPem } = await ca.enrol('planner')
    const member = { ALPNProtocols: [MEMBER_ALPN], key: keyPem, cert: chainPem }
    for (const options of [{}, member]) {
      const first = await handshake(ca, options)
      expect(first.session).toBeDefined()
      expect((await handshake(ca, { ...options, session: first.session })).reused).toBe(false)
    }
  })

  it('prove themselves as the CA, and show the chain with the root', async () => {
    await using ca = await startCa()
    const chain = await new Promise<string[]>((resolve, reject) => {
      const socket = connectTls(
        { ...TLS_FLOOR, host: '127.0.0.1', port: ca.running.port, ca: ca.rootPem },
        () => {
          const leaf = socket.getPeerX509Certificate()
          resolve([leaf?.subjectAltName ?? '', leaf?.issuerCertificate?.issuerCertificate?.toString() ?? ''])
          socket.destroy()
        },
      )
      socket.on('error', reject)
    })
    expect(chain[0]).toBe('URI:spiffe://acme.internal/ca, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1')
    expect(chain[1]).toBe(ca.rootPem)
  })
})
