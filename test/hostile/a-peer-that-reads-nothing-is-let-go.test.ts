// A connection that we have given up still has bytes on their way: who never takes them must not keep it, and its memory, for ever.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, it } from 'vitest'
import type { Sweep, Swept } from '../../host/sweep.js'
import { openTurn } from '../../host/turn.js'
import { H2 } from '../../sidecar/http/stream-error.js'
import { ServedConnection } from '../../sidecar/transport/serve.js'
import { HELLO, PREFACE, SETTINGS_ACK } from '../support/http2-raw.js'

const BODY = Buffer.alloc(32 * 1024 * 1024)

it('half a minute after its call was cut', async () => {
  let now = 0
  const items = new Set<Swept>()
  const sweep: Sweep = {
    now: () => now,
    watch: (item) => void items.add(item),
    forget: (item) => void items.delete(item),
  }
  const passTime = (ms: number): void => {
    now += ms
    for (const item of items) item.look(now)
  }
  const turn = openTurn((error) => expect.unreachable(String(error)))
  const server = createServer({ allowHalfOpen: true })
  const cut = new Promise<Socket>((resolve) => {
    server.on('connection', (socket: Socket) => {
      new ServedConnection(
        socket,
        'http/1.1',
        {
          onRequest: (stream) => {
            stream.respond({ status: 200, fields: [] }, 'more')
            stream.write(BODY)
            // The write has begun when the turn is over; then the call is cut.
            setImmediate(() =>
              setImmediate(() => {
                stream.reset(H2.CANCEL)
                resolve(socket)
              }),
            )
            return {
              onData: () => undefined,
              onTrailers: () => undefined,
              onEnd: () => undefined,
              onReset: () => undefined,
              onDrain: () => undefined,
            }
          },
          onRefused: () => undefined,
        },
        { turn, sweep, headMs: 1000, reads: null, protects: () => false },
      )
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1').pause()
  client.on('error', () => undefined)
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const socket = await cut
  passTime(1000)
  passTime(29_000)
  expect(socket.destroyed).toBe(false)
  passTime(1000)
  expect(socket.destroyed).toBe(true)
  client.destroy()
  server.close()
})

it('and so is an idle one that answers no PING', async () => {
  let now = 0
  const items = new Set<Swept>()
  const sweep: Sweep = {
    now: () => now,
    watch: (item) => void items.add(item),
    forget: (item) => void items.delete(item),
  }
  const turn = openTurn((error) => expect.unreachable(String(error)))
  const service = {
    onRequest: () => expect.unreachable('no request was sent'),
    onRefused: () => undefined,
  }
  const server = createServer()
  const accepted = new Promise<Socket>((resolve) => {
    server.on('connection', (socket: Socket) => {
      new ServedConnection(socket, 'h2', service, {
        turn,
        sweep,
        headMs: 1000,
        reads: null,
        protects: () => false,
      })
      resolve(socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1').resume()
  client.on('error', () => undefined)
  client.write(Buffer.concat([PREFACE, HELLO]))
  const socket = await accepted
  // our acknowledgement of its SETTINGS: it was read
  let heard = Buffer.alloc(0)
  while (!heard.includes(SETTINGS_ACK)) {
    const [chunk] = (await once(client, 'data')) as [Buffer]
    heard = Buffer.concat([heard, chunk])
  }
  for (now = 300_000; now <= 400_000; now += 1000) {
    for (const item of items) item.look(now)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(socket.destroyed).toBe(true)
  client.destroy()
  server.close()
})
