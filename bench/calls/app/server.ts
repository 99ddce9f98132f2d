// The app that is called, on raw sockets so that what is measured is the way to it: /hello answers a few bytes at once, /bytes/N so many,
// /events an event every 5 ms that says when it was sent, /echo is a WebSocket; gRPC on the same port. A request with a body is answered when all
// of it is there.

import { createServer, type Server, type Socket } from 'node:net'
import { MessageReader } from '../http1-reader.js'
import { acceptKey, FrameEcho } from '../websocket.js'
import { isPreface, serveGrpc } from './grpc.js'

const BODY = '{"hello":"world"}\n'
const HELLO = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`
const EVENT_EVERY_MS = 5
const PIECE = Buffer.alloc(256 * 1024, 'x')

const TARGET = /^\S+ (\S+)/
const NUMBER = /^\/bytes\/(\d+)$/
const KEY = /\r\nsec-websocket-key: *(\S+)/i

/** Not yet listening. */
export const createApp = (): Server => createServer(serve)

function serve(socket: Socket): void {
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.once('data', (first: Buffer) => {
    const feed = isPreface(first) ? serveGrpc(socket) : serveHttp1(socket)
    socket.on('data', feed)
    feed(first)
  })
}

/** @returns what takes the bytes of the socket */
function serveHttp1(socket: Socket): (bytes: Buffer) => void {
  let head = ''
  let echo: FrameEcho | undefined
  const reader = new MessageReader('request', {
    onHead: (text) => {
      head = text
      const key = KEY.exec(text)?.[1]
      if (key === undefined) return
      const fields = `upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${acceptKey(key)}`
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n\r\n`)
      echo = new FrameEcho(socket)
      reader.untilClose()
    },
    onBody: (bytes, from, to) => echo?.feed(bytes.subarray(from, to)),
    onEnd: () => answer(socket, head),
  })
  return (bytes) => reader.feed(bytes, bytes.length)
}

function answer(socket: Socket, head: string): void {
  const target = TARGET.exec(head)?.[1] ?? ''
  if (target === '/events') {
    sendEvents(socket)
    return
  }
  const size = NUMBER.exec(target)?.[1]
  if (size === undefined) {
    socket.write(HELLO, 'latin1')
    return
  }
  socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n`, 'latin1')
  sendBytes(socket, Number(size))
}

function sendBytes(socket: Socket, count: number): void {
  let left = count
  while (left > 0) {
    const piece = left < PIECE.length ? PIECE.subarray(0, left) : PIECE
    left -= piece.length
    if (socket.write(piece) || left === 0) continue
    const rest = left
    socket.once('drain', () => sendBytes(socket, rest))
    return
  }
}

function sendEvents(socket: Socket): void {
  socket.write(
    'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n',
  )
  const timer = setInterval(() => {
    const event = `data: ${process.hrtime.bigint()}\n\n`
    socket.write(`${event.length.toString(16)}\r\n${event}\r\n`)
  }, EVENT_EVERY_MS)
  socket.on('close', () => clearInterval(timer))
}
