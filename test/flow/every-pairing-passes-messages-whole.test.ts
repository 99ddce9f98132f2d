import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { type Answering, PAIRINGS, signal, startPair, wholeOf } from '../support/either-version.js'

const MEGABYTE = 1024 * 1024
const POST = { method: 'POST' }

/** Not all at once: Node's client of HTTP/2 gives up on its own backlog. */
function* piecesOf(body: Buffer): Generator<Buffer> {
  for (let at = 0; at < body.length; at += MEGABYTE) yield body.subarray(at, at + MEGABYTE)
}

describe.each(PAIRINGS)('a client of %s and an app of %s', (...versions) => {
  it.each(['length', 'chunks'])('20 MB go up and back at once, by %s', async (framing) => {
    const body = randomBytes(20 * MEGABYTE)
    const length = framing === 'length' ? { 'content-length': String(body.length) } : {}
    await using pair = await startPair(versions, (asked, answering) => {
      const { 'content-length': told } = asked.headers
      answering.writeHead(200, told === undefined ? {} : { 'content-length': told })
      asked.pipe(answering)
    })
    const { up, head, down } = pair.ask('/tickets/echo', { ...POST, headers: length })
    Readable.from(piecesOf(body)).pipe(up)
    expect((await head).headers['content-length']).toBe(length['content-length'])
    expect((await wholeOf(down)).equals(body)).toBe(true)
    const whole = { outcome: 'completed', bytesIn: body.length, bytesOut: body.length }
    expect(await pair.tickets.records.end()).toMatchObject(whole)
  })

  it('trailers pass both ways', async () => {
    await using pair = await startPair(versions, (asked, answering) => {
      asked.resume().on('end', () => {
        answering.writeHead(200, { trailer: 'x-sum' })
        answering.write('body')
        answering.addTrailers({ 'x-sum': `${String(asked.trailers['x-part'])} and two` })
        answering.end()
      })
    })
    const { up, down, trailers } = pair.ask('/tickets/1', { ...POST, trailers: { 'x-part': 'one' } })
    up.end('part')
    expect((await wholeOf(down)).toString()).toBe('body')
    expect(trailers()['x-sum']).toBe('one and two')
  })

  it('HEAD, 204 and 304 have no body, and an announced length stays', async () => {
    await using pair = await startPair(versions, (asked, answering) => {
      const status = Number(asked.url?.split('/').at(-1))
      answering.writeHead(status, status === 200 ? { 'content-length': '1000' } : { etag: '"1"' })
      answering.end()
    })
    const cases = [
      ['HEAD', 200, '1000'],
      ['GET', 204, undefined],
      ['GET', 304, undefined],
    ] as const
    for (const [method, status, length] of cases) {
      const { up, head, down } = pair.ask(`/tickets/${status}`, { method })
      up.end()
      const { status: told, headers } = await head
      expect([told, headers['content-length']]).toEqual([status, length])
      expect((await wholeOf(down)).length).toBe(0)
    }
    for (const nth of cases.keys())
      expect(await pair.planner.records.end(nth)).toMatchObject({ outcome: 'completed', bytesOut: 0 })
  })

  it('103 arrives before the head is made', async () => {
    const hinted = signal()
    await using pair = await startPair(versions, (_asked, answering) => {
      answering.writeEarlyHints({ link: '</style.css>; rel=preload' })
      void hinted.came.then(() => answering.writeHead(200)).then(() => answering.end())
    })
    const { up, interim, interims, head } = pair.ask('/tickets/1')
    up.end()
    await interim
    expect(interims).toEqual(['103 </style.css>; rel=preload'])
    hinted.give()
    expect((await head).status).toBe(200)
  })

  it('a body is asked for with 100 once the call is permitted, and not when it is denied', async () => {
    let calls = 0
    await using pair = await startPair(versions, (asked, answering) => {
      calls += 1
      answering.writeHead(200)
      asked.pipe(answering)
    })
    const expects = { ...POST, headers: { expect: '100-continue', 'content-length': '4' } }
    const denied = pair.ask('/other', expects)
    denied.up.on('error', () => undefined).flushHeaders?.()
    expect((await denied.head).status).toBe(403)
    expect([denied.interims, calls]).toEqual([[], 0])
    const permitted = pair.ask('/tickets/1', expects)
    permitted.up.flushHeaders?.()
    await permitted.interim
    expect(permitted.interims).toEqual(['100 undefined'])
    permitted.up.end('body')
    expect((await wholeOf(permitted.down)).toString()).toBe('body')
  })

  it('an answer that comes during the upload is whole, and the rest of the upload is not wanted', async () => {
    await using pair = await startPair(versions, (_asked, answering) => {
      answering.writeHead(422)
      answering.end('enough')
    })
    const { up, head, down } = pair.ask('/tickets/1', POST)
    up.on('error', () => undefined)
    up.write(Buffer.alloc(4 * MEGABYTE))
    expect((await head).status).toBe(422)
    expect((await wholeOf(down)).toString()).toBe('enough')
    for (const { records } of [pair.planner, pair.tickets])
      expect(await records.end()).toMatchObject({ outcome: 'completed', status: 422 })
  })

  it('events pass one by one, and the first may be long in coming', async () => {
    const asked = signal()
    let answering: Answering | undefined
    await using pair = await startPair(versions, (_asked, each) => {
      answering = each
      asked.give()
    })
    const { up, head, down, cancel } = pair.ask('/tickets/events')
    up.on('error', () => undefined).end()
    await asked.came
    answering?.writeHead(200, { 'content-type': 'text/event-stream' })
    answering?.write('data: 0\n\n')
    expect((await head).status).toBe(200)
    const events = await down
    for (let nth = 0; nth < 3; nth += 1) {
      const event = await new Promise<Buffer>((resolve) => events.once('data', resolve))
      expect(event.toString()).toBe(`data: ${nth}\n\n`)
      answering?.write(`data: ${nth + 1}\n\n`)
    }
    cancel()
  })
})
