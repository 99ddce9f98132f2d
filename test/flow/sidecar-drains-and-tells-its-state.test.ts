import { describe, expect, it } from 'vitest'
import { openHealthDoor } from '../../host/health-door.js'
import { openMetrics } from '../../host/metrics.js'
import { MeshError } from '../../mesh/errors.js'
import { begin, problemIn, request } from '../support/raw-http.js'
import { readEvents, startApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

describe('a sidecar that shuts down', () => {
  it('lets the running call end, and refuses new ones meanwhile', async () => {
    let finish = (): void => undefined
    await using app = await startApp((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: first\n\n')
      finish = () => void response.end('data: last\n\n')
    })
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place, settings: { drainMs: 60_000 } })
    const planner = await mesh.start('planner')
    const events = readEvents(await begin(`${planner.urlOf('tickets')}/tickets/events`))
    await events.next()
    const drained = tickets.sidecar.drain()
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect(answer.status).toBeGreaterThanOrEqual(500)
    expect(JSON.stringify(problemIn(answer))).toContain('DRAINING')
    const ready = await request(`http://127.0.0.1:${tickets.ports.admin}/readyz`)
    expect([ready.status, JSON.parse(ready.body.toString()).reasons]).toEqual([503, ['DRAINING']])
    finish()
    expect(await events.next()).toBe('last')
    expect(await events.over).toBe('ended')
    await drained
  })

  it('cuts what does not end in time, and the record says so', async () => {
    await using app = await startApp((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: first\n\n')
    })
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place, settings: { drainMs: 20 } })
    const planner = await mesh.start('planner')
    const events = readEvents(await begin(`${planner.urlOf('tickets')}/tickets/events`))
    await events.next()
    await tickets.sidecar.drain()
    await tickets.sidecar.close()
    expect(await events.over).toBe('broken')
    expect(await tickets.records.end()).toMatchObject({ outcome: 'cut', reason: 'DRAINING' })
  })
})

describe('the admin door', () => {
  it('answers health, readiness and metrics to GET, and to nothing else', async () => {
    await using mesh = await startMesh()
    const planner = await mesh.start('planner')
    const admin = `http://127.0.0.1:${planner.ports.admin}`
    expect((await request(`${admin}/healthz`)).status).toBe(200)
    expect((await request(`${admin}/readyz`)).status).toBe(200)
    await request(`${planner.urlOf('nobody')}/x`)
    const { body } = await request(`${admin}/metrics`)
    for (const line of [
      'troth_calls_total{direction="egress",decision="deny",outcome="failed"} 1',
      'troth_connections{direction="ingress"} 0',
      'troth_feed_stale 0',
      'troth_self_revoked 0',
      'troth_calls_running 0',
    ])
      expect(body.toString()).toContain(`${line}\n`)
    expect(body.toString()).toMatch(/troth_svid_not_after_seconds \d{10}/)
    const post = await request(`${admin}/readyz`, { method: 'POST' })
    expect([post.status, problemIn(post).code]).toEqual([405, 'METHOD_NOT_ALLOWED'])
    expect((await request(`${admin}/stop`)).status).toBe(404)
  })

  it('is not ready while the ledger cannot be written', async () => {
    await using mesh = await startMesh()
    const planner = await mesh.start('planner')
    planner.records.failing = new MeshError('AUDIT_UNAVAILABLE', 'the disk is full')
    const ready = await request(`http://127.0.0.1:${planner.ports.admin}/readyz`)
    expect([ready.status, JSON.parse(ready.body.toString()).reasons]).toEqual([503, ['AUDIT_UNAVAILABLE']])
  })

  it('that finds its port taken says which flag to use, and leaves nothing open', async () => {
    await using mesh = await startMesh()
    const planner = await mesh.start('planner')
    const again = openHealthDoor({
      port: planner.ports.admin,
      metrics: openMetrics(),
      log: planner.log,
      unready: () => [],
      degraded: () => [],
    })
    await expect(again).rejects.toMatchObject({
      code: 'PORT_BUSY',
      hint: expect.stringContaining('--admin-port'),
    })
  })
})
