// Real sockets: what Node says of a write depends on the kernel.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { systemClock } from '../../../../host/clock.js'
import { openSweep } from '../../../../host/sweep.js'
import { openTurn } from '../../../../host/turn.js'
import { SocketWire } from '../../../../sidecar/transport/socket-wire.js'

let server: Server
let accepted: Promise<Socket>

beforeEach(async () => {
  server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  accepted = once(server, 'connection').then(([socket]) => socket as Socket)
  await once(server, 'listening')
})
afterEach(() => server.close())

function dial(): { socket: Socket; wire: SocketWire; written: Promise<void>; timesWritten: () => number } {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const turn = openTurn((error) => expect.unreachable(String(error)))
  const wire = new SocketWire(socket, turn, openSweep(systemClock))
  let times = 0
  const written = new Promise<void>((resolve) => {
    wire.attach({
      feed: () => undefined,
      ended: () => undefined,
      flush: () => undefined,
      lost: () => undefined,
      written: () => {
        times += 1
        resolve()
      },
    })
  })
  return { socket, wire, written, timesWritten: () => times }
}

async function read(socket: Socket, bytes: number): Promise<string> {
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    if (text.length >= bytes) socket.emit('enough')
  })
  const enough = once(socket, 'enough')
  socket.resume()
  await enough
  return text
}

it('a text that the kernel takes is known to be over at once, and nobody is called for it', async () => {
  const { socket, wire, timesWritten } = dial()
  await once(socket, 'connect')
  expect(wire.writeText('one')).toBe(true)
  expect(wire.writeText(' two')).toBe(true)
  const peer = await accepted
  expect(await read(peer, 7)).toBe('one two')
  expect(timesWritten()).toBe(0)
  socket.destroy()
})

it('a text that is written before there is a connection is over when it has left', async () => {
  const { socket, wire, written, timesWritten } = dial()
  expect(wire.writeText('early')).toBe(false)
  await written
  expect(await read(await accepted, 5)).toBe('early')
  expect(timesWritten()).toBe(1)
  socket.destroy()
})

it('a text for a peer that reads nothing is over when the peer has read, once', async () => {
  const { socket, wire, written, timesWritten } = dial()
  await once(socket, 'connect')
  const piece = 'x'.repeat(256 * 1024)
  let bytes = piece.length
  while (wire.writeText(piece)) bytes += piece.length
  expect(timesWritten()).toBe(0)
  const text = await read(await accepted, bytes)
  expect(text.length).toBe(bytes)
  await written
  expect(timesWritten()).toBe(1)
  socket.destroy()
})

it('a socket that is left has sent all that was written: its peer reads it and the end, no reset', async () => {
  const { socket, wire } = dial()
  await once(socket, 'connect')
  const peer = await accepted
  const texts: Buffer[] = []
  peer.on('data', (bytes: Buffer) => texts.push(bytes))
  peer.resume()
  expect(wire.writeText('last words')).toBe(true)
  wire.leave()
  expect(socket.destroyed).toBe(true)
  await once(peer, 'end')
  expect(Buffer.concat(texts).toString()).toBe('last words')
})
