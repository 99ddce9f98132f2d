// WebSocket clients over HTTP/1.1: each sends its next small message when the echo of the last one is there.

import net from 'node:net'
import { MessageReader } from '../http1-reader.js'
import { clientFrame, FrameReader } from '../websocket.js'
import type { Measured, WebSocketJob } from './job.js'
import { measureWindow, Tally } from './window.js'

const MESSAGE = clientFrame(Buffer.from('a message as agents send them'))
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

/** @throws Error when a connection fails, or is not upgraded */
export async function generateMessages(job: WebSocketJob): Promise<Measured> {
  const tally = new Tally()
  const sockets = Array.from({ length: job.callers }, () => open(job, tally))
  try {
    return await measureWindow(tally, job)
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}

function open({ host, port, target }: WebSocketJob, tally: Tally): net.Socket {
  const socket = net.connect({ host, port, noDelay: true })
  let sentAt = 0
  const send = (): void => {
    sentAt = performance.now()
    socket.write(MESSAGE)
  }
  const frames = new FrameReader(() => {
    tally.done(performance.now() - sentAt)
    if (!tally.isOver) send()
  })
  const reader = new MessageReader('response', {
    onHead: (head) => {
      if (!head.startsWith('101', 9)) {
        tally.fail(new Error(`answered ${head.split('\r\n')[0] ?? ''}`))
        return
      }
      reader.untilClose()
      send()
    },
    onBody: (bytes, from, to) => frames.feed(bytes.subarray(from, to)),
    onEnd: () => undefined,
  })
  const fields = `upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${KEY}`
  const head = `GET ${target} HTTP/1.1\r\nhost: ${host}:${port}\r\n${fields}\r\n\r\n`
  socket.on('connect', () => socket.write(head, 'latin1'))
  socket.on('data', (bytes: Buffer) => reader.feed(bytes, bytes.length))
  socket.on('error', (error) => tally.fail(error))
  socket.on('close', () => tally.fail(new Error('the connection was closed')))
  return socket
}
