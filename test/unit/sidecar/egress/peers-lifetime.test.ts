import { describe, expect, it } from 'vitest'
import type { PeerConnection } from '../../../../sidecar/egress/peer-connection.js'
import { call, openPeerStand, type PeerStand, turned, until } from '../../../support/peer-stand.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const SETTINGS = Buffer.from('000000040000000000', 'hex')

/** What a call finds now; undefined when it would wait. */
function atOnce(stand: PeerStand): PeerConnection | undefined {
  const found = stand.peers.take(stand.id('tickets'), null)
  if (!(found instanceof Promise)) return found
  found.catch(() => undefined)
  return undefined
}

describe('behind a rotation of ours', () => {
  it('new calls show the new leaf, and open streams go on where they are', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const first = await stand.take()
    const stream = call(first)
    stand.credentials.rotate(await stand.issue('planner'))
    const second = await stand.take()
    expect(second).not.toBe(first)
    expect(() => call(first)).toThrow(expect.objectContaining({ code: 'HTTP2_STREAM_REFUSED' }))
    const [old, young] = [await callee.connection(0), await callee.connection(1)]
    expect(young.serial).toBe(stand.credentials.current().svid.serial)
    expect(old.serial).not.toBe(young.serial)
    old.streams[0]?.end(Buffer.from('still here'))
    await until(() => stream.heard.includes('end'))
    expect(stream.heard).toEqual(['200', 'still here', 'end'])
    first.leave()
    await until(() => old.socket.destroyed)
  })

  it('callees that were in use are dialled before a call asks for them', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const first = await stand.take()
    stand.credentials.rotate(await stand.issue('planner'))
    await callee.connection(1)
    expect(await stand.take()).not.toBe(first)
    expect(callee.connects).toHaveLength(2)
  })

  it('a dial under way is not used: it shows what we showed', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const waiting = stand.take()
    stand.credentials.rotate(await stand.issue('planner'))
    call(await waiting)
    const young = await callee.connection(1)
    await until(() => young.streams.length === 1)
    expect(young.serial).toBe(stand.credentials.current().svid.serial)
  })

  it('and another close behind it, a callee is dialled once more by itself', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    await stand.take()
    stand.credentials.rotate(await stand.issue('planner'))
    stand.credentials.rotate(await stand.issue('planner'))
    const { serial } = await callee.connection(2)
    expect(serial).toBe(stand.credentials.current().svid.serial)
  })

  it('roots that change have the same effect', async () => {
    await using stand = await openPeerStand()
    await stand.callee()
    const first = await stand.take()
    const { bundles } = stand.world.current()
    stand.world.replace({ bundles: new Map(bundles) })
    expect(await stand.take()).not.toBe(first)
  })
})

describe('a callee that leaves', () => {
  it('by GOAWAY gets no new calls, and ends those it has', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const first = await stand.take()
    const stream = call(first)
    const accepted = await callee.connection(0)
    await until(() => accepted.streams.length === 1)
    accepted.http2.drain()
    await until(() => atOnce(stand) === undefined)
    expect(await stand.take()).not.toBe(first)
    accepted.streams[0]?.end(Buffer.from('last'))
    await until(() => stream.heard.includes('end'))
    expect(stream.heard).toEqual(['200', 'last', 'end'])
  })

  it('from the world gets no new calls, and ends those it has', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const first = await stand.take()
    const stream = call(first)
    stand.announce()
    await expect(stand.take()).rejects.toMatchObject({ code: 'CALLEE_OFFLINE' })
    const accepted = await callee.connection(0)
    await until(() => accepted.streams.length === 1)
    accepted.streams[0]?.end(Buffer.from('last'))
    await until(() => accepted.socket.destroyed)
    expect(stream.heard).toEqual(['200', 'last', 'end'])
  })

  it('while it is dialled is not connected to', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const waiting = stand.take()
    waiting.catch(() => undefined)
    await until(() => callee.connects.length === 1)
    stand.announce()
    await expect(waiting).rejects.toMatchObject({ code: 'CALLEE_OFFLINE' })
    await until(() => callee.accepted[0]?.socket.destroyed === true)
  })

  it('while calls wait for it turns them away', async () => {
    await using stand = await openPeerStand()
    await stand.callee({ serve: () => undefined })
    const waiting = stand.take()
    stand.announce()
    await expect(waiting).rejects.toMatchObject({ code: 'CALLEE_OFFLINE' })
  })
})

