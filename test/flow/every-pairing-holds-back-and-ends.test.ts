import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  type Answering,
  type Asked,
  type ClientCall,
  PAIRINGS,
  signal,
  startPair,
  wholeOf,
} from '../support/either-version.js'

const MEGABYTE = 1024 * 1024
/** More than all sockets on the way hold. */
const LARGE = 32
const POST = { method: 'POST' }

/** Writes megabytes as fast as they are taken. */
function fill(stream: Answering | ClientCall['up']): {
  readonly written: number
  readonly all: Promise<void>
} {
  let written = 0
  const { came, give } = signal()
  const more = (): void => {
    while (written < LARGE) {
      written += 1
      if (!stream.write(Buffer.alloc(MEGABYTE))) {
        stream.once('drain', more)
        return
      }
    }
    give()
  }
  more()
  return {
    get written() {
      return written
    },
    all: came,
  }
}

describe.each(PAIRINGS)('a client of %s and an app of %s', (...versions) => {
  it('who does not read holds the other back, in both directions', async () => {
    let asked: Asked | undefined
    let answered: ReturnType<typeof fill> | undefined
    await using pair = await startPair(versions, (each, answering) => {
      asked = each
      answering.writeHead(200)
      answered = fill(answering)
      const isRead = new Promise((resolve) => each.once('end', resolve))
      void Promise.all([answered.all, isRead]).then(() => answering.end())
    })
    const { up, down } = pair.ask('/tickets/1', POST)
    const sent = fill(up)
    void sent.all.then(() => up.end())
    const answer = await down
    let last = -1
    const moved = (): number => sent.written + (answered?.written ?? 0)
    for (let rounds = 0; rounds < 200 && last !== moved(); rounds += 1) {
      last = moved()
      for (let turn = 0; turn < 200; turn += 1) await setImmediate()
    }
    expect(sent.written).toBeLessThan(LARGE)
    expect(answered?.written).toBeLessThan(LARGE)
    asked?.resume()
    expect((await wholeOf(Promise.resolve(answer))).length).toBe(LARGE * MEGABYTE)
    const whole = { outcome: 'completed', bytesIn: LARGE * MEGABYTE, bytesOut: LARGE * MEGABYTE }
    for (const { records } of [pair.planner, pair.tickets]) expect(await records.end()).toMatchObject(whole)
  })

  it('a client that is gone is gone for the app at once, whether it was answered or not', async () => {
    const isThere = signal()
    const ends: Promise<unknown>[] = []
    await using pair = await startPair(versions, (asked, answering) => {
      ends.push(new Promise((resolve) => answering.once('close', resolve)))
      if (asked.url === '/tickets/silent') isThere.give()
      else {
        answering.writeHead(200)
        answering.write('first')
      }
    })
    const answered = pair.ask('/tickets/1')
    answered.up.on('error', () => undefined).end()
    await answered.head
    answered.cancel()
    await ends[0]
    const silent = pair.ask('/tickets/silent', POST)
    silent.up.on('error', () => undefined).write('half')
    await isThere.came
    silent.cancel()
    await ends[1]
    await expect(silent.head).rejects.toThrow()
    for (const { records } of [pair.planner, pair.tickets])
      for (const [nth, bytesIn] of [0, 4].entries())
        expect(await records.end(nth)).toMatchObject({ outcome: 'aborted', bytesIn })
  })

  it('an app that breaks off breaks the answer; one that says nothing is a problem', async () => {
    const isRead = signal()
    await using pair = await startPair(versions, (asked, answering) => {
      const end = (): unknown => answering.destroy(new Error('gone'))
      if (asked.url === '/tickets/silent') end()
      else {
        answering.writeHead(200)
        answering.write('half')
        void isRead.came.then(end)
      }
    })
    const broken = pair.ask('/tickets/1')
    broken.up.on('error', () => undefined).end()
    const down = await broken.down
    down.once('data', isRead.give)
    await expect(wholeOf(broken.down)).rejects.toThrow()
    const silent = pair.ask('/tickets/silent')
    silent.up.end()
    expect((await silent.head).status).toBe(502)
    expect(JSON.parse((await wholeOf(silent.down)).toString())).toMatchObject({ code: 'APP_UNREACHABLE' })
    expect(await pair.tickets.records.end()).toMatchObject({ outcome: 'failed', reason: 'APP_UNREACHABLE' })
  })

  it('each phase has its time: the upload, the head, the body of a length; a stream may be silent', async () => {
    const settings = { headTimeoutMs: 100, idleTimeoutMs: 100 }
    const answer = (asked: Asked, answering: Answering): void => {
      if (asked.url === '/tickets/mute') return
      answering.writeHead(200, asked.url === '/tickets/stops' ? { 'content-length': '10' } : {})
      answering.write('half')
      if (asked.url === '/tickets/stream') setTimeout(() => answering.end('rest'), 250)
    }
    await using pair = await startPair(versions, answer, settings)
    const upload = pair.ask('/tickets/mute', POST)
    upload.up.on('error', () => undefined).write('half')
    const mute = pair.ask('/tickets/mute')
    mute.up.end()
    const stops = pair.ask('/tickets/stops')
    stops.up.end()
    const stream = pair.ask('/tickets/stream')
    stream.up.end()
    expect([(await upload.head).status, (await mute.head).status]).toEqual([408, 504])
    await expect(wholeOf(stops.down)).rejects.toThrow()
    expect((await wholeOf(stream.down)).toString()).toBe('halfrest')
  })
})
