import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { revocationsOf } from '../../../../mesh/revocation.js'
import {
  CONNECT_TIMEOUT_MS,
  call,
  openPeerStand,
  type PeerStand,
  until,
} from '../../../support/peer-stand.js'

/** SETTINGS without any. */
const SETTINGS = Buffer.from('000000040000000000', 'hex')
/** GOAWAY: no stream was looked at, ENHANCE_YOUR_CALM. */
const GOAWAY = Buffer.from('000008070000000000000000000000000b', 'hex')

const told = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'taken',
    (error: unknown) =>
      error instanceof Error && 'code' in error ? `${String(error.code)}: ${error.message}` : error,
  )

async function takeFrom(stand: PeerStand, serve: (socket: TLSSocket) => void): Promise<unknown> {
  await stand.callee({ serve })
  return told(stand.take())
}

describe('a callee that turns the connection away', () => {
  it.each([
    [
      'with the code in troth-call',
      'HTTP/1.1 403 F\r\ntroth-call: v=1; denied=PEER_REVOKED\r\n\r\n',
      'PEER_REVOKED',
    ],
    [
      'with a field in upper case',
      'HTTP/1.1 403 F\r\nTroth-Call:v=1; denied=PEER_UNEXPECTED \r\n\r\n',
      'PEER_UNEXPECTED',
    ],
    ['with a code that nobody knows', 'HTTP/1.1 403 F\r\ntroth-call: v=1; denied=FOO\r\n\r\n', 'INTERNAL'],
    ['without troth-call', 'HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n', 'no reason'],
    [
      'with two of them',
      'HTTP/1.1 403 F\r\ntroth-call: v=1\r\ntroth-call: v=1\r\n\r\n',
      'its reason is malformed',
    ],
    ['with half a head', 'HTTP/1.1 403 F\r\ntroth-call: v=1; denied=PEER_REVOKED\r\n', 'PEER_REVOKED'],
  ])('in plain HTTP/1.1 %s is CALLEE_REFUSED', async (_how, answer, reason) => {
    await using stand = await openPeerStand()
    const said = await takeFrom(stand, (socket) => void socket.end(answer))
    expect(said).toBe(`CALLEE_REFUSED: ${stand.id('tickets')} refused the connection: ${reason}`)
  })

  it('with a head that has no end is not read for ever', async () => {
    await using stand = await openPeerStand()
    const line = `x: ${'y'.repeat(1000)}\r\n`
    const said = await takeFrom(stand, (socket) => void socket.write(`HTTP/1.1 403 F\r\n${line.repeat(10)}`))
    expect(said).toMatch(/^CALLEE_REFUSED: .*no reason$/)
  })

  it('by GOAWAY is CALLEE_REFUSED', async () => {
    await using stand = await openPeerStand()
    const said = await takeFrom(stand, (socket) => void socket.write(Buffer.concat([SETTINGS, GOAWAY])))
    expect(said).toMatch(/^CALLEE_REFUSED: .*ENHANCE_YOUR_CALM$/)
  })

  it('in its TLS is CALLEE_REFUSED, although our handshake succeeded', async () => {
    await using stand = await openPeerStand()
    await stand.callee({ serve: (_socket, raw) => void raw?.write('no TLS') })
    expect(await told(stand.take())).toMatch(/^CALLEE_REFUSED: .*ERR_SSL/)
  })

  it('by choosing no HTTP/2 is CALLEE_REFUSED', async () => {
    await using stand = await openPeerStand()
    await stand.callee({ protocols: ['http/1.1'] })
    expect(await told(stand.take())).toMatch(/^CALLEE_REFUSED: /)
  })

  it('by answering no protocol at all is CALLEE_REFUSED', async () => {
    await using stand = await openPeerStand()
    await stand.callee({ protocols: [] })
    expect(await told(stand.take())).toMatch(/^CALLEE_REFUSED: .*does not speak HTTP\/2 here$/)
  })

  it('by speaking something else is CALLEE_REFUSED', async () => {
    await using stand = await openPeerStand()
    const said = await takeFrom(
      stand,
      (socket) => void socket.write('220 mail.example ESMTP ready for it\r\n'),
    )
    expect(said).toMatch(/^CALLEE_REFUSED: .*does not speak HTTP\/2/)
  })
})

describe('a callee that cannot be reached', () => {
  it('because nobody listens is CALLEE_UNREACHABLE', async () => {
    await using stand = await openPeerStand()
    stand.announce(await stand.deadEndpoint())
    expect(await told(stand.take())).toMatch(/^CALLEE_UNREACHABLE: .*ECONNREFUSED/)
  })

  it('because it closes before it speaks is CALLEE_UNREACHABLE', async () => {
    await using stand = await openPeerStand()
    expect(await takeFrom(stand, (socket) => void socket.end())).toMatch(/^CALLEE_UNREACHABLE: /)
  })

  it('because it closes before its first word is whole is CALLEE_UNREACHABLE', async () => {
    await using stand = await openPeerStand()
    const half = SETTINGS.subarray(0, 5)
    expect(await takeFrom(stand, (socket) => void socket.end(half))).toMatch(/^CALLEE_UNREACHABLE: /)
  })

  it('because it says nothing is CALLEE_UNREACHABLE, when the time to connect is over', async () => {
    await using stand = await openPeerStand()
    const heard: unknown[] = []
    const callee = await stand.callee({ serve: () => heard.push('handshake') })
    const waiting = told(stand.take())
    await until(() => heard.length > 0 && stand.parts.connections.count('egress') === 1)
    stand.clock.advance(CONNECT_TIMEOUT_MS + 20)
    expect(await waiting).toMatch(/^CALLEE_UNREACHABLE: .*said nothing/)
    await until(() => stand.parts.connections.count('egress') === 0)
    expect(callee.connects.length).toBe(1)
  })
})

describe('a callee that is somebody else', () => {
  it('is refused by the judge before a byte was written, and recorded', async () => {
    await using stand = await openPeerStand()
    let said = 0
    await stand.callee({
      leaf: await stand.issue('somebody'),
      serve: (socket) => socket.on('data', ({ length }: Buffer) => (said += length)),
    })
    expect(await told(stand.take())).toMatch(/^PEER_UNEXPECTED: /)
    expect(said).toBe(0)
    expect(stand.parts.recorder).toMatchObject({ refusals: [{ reason: 'PEER_UNEXPECTED' }] })
  })

  it('is cut with PEER_REVOKED when it is revoked before it spoke', async () => {
    await using stand = await openPeerStand()
    await stand.callee({ serve: () => undefined })
    const waiting = told(stand.take())
    await until(() => stand.parts.connections.count('egress') === 1)
    stand.world.replace({ revocations: revocationsOf([stand.id('tickets')], []) })
    expect(await waiting).toMatch(/^PEER_REVOKED: /)
  })
})

describe('a revoked callee', () => {
  it('is cut at once, and its calls know why', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const connection = await stand.take()
    const running = call(connection)
    const { socket } = await callee.connection(0)
    const closed = once(socket, 'close')
    expect(stand.world.replace({ revocations: revocationsOf([stand.id('tickets')], []) })).toBe(1)
    expect(connection.cutReason).toBe('PEER_REVOKED')
    await until(() => running.heard.length > 0)
    expect(running.heard.at(-1)).toBe('HTTP2_CONNECTION_LOST PEER_REVOKED')
    connection.leave()
    await closed
    expect(await told(stand.take())).toMatch(/^PEER_REVOKED: /)
  })
})
