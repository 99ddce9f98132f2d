import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { connectPlain } from '../support/raw-http.js'
import { startMesh } from '../support/start-mesh.js'

/** Announces five bytes, sends `text`, and says that this was all when it is told to. */
async function startLateApp(text: string) {
  const app = http2.createServer()
  const ends: (() => void)[] = []
  app.on('stream', (stream) => {
    stream.on('error', () => undefined)
    stream.respond({ ':status': 200, 'content-length': '5' })
    stream.write(text)
    ends.push(() => stream.end())
  })
  app.listen(0, '127.0.0.1')
  await once(app, 'listening')
  return {
    app,
    place: { host: '127.0.0.1', port: (app.address() as AddressInfo).port, http: 'h2c' as const },
  }
}

it.each([
  ['has every byte that the head announced', 'hello', 'completed'],
  ['has a part of them', 'hell', 'aborted'],
])('a caller that leaves when it %s stands in both ledgers as that', async (_what, text, outcome) => {
  const { app, place } = await startLateApp(text)
  await using mesh = await startMesh()
  const tickets = await mesh.start('tickets', { app: place })
  const planner = await mesh.start('planner')
  const { port, pathname } = new URL(`${planner.urlOf('tickets')}/tickets/1`)
  const socket = await connectPlain(Number(port))
  let heard = ''
  const whole = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1')
      if (heard.endsWith(`\r\n\r\n${text}`)) resolve()
    })
  })
  socket.write(`GET ${pathname} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
  await whole
  socket.destroy()
  expect(await planner.records.end()).toMatchObject({ outcome, status: 200, bytesOut: text.length })
  expect(await tickets.records.end()).toMatchObject({ outcome, status: 200, bytesOut: text.length })
  app.close()
})
