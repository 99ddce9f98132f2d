// Encrypted sockets that all read into one buffer: whatever arrives when, a codec is fed every byte once, in order, not while it has asked for
// a pause, and never while another is being fed.

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import tls, { type TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { issueLeaf, makeHierarchy } from '../../../../certs-dev/hierarchy.js'
import { systemClock } from '../../../../host/clock.js'
import { openSweep } from '../../../../host/sweep.js'
import { openTurn } from '../../../../host/turn.js'
import { type Codec, READ_BYTES, SocketWire } from '../../../../sidecar/transport/socket-wire.js'

const hierarchy = await makeHierarchy({ trustDomain: 'reads.test', dev: true })
const leaf = await issueLeaf(hierarchy, 'spiffe://reads.test/agent/tickets')
const reads = Buffer.allocUnsafeSlow(READ_BYTES)
const turn = openTurn((error) => expect.unreachable(String(error)))

let server: tls.Server
let open: TLSSocket[]
let feeding = 0
let deepest = 0

beforeEach(async () => {
  open = []
  feeding = 0
  deepest = 0
  server = tls.createServer({ key: leaf.keyPem, cert: leaf.chainPem, minVersion: 'TLSv1.3' })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterEach(() => {
  for (const socket of open) socket.destroy()
  server.close()
})

/** Both ends; the accepted one has said `greeting` before anything else could happen. */
async function connected(greeting: Uint8Array): Promise<readonly [TLSSocket, TLSSocket]> {
  const accepting = new Promise<TLSSocket>((resolve) =>
    server.once('secureConnection', (socket) => {
      if (greeting.length > 0) socket.write(greeting)
      resolve(socket)
    }),
  )
  const { port } = server.address() as AddressInfo
  const dialled = tls.connect({ port, host: '127.0.0.1', servername: 'tickets.mesh', ca: hierarchy.rootPem })
  await once(dialled, 'secureConnect')
  const accepted = await accepting
  open.push(dialled, accepted)
  return [dialled, accepted]
}

/** Keeps what it is fed, looks at it only after it has acted on it, and can wait for so many bytes. */
class Collector implements Codec {
  readonly wire: SocketWire
  readonly #act: (bytes: Buffer) => void
  readonly #pieces: Buffer[] = []
  #length = 0
  #wanted = 0
  #enough: () => void = () => undefined

  constructor(socket: TLSSocket, act: (collector: Collector, bytes: Buffer) => void = () => undefined) {
    this.wire = new SocketWire(socket, turn, openSweep(systemClock), reads)
    this.#act = (bytes) => act(this, bytes)
    this.wire.attach(this)
  }

  feed(bytes: Buffer): void {
    feeding += 1
    deepest = Math.max(deepest, feeding)
    this.#act(bytes)
    this.#pieces.push(Buffer.from(bytes))
    this.#length += bytes.length
    // whoever kept them instead of using them up finds this
    bytes.fill(0xee)
    feeding -= 1
    if (this.#length >= this.#wanted) this.#enough()
  }

  get length(): number {
    return this.#length
  }

  async heard(bytes: number): Promise<Buffer> {
    this.#wanted = bytes
    if (this.#length < bytes)
      await new Promise<void>((resolve) => {
        this.#enough = resolve
      })
    return Buffer.concat(this.#pieces)
  }

  ended(): void {}
  flush(): void {}
  written(): void {}
  lost(): void {}
}

/** No two stretches of it are alike. */
function bytesOf(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  let state = seed
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1103515245) + 12345) | 0
    bytes[at] = state >>> 16
  }
  return bytes
}

it('reads of both ends land in the shared buffer on this Node', async () => {
  const [dialled, accepted] = await connected(Buffer.alloc(0))
  let shared = 0
  const look = (_: Collector, bytes: Buffer): void => {
    if (bytes.buffer === reads.buffer) shared += 1
  }
  const [a, b] = [new Collector(dialled, look), new Collector(accepted, look)]
  dialled.write('to the callee')
  expect((await b.heard(13)).toString()).toBe('to the callee')
  accepted.write('to the caller')
  expect((await a.heard(13)).toString()).toBe('to the caller')
  expect(shared).toBe(2)
})

it('what came with the handshake, before there was a codec, is fed first', async () => {
  const first = bytesOf(40_000)
  const then = bytesOf(100_000, 2)
  const [dialled, accepted] = await connected(first)
  if (dialled.readableLength === 0) await once(dialled, 'readable')
  expect(dialled.readableLength).toBeGreaterThan(0)
  const codec = new Collector(dialled)
  expect(codec.length).toBe(0)
  accepted.write(then)
  expect((await codec.heard(140_000)).equals(Buffer.concat([first, then]))).toBe(true)
})

it('nothing is fed while the codec has asked for a pause, and nothing is lost over it', async () => {
  const body = bytesOf(600_000)
  const [dialled, accepted] = await connected(Buffer.alloc(0))
  let isPaused = false
  let early = 0
  const codec = new Collector(accepted, ({ wire }) => {
    if (isPaused) early += 1
    isPaused = true
    wire.pause()
    setImmediate(() => {
      isPaused = false
      wire.resume()
    })
  })
  // small records: several of them are decrypted at once
  for (let at = 0; at < body.length; at += 700) dialled.write(body.subarray(at, at + 700))
  expect((await codec.heard(body.length)).equals(body)).toBe(true)
  expect(early).toBe(0)
})

it('a peer that goes on sending while the codec has asked for a pause is not read on', async () => {
  const [dialled, accepted] = await connected(Buffer.alloc(0))
  const codec = new Collector(accepted, ({ wire }) => wire.pause())
  const piece = bytesOf(1000)
  for (let nth = 0; nth < 20_000; nth++) dialled.write(piece)
  await codec.heard(1000)
  let before = -1
  let same = 0
  while (same < 200) {
    same = accepted.bytesRead === before ? same + 1 : 0
    before = accepted.bytesRead
    await new Promise(setImmediate)
  }
  expect(codec.length).toBe(1000)
  expect(accepted.readableLength).toBeLessThan(256 * 1024)
})

it('bytes of any size, cut anywhere, pass both ways between sockets that answer each other while they are fed', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 50_000 }), { minLength: 1, maxLength: 12 }),
      async (cuts) => {
        const length = cuts.reduce((sum, cut) => sum + cut, 0)
        const body = bytesOf(length, length)
        const [caller, relayIn] = await connected(Buffer.alloc(0))
        const [relayOut, callee] = await connected(Buffer.alloc(0))
        const back = new Collector(caller)
        new Collector(relayIn, (_, bytes) => relayOut.write(Buffer.from(bytes)))
        new Collector(relayOut, (_, bytes) => relayIn.write(Buffer.from(bytes)))
        const there = new Collector(callee, (_, bytes) => callee.write(Buffer.from(bytes)))
        let at = 0
        for (const cut of cuts) {
          caller.write(body.subarray(at, at + cut))
          at += cut
        }
        expect((await there.heard(length)).equals(body)).toBe(true)
        expect((await back.heard(length)).equals(body)).toBe(true)
        expect(deepest).toBe(1)
      },
    ),
    { numRuns: 10 },
  )
})

it('an empty write does not make TLS read into the buffer that is being fed', async () => {
  const body = bytesOf(300_000)
  const [dialled, accepted] = await connected(Buffer.alloc(0))
  const codec = new Collector(accepted, ({ wire }) => {
    wire.write(Buffer.alloc(0))
    wire.writeText('')
  })
  dialled.write(body)
  expect((await codec.heard(body.length)).equals(body)).toBe(true)
  expect(deepest).toBe(1)
})