describe('a leaf of the callee that is about to end', () => {
  it('gets no new calls, since the next connection shows the next one', async () => {
    await using stand = await openPeerStand()
    const leaf = await stand.issue('tickets', { notAfter: stand.clock.now() + HOUR })
    await stand.callee({ leaf })
    const first = await stand.take()
    stand.clock.advance(50 * MINUTE)
    expect(await stand.take()).toBe(first)
    stand.clock.advance(9 * MINUTE)
    const second = await stand.take()
    expect(second).not.toBe(first)
    // it has nothing newer to show: it is asked again, though not for each call
    expect(await stand.take()).toBe(second)
    stand.clock.advance(11_000)
    expect(await stand.take()).not.toBe(second)
  })

  it('cuts a stream that nothing newer proves', async () => {
    await using stand = await openPeerStand()
    const leaf = await stand.issue('tickets', { notAfter: stand.clock.now() + HOUR })
    await stand.callee({ leaf })
    const first = await stand.take()
    const stream = call(first)
    stand.clock.advance(HOUR + 1)
    await until(() => stream.heard.length > 0)
    expect(stream.heard.at(-1)).toBe('HTTP2_CONNECTION_LOST PEER_EXPIRED')
    expect(first.cutReason).toBe('PEER_EXPIRED')
  })

  it('keeps a stream while another connection proves its callee, and no longer than the stream', async () => {
    await using stand = await openPeerStand()
    const leaf = await stand.issue('tickets', { notAfter: stand.clock.now() + HOUR })
    const old = await stand.callee({ leaf })
    const first = await stand.take()
    const stream = call(first)
    const young = await stand.callee({ leaf: await stand.issue('tickets', { instanceId: leaf.instanceId }) })
    stand.announce(young.endpoint)
    await stand.take()
    stand.clock.advance(2 * HOUR)
    await turned()
    expect(first.cutReason).toBeUndefined()
    const accepted = await old.connection(0)
    await until(() => accepted.streams.length === 1)
    accepted.streams[0]?.write(Buffer.from('past the leaf'))
    await until(() => stream.heard.includes('past the leaf'))
    stream.end()
    await turned()
    expect(first.cutReason).toBe('PEER_EXPIRED')
  })
})

describe('a silent callee', () => {
  it('that vanished without a word is given up, and its calls end', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const connection = await stand.take()
    const stream = call(connection)
    await until(() => stream.heard.length > 0)
    const { socket } = await callee.connection(0)
    // reads nothing, answers nothing
    socket.pause()
    await stand.looks(7)
    expect(stream.heard).toEqual(['200'])
    await stand.looks(2)
    await until(() => stream.heard.length > 1)
    expect(stream.heard).toEqual(['200', 'HTTP2_CONNECTION_LOST'])
    expect(connection.cutReason).toBeUndefined()
    connection.leave()
  })

  it('that answers when it is asked stays', async () => {
    await using stand = await openPeerStand()
    await stand.callee()
    const stream = call(await stand.take())
    for (let nth = 0; nth < 30; nth += 1) {
      await stand.looks(1)
      for (let rounds = 0; rounds < 20; rounds += 1) await turned()
    }
    expect(stream.heard).toEqual(['200'])
  })

  it('is not blamed for the time in which we did not run', async () => {
    await using stand = await openPeerStand()
    await stand.callee()
    const stream = call(await stand.take())
    await until(() => stream.heard.length > 0)
    for (let nth = 0; nth < 5; nth += 1) stand.clock.advance(HOUR)
    await turned()
    stand.clock.advance(HOUR)
    for (let rounds = 0; rounds < 20; rounds += 1) await turned()
    expect(stream.heard).toEqual(['200'])
  })

  it('that never acknowledges our SETTINGS is told so, and left', async () => {
    await using stand = await openPeerStand()
    const heard: Buffer[] = []
    await stand.callee({
      serve(socket) {
        socket.on('data', (bytes: Buffer) => heard.push(bytes))
        socket.write(SETTINGS)
      },
    })
    await stand.take()
    await stand.looks(3)
    // GOAWAY with SETTINGS_TIMEOUT
    const goaway = Buffer.from('0000080700000000000000000000000004', 'hex')
    await until(() => Buffer.concat(heard).includes(goaway))
    expect(atOnce(stand)).toBeUndefined()
  })
})

describe('a connection that nobody uses', () => {
  it('is closed after five minutes, but not while a call runs', async () => {
    await using stand = await openPeerStand()
    const callee = await stand.callee()
    const connection = await stand.take()
    const stream = call(connection)
    const accepted = await callee.connection(0)
    const minutes = async (count: number): Promise<void> => {
      for (let look = 0; look < count * 12; look += 1) {
        await stand.looks(1)
        // for the PONG, if there was a PING
        for (let rounds = 0; rounds < 20; rounds += 1) await turned()
      }
    }
    await minutes(6)
    expect(atOnce(stand)).toBe(connection)
    stream.end()
    await minutes(4)
    expect(atOnce(stand)).toBe(connection)
    await minutes(2)
    await until(() => accepted.socket.destroyed)
  })
})
