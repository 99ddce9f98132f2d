import https from 'node:https'
import { describe, expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import type { KeyKind } from '../../certs-dev/make-certificate.js'
import { CallIds } from '../../sidecar/call/call-id.js'
import { type Answer, codeOf, connectTls, problemIn, sendRaw, whole } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { identityOf, startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

async function openClient(
  mesh: TestMesh,
  callee: TestSidecar,
  { name, keyKind = 'P-256' }: { name: string; keyKind?: KeyKind },
) {
  const { keyPem, chainPem } = identityOf(await issueLeaf(mesh.hierarchy, mesh.id(name), { keyKind }))
  const agent = new https.Agent({
    keepAlive: true,
    key: keyPem,
    cert: chainPem,
    ca: mesh.hierarchy.rootPem,
    servername: 'tickets.mesh',
  })
  return {
    agent,
    get: (path: string, headers: Record<string, string> = {}): Promise<Answer> =>
      new Promise((resolve, reject) => {
        https
          .get(
            { host: '127.0.0.1', port: callee.ports.ingress, path, agent, headers },
            (message) => void whole(message).then(resolve, reject),
          )
          .on('error', reject)
      }),
    [Symbol.dispose]: () => agent.destroy(),
  }
}

describe('a client with a certificate and no sidecar', () => {
  it('is served under its proven name, and recorded as foreign', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    using client = await openClient(mesh, tickets, { name: 'planner' })
    const answer = await client.get('/tickets/1', { host: 'whatever.example:1' })
    expect(answer.status).toBe(200)
    expect(app.seen[0]?.headers['x-troth-caller']).toBe('spiffe://flow.test/agent/planner')
    expect(app.seen[0]?.headers.host).toBe(`127.0.0.1:${app.port}`)
    expect(app.seen[0]?.headers['x-forwarded-host']).toBe('tickets.mesh')
    expect(await tickets.records.decision()).toMatchObject({ callerKind: 'foreign', decision: 'permit' })
  })

  it.each(['RSA', 'Ed25519', 'P-384'] as const)('is served with a key of kind %s', async (keyKind) => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    using client = await openClient(mesh, tickets, { name: 'planner', keyKind })
    expect((await client.get('/tickets/1')).status).toBe(200)
    expect(app.seen[0]?.headers['x-troth-caller']).toBe('spiffe://flow.test/agent/planner')
  })

  it('is denied what the policy does not grant', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    using client = await openClient(mesh, tickets, { name: 'stranger' })
    const answer = await client.get('/tickets/1')
    expect([answer.status, problemIn(answer).code]).toEqual([403, 'POLICY_SCOPE_MISSING'])
  })

  it('may use a call id once', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    using client = await openClient(mesh, tickets, { name: 'planner' })
    const claim = { 'troth-call': `v=1; id=${new CallIds().next(Date.now())}; sent=1` }
    expect((await client.get('/tickets/1', claim)).status).toBe(200)
    const again = await client.get('/tickets/1', claim)
    expect([again.status, problemIn(again).code]).toEqual([400, 'CALL_ID_INVALID'])
    const malformed = await client.get('/tickets/1', { 'troth-call': 'v=1; id=1; sent=1' })
    expect([malformed.status, problemIn(malformed).code]).toEqual([400, 'CALL_ID_INVALID'])
    expect(app.seen.length).toBe(1)
  })

  it('never resumes a TLS session', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const identity = identityOf(await issueLeaf(mesh.hierarchy, mesh.id('planner')))
    const options = { ca: mesh.hierarchy.rootPem, servername: 'tickets.mesh' }
    const first = await connectTls(tickets.ports.ingress, identity, options)
    const session = first.getSession()
    first.destroy()
    const second = await connectTls(tickets.ports.ingress, identity, {
      ...options,
      ...(session && { session }),
    })
    expect(second.isSessionReused()).toBe(false)
    second.destroy()
  })

  it('that is stale by the callee’s choice is refused at the handshake', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place, settings: { feedOnStale: 'deny' } })
    const identity = identityOf(await issueLeaf(mesh.hierarchy, mesh.id('planner')))
    tickets.world.stale = true
    const socket = await connectTls(tickets.ports.ingress, identity, {
      ca: mesh.hierarchy.rootPem,
      servername: 'tickets.mesh',
    })
    expect(codeOf(await sendRaw(socket, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'))).toBe('FEED_STALE')
  })
})
