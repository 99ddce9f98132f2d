import { describe, expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { revocationsOf } from '../../mesh/revocation.js'
import { begin, problemIn, request } from '../support/raw-http.js'
import { type EventReader, readEvents, startApp, type TestApp } from '../support/sse.js'
import { startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

const openStreamApp = (): Promise<TestApp> =>
  startApp((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
  })

interface Streaming {
  readonly tickets: TestSidecar
  readonly planner: TestSidecar
  readonly events: EventReader
}

async function startStream(mesh: TestMesh, app: TestApp): Promise<Streaming> {
  const tickets = await mesh.start('tickets', { app: app.place })
  const planner = await mesh.start('planner')
  const events = readEvents(await begin(`${planner.urlOf('tickets')}/tickets/events`))
  await events.next()
  return { tickets, planner, events }
}

describe('revoking an identity', () => {
  it('cuts the stream of a caller, says why in the record, and counts it for the acknowledgement', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const { tickets, planner, events } = await startStream(mesh, app)
    const cut = tickets.world.replace({ revocations: revocationsOf([mesh.id('planner')], []) })
    expect(cut).toBe(1)
    expect(await events.over).toBe('broken')
    expect(await tickets.records.end()).toMatchObject({ outcome: 'cut', reason: 'PEER_REVOKED' })
    expect(await planner.records.end()).toMatchObject({ outcome: 'failed', reason: 'CALLEE_UNREACHABLE' })
  })

  it('cuts the stream to a callee, and refuses the next call to it', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const { planner, events } = await startStream(mesh, app)
    expect(planner.world.replace({ revocations: revocationsOf([mesh.id('tickets')], []) })).toBe(1)
    expect(await events.over).toBe('broken')
    expect(await planner.records.end()).toMatchObject({ outcome: 'cut', reason: 'PEER_REVOKED' })
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, problemIn(answer).code]).toEqual([403, 'PEER_REVOKED'])
    expect(await planner.records.decision(1)).toMatchObject({ decision: 'deny', reason: 'PEER_REVOKED' })
  })

  it('by serial cuts the connections of that certificate and of no other', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const { tickets, planner, events } = await startStream(mesh, app)
    const other = await mesh.start('planner')
    const kept = readEvents(await begin(`${other.urlOf('tickets')}/tickets/events`))
    await kept.next()
    const { issuer, serial, id, notAfter } = planner.credentials.current().svid
    const revocations = revocationsOf([], [{ issuer, serial, id, expiresAt: notAfter }])
    expect(tickets.world.replace({ revocations })).toBe(1)
    expect(await events.over).toBe('broken')
    const again = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([again.status, problemIn(again).code]).toEqual([502, 'CALLEE_REFUSED'])
    expect(problemIn(again).detail).toContain('PEER_REVOKED')
    expect(await tickets.records.refusal()).toMatchObject({ reason: 'PEER_REVOKED', peer: { serial } })
    const others = await begin(`${other.urlOf('tickets')}/tickets/events`)
    expect(others.statusCode).toBe(200)
    others.destroy()
  })

  it('stops its own sidecar: everything is cut, and every call is refused with SELF_REVOKED', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const { planner, events } = await startStream(mesh, app)
    expect(planner.world.replace({ revocations: revocationsOf([planner.id], []) })).toBe(1)
    expect(await events.over).toBe('broken')
    expect(await planner.records.end()).toMatchObject({ outcome: 'cut', reason: 'SELF_REVOKED' })
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, problemIn(answer).code]).toEqual([403, 'SELF_REVOKED'])
    const ready = await request(`http://127.0.0.1:${planner.ports.admin}/readyz`)
    expect([ready.status, JSON.parse(ready.body.toString())]).toEqual([
      503,
      { ready: false, reasons: ['SELF_REVOKED'], degraded: [] },
    ])
  })

  it('that is not the peer leaves the stream alone', async () => {
    await using app = await openStreamApp()
    await using mesh = await startMesh()
    const { tickets, events } = await startStream(mesh, app)
    expect(tickets.world.replace({ revocations: revocationsOf([mesh.id('search')], []) })).toBe(0)
    app.server.closeAllConnections()
    await events.over
    expect(await tickets.records.end()).toMatchObject({ outcome: 'failed', reason: 'APP_UNREACHABLE' })
  })
})

describe('rotating a certificate', () => {
  it('drops no call: the old stream runs on, new calls show the new certificate', async () => {
    let finish = (): void => undefined
    await using app = await startApp((incoming, response) => {
      if (incoming.url !== '/tickets/events') {
        response.end('ok')
        return
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: first\n\n')
      finish = () => void response.end('data: last\n\n')
    })
    await using mesh = await startMesh()
    const { tickets, planner, events } = await startStream(mesh, app)
    await request(`${planner.urlOf('tickets')}/tickets/1`)
    const [caller, callee] = [planner.credentials.current().svid, tickets.credentials.current().svid]
    // the caller dials as soon as it has renewed: by then the callee has
    tickets.credentials.rotate(
      await issueLeaf(mesh.hierarchy, tickets.id, { instanceId: callee.instanceId ?? '' }),
    )
    planner.credentials.rotate(
      await issueLeaf(mesh.hierarchy, planner.id, { instanceId: caller.instanceId ?? '' }),
    )
    const answer = await request(`${planner.urlOf('tickets')}/tickets/2`)
    expect(answer.status).toBe(200)
    const decided = await tickets.records.decision(2)
    expect(decided.operation).toBe('GET /tickets/2')
    expect(decided.caller.serial).toBe(planner.credentials.current().svid.serial)
    expect(decided.caller.serial).not.toBe(caller.serial)
    expect((await planner.records.decision(2)).callee.serial).toBe(tickets.credentials.current().svid.serial)
    finish()
    expect(await events.next()).toBe('last')
    expect(await events.over).toBe('ended')
  })
})
