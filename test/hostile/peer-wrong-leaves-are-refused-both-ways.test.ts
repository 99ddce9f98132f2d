import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { makeWrongLeaves, type WrongLeaf } from '../../certs-dev/wrong-leaves.js'
import {
  codeOf,
  connectPlain,
  connectTls,
  problemIn,
  request,
  sendRaw,
  statusOf,
} from '../support/raw-http.js'
import { startApp, type TestApp } from '../support/sse.js'
import { identityOf, startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

const GET = 'GET /tickets/1 HTTP/1.1\r\nHost: tickets.mesh\r\nConnection: close\r\n\r\n'

describe('a wrong certificate', () => {
  let mesh: TestMesh
  let app: TestApp
  let tickets: TestSidecar
  let planner: TestSidecar
  let asCaller: WrongLeaf[]
  let asCallee: WrongLeaf[]

  beforeAll(async () => {
    mesh = await startMesh()
    app = await startApp()
    tickets = await mesh.start('tickets', { app: app.place })
    planner = await mesh.start('planner')
    asCaller = await makeWrongLeaves(mesh.hierarchy, 'planner')
    asCallee = await makeWrongLeaves(mesh.hierarchy, 'tickets')
  })
  afterAll(async () => {
    await mesh[Symbol.asyncDispose]()
    await app[Symbol.asyncDispose]()
  })

  it('of every kind is refused as a caller, with its own code, readable and recorded', async () => {
    for (const { name, code, leaf } of asCaller) {
      const before = tickets.records.refusals.length
      const socket = await connectTls(tickets.ports.ingress, identityOf(leaf), {
        ca: mesh.hierarchy.rootPem,
        servername: 'tickets.mesh',
      })
      const answer = await sendRaw(socket, GET)
      expect([name, codeOf(answer)]).toEqual([name, code])
      expect(statusOf(answer)).toBeGreaterThanOrEqual(400)
      expect(answer).toContain(`troth-call: v=1; denied=${code}`)
      expect(await tickets.records.refusal(before)).toMatchObject({ direction: 'ingress', reason: code })
    }
    expect(app.seen).toEqual([])
    expect(tickets.records.decisions).toEqual([])
  })

  it('of every kind is refused as a callee, before a byte of the call is sent', async () => {
    for (const { name, code, leaf } of asCallee) {
      const before = planner.records.refusals.length
      const decided = planner.records.decisions.length
      await using impostor = await mesh.start('tickets', { app: null, show: leaf })
      const instanceId = leaf.instanceId
      mesh.change(() => ({
        endpoints: new Map([
          [
            mesh.id('tickets'),
            [{ id: mesh.id('tickets'), instanceId, host: '127.0.0.1', port: impostor.ports.ingress }],
          ],
        ]),
      }))
      const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
      const wanted = code === 'PEER_KIND_WRONG' ? 'PEER_UNEXPECTED' : code
      expect([name, problemIn(answer).code]).toEqual([name, wanted])
      expect(await planner.records.refusal(before)).toMatchObject({ direction: 'egress', reason: wanted })
      expect(await planner.records.decision(decided)).toMatchObject({ decision: 'deny', reason: wanted })
      expect(impostor.records.decisions).toEqual([])
    }
    expect(app.seen).toEqual([])
  })

  it('that is right, but of another agent, is refused as a callee', async () => {
    await using impostor = await mesh.start('search', { app: null })
    const place = { id: mesh.id('tickets'), instanceId: 'x', host: '127.0.0.1', port: impostor.ports.ingress }
    mesh.change(() => ({ endpoints: new Map([[mesh.id('tickets'), [place]]]) }))
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, problemIn(answer).code]).toEqual([403, 'PEER_UNEXPECTED'])
  })

  it('that is missing is refused with PEER_NO_CERTIFICATE', async () => {
    const before = tickets.records.refusals.length
    const socket = await connectTls(tickets.ports.ingress, null, {
      ca: mesh.hierarchy.rootPem,
      servername: 'tickets.mesh',
    })
    const answer = await sendRaw(socket, GET)
    expect([statusOf(answer), codeOf(answer)]).toEqual([401, 'PEER_NO_CERTIFICATE'])
    expect(await tickets.records.refusal(before)).toMatchObject({ reason: 'PEER_NO_CERTIFICATE' })
  })

  it('of the collector or of the CA opens no door', async () => {
    for (const path of ['collector/main', 'ca']) {
      const leaf = await issueLeaf(mesh.hierarchy, `spiffe://flow.test/${path}`)
      const socket = await connectTls(tickets.ports.ingress, identityOf(leaf), {
        ca: mesh.hierarchy.rootPem,
        servername: 'tickets.mesh',
      })
      expect(codeOf(await sendRaw(socket, GET))).toBe('PEER_KIND_WRONG')
    }
  })

  it('is not even asked for where no TLS is spoken: counted, and the door stays open', async () => {
    const before = tickets.records.refusals.length
    await sendRaw(await connectPlain(tickets.ports.ingress), GET)
    expect(await tickets.records.refusal(before)).toMatchObject({ reason: 'PEER_HANDSHAKE_FAILED' })
  })

  it('over TLS 1.2 gets no handshake', async () => {
    const before = tickets.records.refusals.length
    const right = await issueLeaf(mesh.hierarchy, mesh.id('planner'))
    await expect(
      connectTls(tickets.ports.ingress, identityOf(right), {
        ca: mesh.hierarchy.rootPem,
        servername: 'tickets.mesh',
        minVersion: 'TLSv1.2',
        maxVersion: 'TLSv1.2',
      }),
    ).rejects.toThrow(/alert protocol version|handshake/i)
    expect(await tickets.records.refusal(before)).toMatchObject({ reason: 'PEER_HANDSHAKE_FAILED' })
  })
})
