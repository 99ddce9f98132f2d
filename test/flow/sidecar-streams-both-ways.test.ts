import { createHash, randomBytes } from 'node:crypto'
import http from 'node:http'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { begin, connectPlain, problemIn, request, sendRaw, whole } from '../support/raw-http.js'
import { readEvents, startApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

const MEGABYTE = 1024 * 1024
const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

describe('bodies through two sidecars', () => {
  it('pass server-sent events on one by one, as they are made', async () => {
    let send: (event: string) => void = () => undefined
    let finish = (): void => undefined
    await using app = await startApp((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.flushHeaders()
      send = (event) => void response.write(`data: ${event}\n\n`)
      finish = () => void response.end()
    })
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')

    // The head is here before the first event was made.
    const stream = await begin(`${planner.urlOf('tickets')}/tickets/events`)
    expect(stream.headers['content-type']).toBe('text/event-stream')
    const events = readEvents(stream)
    for (const event of ['one', 'two', 'three']) {
      send(event)
      expect(await events.next()).toBe(event)
    }
    finish()
    expect(await events.over).toBe('ended')
    expect(await planner.records.end()).toMatchObject({ outcome: 'completed', bytesOut: 35 })
  })

  it('carry 20 MB up, and the app reads exactly what was sent', async () => {
    const body = randomBytes(20 * MEGABYTE)
    await using app = await startApp((incoming, response) => {
      const hash = createHash('sha256')
      incoming.on('data', (chunk: Buffer) => hash.update(chunk))
      incoming.on('end', () => response.end(hash.digest('hex')))
    })
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/import`, { method: 'POST', body })
    expect(answer.body.toString()).toBe(sha(body))
    expect(await tickets.records.end()).toMatchObject({ bytesIn: body.length, outcome: 'completed' })
    expect(await planner.records.end()).toMatchObject({ bytesIn: body.length, bytesOut: 64 })
  })

  it('carry 20 MB of chunks up and back at the same time', async () => {
    const body = randomBytes(20 * MEGABYTE)
    await using app = await startApp((incoming, response) => void incoming.pipe(response))
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const echoed = await new Promise<Buffer>((resolve, reject) => {
      const outgoing = http.request(
        `${planner.urlOf('tickets')}/tickets/echo`,
        { method: 'POST', agent: false },
        (answer) => void whole(answer).then(({ body: received }) => resolve(received), reject),
      )
      outgoing.on('error', reject)
      for (let at = 0; at < body.length; at += MEGABYTE) outgoing.write(body.subarray(at, at + MEGABYTE))
      outgoing.end()
    })
    expect(sha(echoed)).toBe(sha(body))
  })

  it('wait for a slow reader: the app is held back and nothing piles up in between', async () => {
    let written = 0
    let isHeldBack = false
    await using app = await startApp((_request, response) => {
      const chunk = Buffer.alloc(MEGABYTE)
      const more = (): void => {
        while (written < 64) {
          written += 1
          if (!response.write(chunk)) {
            isHeldBack = true
            response.once('drain', more)
            return
          }
        }
        response.end()
      }
      more()
    })
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const download = await begin(`${planner.urlOf('tickets')}/tickets/large`)
    // The reader does not read: after the socket buffers are full, the app gets no further.
    let last = -1
    const isMoving = (): boolean => last !== written || !isHeldBack
    for (let rounds = 0; rounds < 200 && isMoving(); rounds += 1) {
      last = written
      for (let turn = 0; turn < 200; turn += 1) await setImmediate()
    }
    expect(isHeldBack).toBe(true)
    expect(written).toBeLessThan(64)
    const { body } = await whole(download)
    expect(body.length).toBe(64 * MEGABYTE)
  })

  it('end at the app at once when the caller goes away', async () => {
    let appSawClose = (): void => undefined
    const closed = new Promise<void>((resolve) => {
      appSawClose = resolve
    })
    await using app = await startApp((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: first\n\n')
      response.on('close', appSawClose)
    })
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const stream = await begin(`${planner.urlOf('tickets')}/tickets/events`)
    stream.on('error', () => undefined)
    await readEvents(stream).next()
    stream.destroy()
    await closed
    expect(await planner.records.end()).toMatchObject({ outcome: 'aborted' })
    expect(await tickets.records.end()).toMatchObject({ outcome: 'aborted' })
  })

  it('break at the caller when the app breaks off in the middle', async () => {
    await using app = await startApp((_request, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write('half', () => response.destroy())
    })
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const answer = await begin(`${planner.urlOf('tickets')}/tickets/1`)
    await expect(whole(answer)).rejects.toThrow()
    expect(await tickets.records.end()).toMatchObject({ outcome: 'failed', reason: 'APP_UNREACHABLE' })
    expect(await planner.records.end()).toMatchObject({ outcome: 'failed', reason: 'CALLEE_UNREACHABLE' })
  })

  it('larger than body.max are refused, announced or not', async () => {
    await using app = await startApp((incoming, response) => {
      incoming.resume()
      incoming.on('end', () => response.end())
    })
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place, settings: { bodyMaxBytes: 1000 } })
    const planner = await mesh.start('planner')
    const url = `${planner.urlOf('tickets')}/tickets/import`
    const announced = await request(url, { method: 'POST', body: Buffer.alloc(1001) })
    expect([announced.status, problemIn(announced).code]).toEqual([413, 'CALL_BODY_TOO_LARGE'])
    const chunked = await request(url, {
      method: 'POST',
      headers: { 'transfer-encoding': 'chunked' },
      body: Buffer.alloc(1001),
    })
    expect([chunked.status, problemIn(chunked).code]).toEqual([413, 'CALL_BODY_TOO_LARGE'])
    const fits = await request(url, { method: 'POST', body: Buffer.alloc(1000) })
    expect(fits.status).toBe(200)
  })

  it('keep HEAD, 204 and 304 without a body', async () => {
    await using app = await startApp((incoming, response) => {
      response.writeHead(Number(incoming.url?.split('/').at(-1)), { 'content-type': 'text/plain' })
      response.end()
    })
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    for (const status of [204, 304]) {
      const answer = await request(`${planner.urlOf('tickets')}/tickets/${status}`)
      expect([answer.status, answer.body.length]).toEqual([status, 0])
    }
    const head = await request(`${planner.urlOf('tickets')}/tickets/200`, { method: 'HEAD' })
    expect([head.status, head.body.length]).toEqual([200, 0])
    const again = await request(`${planner.urlOf('tickets')}/tickets/200`)
    expect(again.status).toBe(200)
  })

  it('are asked for with 100 (Continue) only after the decision', async () => {
    await using app = await startApp((incoming, response) => {
      incoming.resume()
      incoming.on('end', () => response.end('taken'))
    })
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const { egress } = planner.ports
    const head = (method: string, callee: string): string =>
      `${method} /~${planner.credential}/@${callee}/tickets/1 HTTP/1.1\r\nHost: 127.0.0.1:${egress}\r\n` +
      'Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n'
    const refused = await sendRaw(await connectPlain(egress), head('POST', 'nobody'))
    expect(refused).toMatch(/^HTTP\/1\.1 404 /)
    const socket = await connectPlain(egress)
    socket.once('data', () => socket.write('hi'))
    const taken = await sendRaw(socket, head('POST', 'tickets'))
    expect(taken).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/)
    expect(taken).toContain('taken')
  })

  it('that never begin to be answered end with a timeout', async () => {
    await using app = await startApp(() => undefined)
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place, settings: { headTimeoutMs: 50 } })
    const planner = await mesh.start('planner')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, problemIn(answer).code]).toEqual([504, 'CALLEE_TIMEOUT'])
    expect(await tickets.records.end()).toMatchObject({ outcome: 'failed', reason: 'CALLEE_TIMEOUT' })
  })
})
