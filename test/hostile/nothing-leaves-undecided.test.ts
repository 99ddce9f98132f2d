import { EventEmitter, once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { MeshError } from '../../mesh/errors.js'
import { problemIn, request } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { startMesh, type TestSidecar } from '../support/start-mesh.js'

/** Holds the decisions of a ledger back. @returns what waits for the first, and what lets all of them through */
function holdDecisions({ records }: TestSidecar): { asked: Promise<unknown>; release: () => void } {
  const gate = new EventEmitter()
  const decided = records.decided.bind(records)
  const opened = once(gate, 'open')
  records.decided = (record, settle) => {
    gate.emit('asked')
    void opened.then(() => decided(record, settle))
  }
  return { asked: once(gate, 'asked'), release: () => void gate.emit('open') }
}

describe('a call that the caller’s ledger', () => {
  it('has not committed yet does not reach the callee', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const other = await mesh.start('planner')
    const held = holdDecisions(planner)
    const answer = request(`${planner.urlOf('tickets')}/tickets/held`)
    await held.asked
    // by the time that this later call is over, the held one would have arrived
    expect((await request(`${other.urlOf('tickets')}/tickets/free`)).status).toBe(200)
    expect(tickets.records.decisions.map(({ operation }) => operation)).toEqual(['GET /tickets/free'])
    held.release()
    expect((await answer).status).toBe(200)
    expect(app.seen.map(({ url }) => url)).toEqual(['/tickets/free', '/tickets/held'])
  })

  it('cannot hold is refused, and the callee never hears of it', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    planner.records.failing = new MeshError('AUDIT_UNAVAILABLE', 'the disk is full')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, problemIn(answer).code]).toEqual([503, 'AUDIT_UNAVAILABLE'])
    expect(tickets.records.decisions).toEqual([])
    expect(app.seen).toEqual([])
  })
})

describe('a body that is announced too large', () => {
  const post = { method: 'POST', body: 'x'.repeat(1001) }

  it('for the caller’s side goes no further than its own door', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner', { settings: { bodyMaxBytes: 1000 } })
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`, post)
    expect([answer.status, problemIn(answer).code]).toEqual([413, 'CALL_BODY_TOO_LARGE'])
    expect(planner.records.decisions).toEqual([])
    expect(tickets.records.decisions).toEqual([])
  })

  it('for the callee’s side is refused there, before a decision and before the app', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place, settings: { bodyMaxBytes: 1000 } })
    const planner = await mesh.start('planner')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`, post)
    expect([answer.status, problemIn(answer).code]).toEqual([413, 'CALL_BODY_TOO_LARGE'])
    expect(await tickets.records.refusal()).toMatchObject({ reason: 'CALL_BODY_TOO_LARGE' })
    expect(tickets.records.decisions).toEqual([])
    expect(app.seen).toEqual([])
  })
})
