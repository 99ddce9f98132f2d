import { expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { codeOf, connectTls, problemIn, request, sendRaw } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { identityOf, startMesh } from '../support/start-mesh.js'

const settings = { feedOnStale: 'deny' } as const

it('where the operator chose so: FEED_STALE at either side, and in the ledger', async () => {
  await using app = await startApp()
  await using mesh = await startMesh()
  const tickets = await mesh.start('tickets', { app: app.place, settings })
  const planner = await mesh.start('planner', { settings })
  const url = `${planner.urlOf('tickets')}/tickets/1`
  expect((await request(url)).status).toBe(200)
  planner.world.stale = true
  const here = await request(url)
  expect([here.status, problemIn(here).code]).toEqual([503, 'FEED_STALE'])
  expect(await planner.records.decision(1)).toMatchObject({ decision: 'deny', reason: 'FEED_STALE' })
  planner.world.stale = false
  tickets.world.stale = true
  const there = await request(url)
  expect([there.status, problemIn(there).code]).toEqual([503, 'FEED_STALE'])
  expect(await tickets.records.decision(1)).toMatchObject({ decision: 'deny', reason: 'FEED_STALE' })
  expect(app.seen).toHaveLength(1)
})

it('and new connections, before a request is read', async () => {
  await using mesh = await startMesh()
  const tickets = await mesh.start('tickets', { settings })
  tickets.world.stale = true
  const leaf = await issueLeaf(mesh.hierarchy, mesh.id('planner'))
  const socket = await connectTls(tickets.ports.ingress, identityOf(leaf), {
    ca: mesh.hierarchy.rootPem,
    servername: 'tickets.mesh',
  })
  expect(codeOf(await sendRaw(socket, '', 2000))).toBe('FEED_STALE')
  expect(await tickets.records.refusal()).toMatchObject({ direction: 'ingress', reason: 'FEED_STALE' })
})

it('and only there: otherwise calls go on', async () => {
  await using app = await startApp()
  await using mesh = await startMesh()
  const tickets = await mesh.start('tickets', { app: app.place })
  const planner = await mesh.start('planner')
  tickets.world.stale = true
  planner.world.stale = true
  expect((await request(`${planner.urlOf('tickets')}/tickets/1`)).status).toBe(200)
})
