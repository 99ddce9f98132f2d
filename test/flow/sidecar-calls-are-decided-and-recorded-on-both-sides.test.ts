import { describe, expect, it } from 'vitest'
import { problemIn, request } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

describe('a call through two sidecars', () => {
  it('reaches the app with the proven identity of the caller, and stands in both ledgers', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')

    const answer = await request(`${planner.urlOf('tickets')}/tickets/42?full=1`)

    expect([answer.status, answer.body.toString()]).toEqual([200, 'ok'])
    expect(answer.headers['troth-call']).toBeUndefined()
    expect(app.seen[0]?.url).toBe('/tickets/42?full=1')
    const { headers } = app.seen[0]!
    expect(headers['x-troth-caller']).toBe(planner.id)
    expect(headers['x-troth-scopes']).toBe('tickets:read')
    expect(headers['x-troth-ingress']).toBe(tickets.ingressSecret)
    const { svid } = planner.credentials.current()
    expect(headers['x-forwarded-client-cert']).toBe(
      `By=${tickets.id};Hash=${svid.fingerprint};Subject="serialNumber=${svid.instanceId ?? ''},CN=planner";URI=${planner.id}`,
    )
    expect(headers['traceparent']).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    expect(headers['troth-call']).toBeUndefined()
    expect(headers['x-troth-local-credential']).toBeUndefined()

    const [atEgress, atIngress] = [await planner.records.decision(), await tickets.records.decision()]
    expect(atEgress).toMatchObject({ direction: 'egress', decision: 'permit', operation: 'GET /tickets/42' })
    expect(atIngress).toMatchObject({ direction: 'ingress', decision: 'permit', scope: 'tickets:read' })
    expect(atIngress.callId).toBe(atEgress.callId)
    expect(headers['x-troth-call-id']).toBe(atEgress.callId)
    expect(answer.headers['x-troth-call-id']).toBe(atEgress.callId)
    expect(atIngress.caller).toEqual(atEgress.caller)
    expect(atIngress.callee).toEqual(atEgress.callee)
    expect(atIngress.callerKind).toBe('agent')
    expect(await planner.records.end()).toMatchObject({
      outcome: 'completed',
      reason: 'OK',
      status: 200,
      bytesOut: 2,
    })
    expect(await tickets.records.end()).toMatchObject({
      outcome: 'completed',
      reason: 'OK',
      status: 200,
      bytesOut: 2,
    })
  })

  it('is denied for a missing scope by the callee, with what would allow it, and both sides say so', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')

    const answer = await request(`${planner.urlOf('tickets')}/tickets/42`, { method: 'DELETE' })

    const problem = problemIn(answer)
    expect(answer.status).toBe(403)
    expect(answer.headers['content-type']).toBe('application/problem+json')
    expect(problem).toMatchObject({ code: 'POLICY_SCOPE_MISSING', missing: 'tickets:write' })
    expect(problem.policy).toContain('tickets:write')
    expect(app.seen).toEqual([])
    const atIngress = await tickets.records.decision()
    expect(atIngress).toMatchObject({
      decision: 'deny',
      reason: 'POLICY_SCOPE_MISSING',
      scope: 'tickets:write',
    })
    expect(problem.callId).toBe(atIngress.callId)
    expect(await planner.records.decision()).toMatchObject({ decision: 'permit', callId: atIngress.callId })
    expect(await planner.records.end()).toMatchObject({
      outcome: 'failed',
      reason: 'POLICY_SCOPE_MISSING',
      status: 403,
    })
    expect(await tickets.records.end()).toMatchObject({
      outcome: 'failed',
      reason: 'POLICY_SCOPE_MISSING',
      status: 403,
    })
  })

  it('to an unknown callee is denied here, and the denial is in the ledger', async () => {
    await using mesh = await startMesh()
    const planner = await mesh.start('planner')
    const answer = await request(`${planner.urlOf('nobody')}/x`)
    expect([answer.status, problemIn(answer).code]).toEqual([404, 'CALLEE_UNKNOWN'])
    expect(await planner.records.decision()).toMatchObject({
      decision: 'deny',
      reason: 'CALLEE_UNKNOWN',
      callee: { id: 'spiffe://flow.test/agent/nobody' },
    })
    expect(await planner.records.end()).toMatchObject({ outcome: 'failed', status: 404 })
  })

  it('to a callee whose sidecar is not running says that it is offline', async () => {
    await using mesh = await startMesh()
    const planner = await mesh.start('planner')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, problemIn(answer).code]).toEqual([503, 'CALLEE_OFFLINE'])
  })

  it('to a callee whose sidecar is gone fails cleanly', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    await tickets.sidecar.close()
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, problemIn(answer).code]).toEqual([502, 'CALLEE_UNREACHABLE'])
    expect(await planner.records.end()).toMatchObject({ outcome: 'failed', reason: 'CALLEE_UNREACHABLE' })
  })

  it('to an app that is not there fails cleanly, and both sides say so', async () => {
    await using mesh = await startMesh()
    const app = await startApp()
    await app[Symbol.asyncDispose]()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, problemIn(answer).code]).toEqual([502, 'APP_UNREACHABLE'])
    expect(await planner.records.end()).toMatchObject({ reason: 'APP_UNREACHABLE', status: 502 })
    expect(await tickets.records.end()).toMatchObject({ outcome: 'failed', reason: 'APP_UNREACHABLE' })
  })

  it('to an agent that only calls is told so, and both sides record it', async () => {
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets')
    const planner = await mesh.start('planner')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, problemIn(answer).code]).toEqual([501, 'APP_MISSING'])
    expect(await tickets.records.end()).toMatchObject({ outcome: 'failed', reason: 'APP_MISSING' })
  })

  it('is refused when the ledger cannot be written, and the app never hears of it', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const { MeshError } = await import('../../mesh/errors.js')
    tickets.records.failing = new MeshError('AUDIT_UNAVAILABLE', 'the disk is full')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, problemIn(answer).code]).toEqual([503, 'AUDIT_UNAVAILABLE'])
    expect(app.seen).toEqual([])
  })

  it('keeps the connection for the next call', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    for (let nth = 0; nth < 5; nth += 1) await request(`${planner.urlOf('tickets')}/tickets/${nth}`)
    expect(tickets.metrics.text()).toContain('troth_connections{direction="ingress"} 1\n')
    expect(tickets.metrics.text()).toContain(
      'troth_calls_total{direction="ingress",decision="permit",outcome="completed"} 5',
    )
  })
})
