import { describe, expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { manualClock } from '../support/manual-clock.js'
import { codeOf, connectTls, problemIn, request, sendRaw } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { identityOf, startMesh } from '../support/start-mesh.js'

const MINUTE = 60_000
const GET = 'GET /tickets/1 HTTP/1.1\r\nHost: tickets.mesh\r\nConnection: close\r\n\r\n'

/** By the clock of the sidecar under test the leaf still lives: the judge alone would take it. By TLS's own it is dead. */
describe('a leaf that only TLS refuses', () => {
  it('is refused as a caller', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const { madeAt } = mesh.hierarchy
    const tickets = await mesh.start('tickets', { app: app.place, clock: manualClock(madeAt - 2 * MINUTE) })
    const leaf = await issueLeaf(mesh.hierarchy, mesh.id('planner'), { notAfter: madeAt - MINUTE })
    const socket = await connectTls(tickets.ports.ingress, identityOf(leaf), {
      ca: mesh.hierarchy.rootPem,
      servername: 'tickets.mesh',
    })
    expect(codeOf(await sendRaw(socket, GET, 1000))).toBe('PEER_CHAIN_UNTRUSTED')
    expect(tickets.records.decisions).toEqual([])
    expect(app.seen).toEqual([])
  })

  it('is refused as a callee', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const { madeAt } = mesh.hierarchy
    const show = await issueLeaf(mesh.hierarchy, mesh.id('tickets'), { notAfter: madeAt - MINUTE })
    await mesh.start('tickets', { app: app.place, show, clock: manualClock(madeAt - 2 * MINUTE) })
    const planner = await mesh.start('planner', { clock: manualClock(madeAt - 2 * MINUTE) })
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect(problemIn(answer).code).toBe('PEER_CHAIN_UNTRUSTED')
    expect(await planner.records.decision()).toMatchObject({
      decision: 'deny',
      reason: 'PEER_CHAIN_UNTRUSTED',
    })
    expect(app.seen).toEqual([])
  })
})
