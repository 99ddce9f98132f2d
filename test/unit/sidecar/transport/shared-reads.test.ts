import net, { type AddressInfo, type Socket } from 'node:net'
import { expect, it } from 'vitest'
import { readInto } from '../../../../sidecar/transport/shared-reads.js'

it('this Node reads accepted sockets into the buffer that it is given, and tells their end', async () => {
  const buffer = Buffer.alloc(16)
  const heard: string[] = []
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true })
  const ended = new Promise<boolean>((resolve) => {
    server.on('connection', (socket: Socket) => {
      const isShared = readInto(socket, {
        buffer,
        callback: (length, bytes) => {
          heard.push(`${bytes === buffer} ${buffer.toString('latin1', 0, length)}`)
          return true
        },
      })
      socket.on('end', () => {
        socket.end()
        resolve(isShared)
      })
      socket.resume()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
  client.end('what was sent')
  expect(await ended).toBe(true)
  expect(heard).toEqual(['true what was sent'])
  await new Promise((resolve) => server.close(resolve))
})

it('a socket without the inner parts is left to emit data', () => {
  expect(readInto(new net.Socket(), { buffer: Buffer.alloc(1), callback: () => true })).toBe(false)
})
