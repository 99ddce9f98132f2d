import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { FromMember } from '../../mesh/wire/feed.js'
import { manualClock } from '../support/manual-clock.js'
import { startCa, type TestCa, type TestFeed } from '../support/running-ca.js'

const HELLO: FromMember = { type: 'hello', position: null, capabilities: [] }

async function fresh(ca: TestCa): Promise<TestFeed> {
  return ca.feed(await ca.enrol('planner'))
}

describe('a member that abuses its feed', () => {
  it('is dropped when it does not begin with hello, or sends what is no frame', async () => {
    await using ca = await startCa()
    for (const first of ['{"type":"resync"}', 'junk', '{"type":"hello"}', '{"type":"x","critical":true}']) {
      const feed = await fresh(ca)
      feed.sendRaw(first)
      expect((await feed.next('problem')).code, first).toMatch(/^WIRE_(MALFORMED|VERSION)$/)
      expect(await feed.closed).toBe(1008)
    }
  })

  it('is dropped when it sends bytes, too large a frame, or too many of them', async () => {
    await using ca = await startCa()
    const binary = await fresh(ca)
    binary.sendRaw(Buffer.from([1, 2, 3]))
    expect(await binary.closed).toBe(1008)
    const large = await fresh(ca)
    large.sendRaw('x'.repeat(70_000))
    expect(await large.closed).toBe(1009)
    const many = await fresh(ca)
    many.send(HELLO)
    for (let count = 0; count < 40; count += 1) many.send({ type: 'resync' })
    expect(await many.closed).toBe(1008)
  })

  it('is dropped when it acknowledges what was never sent', async () => {
    await using ca = await startCa()
    const feed = await fresh(ca)
    feed.send(HELLO)
    const { position } = await feed.next('snapshot')
    feed.send({ type: 'ack', position: { ...position, epoch: position.epoch + 1 }, cut: 0 })
    expect(await feed.closed).toBe(1008)
  })

  it('is dropped when it claims to have cut more than anybody can count', async () => {
    await using ca = await startCa()
    const feed = await fresh(ca)
    feed.send(HELLO)
    const { position } = await feed.next('snapshot')
    feed.send({ type: 'ack', position, cut: Number.MAX_SAFE_INTEGER })
    expect(await feed.closed).toBe(1008)
  })

  it('is dropped when it makes the CA answer pings without end', async () => {
    await using ca = await startCa()
    const feed = await fresh(ca)
    for (let count = 0; count < 40; count += 1) feed.ping()
    expect(await feed.closed).toBe(1006)
  })

  it('may not skip the subprotocol, nor reach another path', async () => {
    await using ca = await startCa()
    const member = await ca.enrol('planner')
    await expect(ca.feed(member, '/v1/other')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    const { port } = ca.running
    const plain = new WebSocket(`wss://127.0.0.1:${port}/v1/feed`, { ca: ca.rootPem })
    await expect(new Promise((_resolve, reject) => plain.on('error', reject))).rejects.toThrow('404')
  })

  it('is told nothing when it was withdrawn between the handshake and its hello', async () => {
    await using ca = await startCa()
    const feed = await fresh(ca)
    await ca.admin('POST', '/v1/revocations', { name: 'planner' })
    feed.send(HELLO)
    expect((await feed.next('problem')).code).toBe('PEER_REVOKED')
    expect(await feed.closed).toBe(4403)
  })

  it('is dropped when it gives no sign of life for three heartbeats', async () => {
    const clock = manualClock()
    await using ca = await startCa({ clock })
    const feed = await fresh(ca)
    feed.send(HELLO)
    await feed.next('snapshot')
    feed.pause()
    for (let beats = 0; beats < 5; beats += 1) clock.advance(8000)
    expect((await ca.log.line('feed.silent')).level).toBe('warn')
  })
})
