// Readers of a stream of server-sent events, each of which says when it was sent: how long it was on its way.

import net from 'node:net'
import { MessageReader } from '../http1-reader.js'
import type { EventsJob, Measured } from './job.js'
import { measureWindow, Tally } from './window.js'

const EVENT = /data: (\d+)\n\n/g

/** @throws Error when a connection fails or ends, or the answer is not 200 */
export async function generateEvents(job: EventsJob): Promise<Measured> {
  const tally = new Tally()
  const sockets = Array.from({ length: job.callers }, () => listen(job, tally))
  try {
    return await measureWindow(tally, job)
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}

function listen({ host, port, head }: EventsJob, tally: Tally): net.Socket {
  let unread = ''
  const reader = new MessageReader('response', {
    onHead: (text) => {
      if (!text.startsWith('200', 9)) tally.fail(new Error(`answered ${text.split('\r\n')[0] ?? ''}`))
    },
    onBody: (bytes, from, to) => {
      const now = process.hrtime.bigint()
      unread += bytes.toString('latin1', from, to)
      let end = 0
      for (const match of unread.matchAll(EVENT)) {
        tally.done(Number(now - BigInt(match[1] ?? 0)) / 1e6)
        end = match.index + match[0].length
      }
      unread = unread.slice(end)
    },
    onEnd: () => tally.fail(new Error('the stream of events ended')),
  })
  const socket = net.connect({ host, port, noDelay: true })
  socket.on('connect', () => socket.write(head, 'latin1'))
  socket.on('data', (bytes: Buffer) => reader.feed(bytes, bytes.length))
  socket.on('error', (error) => tally.fail(error))
  socket.on('close', () => tally.fail(new Error('the connection was closed')))
  return socket
}
