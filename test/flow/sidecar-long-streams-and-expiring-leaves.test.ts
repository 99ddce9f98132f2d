import { describe, expect, it } from 'vitest'
import { manualClock } from '../support/manual-clock.js'
import { begin, problemIn, request } from '../support/raw-http.js'
import { readEvents, startApp, type TestApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

const HOUR = 3_600_000

const openStreamApp = (): Promise<TestApp> =>
  startApp((incoming, response) => {
    if (incoming.url !== '/tickets/events') {
      response.end('ok')
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
  })

describe('a stream that outlives the leaf of its peer', () => {
  it('is cut with PEER_EXPIRED when nothing newer was shown', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const clock = manualClock()
    const tickets = await mesh.start('tickets', { app: app.place, clock })
    const planner = await mesh.start('planner', { leaf: { notAfter: clock.now() + HOUR } })
    const events = readEvents(await begin(`${planner.urlOf('tickets')}/tickets/events`))
    await events.next()
    clock.advance(HOUR)
    expect(tickets.records.ends).toEqual([])
    clock.advance(2)
    expect(await events.over).toBe('broken')
    expect(await tickets.records.end()).toMatchObject({ outcome: 'cut', reason: 'PEER_EXPIRED' })
  })

  it('of another instance of the same agent is no help', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const clock = manualClock()
    const tickets = await mesh.start('tickets', { app: app.place, clock })
    const planner = await mesh.start('planner', { leaf: { notAfter: clock.now() + HOUR } })
    const other = await mesh.start('planner')
    const events = readEvents(await begin(`${planner.urlOf('tickets')}/tickets/events`))
    await events.next()
    await request(`${other.urlOf('tickets')}/tickets/1`)
    clock.advance(HOUR + 2)
    expect(await events.over).toBe('broken')
    expect(await tickets.records.end(1)).toMatchObject({ reason: 'PEER_EXPIRED' })
  })

  it('ends with its own expiry for new calls: SELF_EXPIRED', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const clock = manualClock()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner', { clock, leaf: { notAfter: clock.now() + HOUR } })
    clock.advance(HOUR + 2)
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, problemIn(answer).code]).toEqual([503, 'SELF_EXPIRED'])
  })
})
