import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { createApp } from '../../../bench/calls/app/server.js'
import type { Chain } from '../../../bench/calls/chains/chain.js'
import { generateCalls } from '../../../bench/calls/generator/calls.js'
import { generateEvents } from '../../../bench/calls/generator/events.js'
import { generateUnaryCalls } from '../../../bench/calls/generator/grpc.js'
import { generateHandshakes } from '../../../bench/calls/generator/handshakes.js'
import type { Job, Measured } from '../../../bench/calls/generator/job.js'
import { generateMessages } from '../../../bench/calls/generator/websocket.js'
import { SCENARIOS } from '../../../bench/calls/scenarios.js'

const generate = (job: Job): Promise<Measured> => {
  switch (job.kind) {
    case 'calls':
      return generateCalls(job)
    case 'events':
      return generateEvents(job)
    case 'websocket':
      return generateMessages(job)
    case 'grpc':
      return generateUnaryCalls(job)
    case 'handshakes':
      return generateHandshakes(job)
  }
}

const openApp = async () => {
  const app = createApp().listen(0, '127.0.0.1')
  await once(app, 'listening')
  const chain: Chain = {
    name: 'direct',
    host: '127.0.0.1',
    port: (app.address() as AddressInfo).port,
    prefix: '',
    pids: [],
    door: () => Promise.reject(new Error('none')),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
  return { app, chain, [Symbol.dispose]: () => void app.close() }
}

// whoever has no TLS door is not asked for handshakes
test.each(SCENARIOS.filter(({ own }) => own.length > 0))(
  'the app of the bench serves $name',
  async (scenario) => {
    using served = await openApp()
    const job = await scenario.job(served.chain, { warmMs: 20, windowMs: 150 })
    const { units, p50Ms } = await generate({ ...job, callers: Math.min(job.callers, 4) })
    expect(units).toBeGreaterThan(0)
    if (scenario.unit !== 'bodies') expect(p50Ms).toBeGreaterThan(0)
  },
)

test.each(['websocket', 'grpc-unary', 'events'])(
  'a server that does not know %s is said to be so',
  async (name) => {
    using served = await openApp()
    const scenario = SCENARIOS.find((each) => each.name === name)
    if (scenario === undefined) throw new Error('no such scenario')
    served.app.removeAllListeners('connection')
    served.app.on('connection', (socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end('HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\n\r\n'))
    })
    const job = await scenario.job(served.chain, { warmMs: 20, windowMs: 150 })
    await expect(generate(job)).rejects.toThrow()
  },
)
