import { describe, expect, it } from 'vitest'
import type { PeerConnection } from '../../../../sidecar/egress/peer-connection.js'
import { openRandom, type Random } from '../../../../sidecar/egress/peers.js'
import {
  CONNECT_TIMEOUT_MS,
  call,
  openPeerStand,
  type PeerStand,
  turned,
  until,
} from '../../../support/peer-stand.js'

const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'taken',
    (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
  )

/** Answers from a list, then 0. */
const scripted = (...answers: number[]): Random => {
  return (below) => (answers.shift() ?? 0) % below
}

const portOf = ({ place }: PeerConnection): number => place.port

/** Connections to each of two callees, both standing. */
async function twoStanding(stand: PeerStand): Promise<readonly [PeerConnection, PeerConnection]> {
  await stand.callee()
  const first = await stand.take()
  await stand.callee()
  const busy = call(first)
  await until(() => stand.peers.take(stand.id('tickets'), null) !== first)
  const second = await stand.take()
  busy.end()
  return [first, second]
}

describe('a connection to a callee', () => {
  it('is dialled once for all calls that wait, and given at once from then on', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const [one, two, three] = await Promise.all([stand.take(), stand.take(), stand.take()])
    expect(two).toBe(one)
    expect(three).toBe(one)
    expect(stand.peers.take(stand.id('tickets'), null)).toBe(one)
    expect(callee.connects.length).toBe(1)
    expect(one.svid.id).toBe(stand.id('tickets'))
  })

  it('carries calls, many at once', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const connection = await stand.take()
    const calls = [call(connection), call(connection)]
    await until(() => calls.every(({ heard }) => heard.length > 0))
    const [{ streams }] = [await callee.connection(0)]
    streams[1]?.end(Buffer.from('second'))
    await until(() => calls[1]?.heard.includes('end') === true)
    expect(calls.map(({ heard }) => heard)).toEqual([['200'], ['200', 'second', 'end']])
  })

  it('is used once a call has left it alive', async () => {
    await using stand = await openPeerStand()
    await stand.callee()
    const connection = await stand.take()
    expect(connection.isUsed).toBe(false)
    call(connection).end()
    expect(connection.isUsed).toBe(true)
  })

  it('is not used when its first call was lost with it', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const connection = await stand.take()
    const lost = call(connection)
    const { socket } = await callee.connection(0)
    socket.destroy()
    await until(() => lost.heard.includes('HTTP2_CONNECTION_LOST'))
    connection.leave()
    expect(connection.isUsed).toBe(false)
  })

  it('is dialled anew behind a loss, and for a retry on another one', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const first = await stand.take()
    const second = await stand.take(first)
    expect(second).not.toBe(first)
    const { socket } = await callee.connection(0)
    const lost = call(first)
    socket.destroy()
    await until(() => lost.heard.length > 0)
    expect(await stand.take()).toBe(second)
    expect(callee.connects.length).toBe(2)
  })

  it('is refused to callees that are revoked, offline or unknown', async () => {
    await using stand = await openPeerStand()
    expect(await codeOf(stand.take())).toBe('CALLEE_OFFLINE')
    stand.world.replace({ callees: new Set() })
    expect(await codeOf(stand.take())).toBe('CALLEE_UNKNOWN')
    const revocations = { ...stand.world.current().revocations, ids: new Set([stand.id('tickets')]) }
    stand.world.replace({ revocations })
    expect(await codeOf(stand.take())).toBe('PEER_REVOKED')
  })

  it('waits for nobody when the sidecar stops', async () => {
    await using stand = await openPeerStand()
    await stand.callee({ serve: () => undefined })
    const waiting = codeOf(stand.take())
    stand.peers.close()
    expect(await waiting).toBe('DRAINING')
  })
})

describe('a callee whose streams are all taken', () => {
  it('is dialled again, up to four connections to a place', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee({ limits: { maxConcurrentStreams: 1 } })
    const used = new Set<PeerConnection>()
    for (let nth = 0; nth < 4; nth += 1) {
      const connection = await stand.take()
      used.add(connection)
      call(connection)
    }
    expect(used.size).toBe(4)
    const waiting = codeOf(stand.take())
    await turned()
    stand.clock.advance(CONNECT_TIMEOUT_MS + 100)
    expect(await waiting).toBe('CALLEE_BUSY')
    expect(callee.connects.length).toBe(4)
  })

  it('has the calls that wait go on as streams end, first come first served', async () => {
    await using stand = await openPeerStand()
    await stand.callee({ limits: { maxConcurrentStreams: 1 } })
    const calls: ReturnType<typeof call>[] = []
    for (let nth = 0; nth < 4; nth += 1) calls.push(call(await stand.take()))
    const order: string[] = []
    const waiting = ['first', 'second'].map(async (name) => {
      const connection = await stand.take()
      order.push(name)
      calls.push(call(connection))
    })
    await turned()
    calls[2]?.end()
    await waiting[0]
    expect(order).toEqual(['first'])
    calls[0]?.end()
    await waiting[1]
    expect(order).toEqual(['first', 'second'])
  })

  it('refuses a stream that was promised to nobody', async () => {
    await using stand = await openPeerStand()
    await stand.callee({ limits: { maxConcurrentStreams: 1 } })
    const connection = await stand.take()
    call(connection)
    expect(() => call(connection)).toThrow(expect.objectContaining({ code: 'HTTP2_STREAM_REFUSED' }))
  })
})

