import { expect, it } from 'vitest'
import { FRAME } from '../../sidecar/http2/frames.js'
import {
  END_HEADERS,
  END_STREAM,
  headers,
  PREFACE,
  parseFrames,
  SETTINGS_ACK,
  settings,
  windowUpdate,
} from '../support/http2-raw.js'
import { connectPlain, request } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

const ANSWER_BYTES = 100_000

it('an answer that came before the upload was over is whole for a client that reads it late', async () => {
  // answers without a look at the body: what the callee's sidecar says then is an end, and a reset with NO_ERROR behind it
  await using app = await startApp((_request, response) => {
    response.writeHead(200, { 'content-length': ANSWER_BYTES })
    response.end(Buffer.alloc(ANSWER_BYTES, 'a'))
  })
  await using mesh = await startMesh()
  const tickets = await mesh.start('tickets', { app: app.place })
  const planner = await mesh.start('planner')
  const socket = await connectPlain(planner.ports.egress)
  let bytes = Buffer.alloc(0)
  const isOver = new Promise<void>((resolve) =>
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      const last = parseFrames(bytes).findLast(({ streamId }) => streamId === 1)
      if (last?.type === FRAME.RST_STREAM || ((last?.flags ?? 0) & END_STREAM) !== 0) resolve()
    }),
  )
  const post = [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', '/tickets/1'],
    [':authority', 'tickets.mesh'],
    ['proxy-authorization', `Bearer ${planner.credential}`],
  ] as const
  socket.write(Buffer.concat([PREFACE, settings([4, 0]), SETTINGS_ACK, headers(1, post, END_HEADERS)]))
  expect(await tickets.records.end()).toMatchObject({ outcome: 'completed' })
  // a call behind it on the same connection: what came before it has arrived
  await request(`${planner.urlOf('tickets')}/tickets/2`)
  socket.write(Buffer.concat([settings([4, 1_000_000]), windowUpdate(0, 1_000_000)]))
  await isOver
  const received = parseFrames(bytes)
    .filter(({ type, streamId }) => type === FRAME.DATA && streamId === 1)
    .reduce((sum, { payload }) => sum + payload.length, 0)
  expect(received).toBe(ANSWER_BYTES)
  expect((await planner.records.end(1)).reason).toBe('OK')
  socket.destroy()
})