describe('several instances of a callee', () => {
  it('share the calls: of two at random the one with fewer gets the next', async () => {
    await using stand = await openPeerStand({ random: scripted() })
    const [one, two] = await twoStanding(stand)
    const taken: number[] = []
    for (let nth = 0; nth < 4; nth += 1) {
      const connection = await stand.take()
      call(connection)
      taken.push(portOf(connection))
    }
    expect(taken).toEqual([portOf(one), portOf(two), portOf(one), portOf(two)])
  })

  it('do not wait for one that is not connected yet: another takes the call meanwhile', async () => {
    await using stand = await openPeerStand({ random: scripted(0) })
    const one = await stand.callee()
    const standing = await stand.take()
    const two = await stand.callee()
    expect(stand.peers.take(stand.id('tickets'), null)).toBe(standing)
    await two.connection(0)
    expect([one.connects.length, two.connects.length]).toEqual([1, 1])
  })

  it('stand in for one that cannot be reached, which is left alone for a while', async () => {
    await using stand = await openPeerStand({ random: scripted(0) })
    let attempts = 0
    const dead = await stand.callee({
      serve(socket) {
        attempts += 1
        socket.destroy()
      },
    })
    const alive = await stand.callee()
    const connection = await stand.take()
    expect(connection.place).toBe(alive.endpoint)
    for (let nth = 0; nth < 5; nth += 1) expect(await stand.take()).toBe(connection)
    await turned()
    expect(attempts).toBe(1)
    stand.clock.advance(200)
    expect(await stand.take()).toBe(connection)
    await until(() => attempts === 2)
    expect(dead.connects.length).toBe(2)
  })

  it('tell the last failure when none can be reached', async () => {
    await using stand = await openPeerStand({ random: scripted(0) })
    const dead = await stand.deadEndpoint()
    stand.announce(dead)
    await stand.callee({ leaf: await stand.issue('somebody') })
    expect(await codeOf(stand.take())).toBe('PEER_UNEXPECTED')
  })
})

describe('a callee that could not be reached', () => {
  it('is not dialled for each of many calls, and is found again soon after it came back', async () => {
    await using stand = await openPeerStand()
    const dead = await stand.deadEndpoint()
    stand.announce(dead)
    expect(await codeOf(stand.take())).toBe('CALLEE_UNREACHABLE')
    // far into the back-off
    for (let nth = 0; nth < 8; nth += 1) {
      stand.clock.advance(20_000)
      expect(await codeOf(stand.take())).toBe('CALLEE_UNREACHABLE')
    }
    stand.announce()
    const callee = await stand.callee({
      port: dead.port,
      leaf: await stand.issue('tickets', { instanceId: dead.instanceId }),
    })
    stand.announce(dead)
    expect(callee.connects.length).toBe(0)
    stand.clock.advance(100)
    expect((await stand.take()).place).toEqual(dead)
  })

  it('has calls that come close behind the failure share it', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee({ serve: (socket) => socket.destroy() })
    expect(await codeOf(stand.take())).toBe('CALLEE_UNREACHABLE')
    stand.clock.advance(99)
    expect(await codeOf(stand.take())).toBe('CALLEE_UNREACHABLE')
    expect(callee.connects.length).toBe(1)
    stand.clock.advance(1)
    expect(await codeOf(stand.take())).toBe('CALLEE_UNREACHABLE')
    expect(callee.connects.length).toBe(2)
  })
})

describe('the randomness of choices', () => {
  it('gives each of a few numbers about as often', () => {
    const random = openRandom()
    const counts = [0, 0, 0, 0, 0]
    for (let nth = 0; nth < 50_000; nth += 1) {
      const drawn = random(5)
      counts[drawn] = (counts[drawn] ?? 0) + 1
    }
    expect(counts).toHaveLength(5)
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(800)
  })
})
