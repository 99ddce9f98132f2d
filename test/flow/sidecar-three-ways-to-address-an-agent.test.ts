import { describe, expect, it } from 'vitest'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import { codeOf, connectPlain, problemIn, request, sendRaw } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

describe('the egress', () => {
  it('takes the path form with the credential in any of its places', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const url = `http://127.0.0.1:${planner.ports.egress}/@tickets/tickets/1`
    const { credential } = planner
    const ways: Record<string, string>[] = [
      { 'x-troth-local-credential': credential },
      { 'proxy-authorization': `Bearer ${credential}` },
      { 'proxy-authorization': `Basic ${Buffer.from(`anyone:${credential}`).toString('base64')}` },
    ]
    for (const headers of ways) expect((await request(url, { headers })).status).toBe(200)
    expect((await request(`${planner.urlOf('tickets')}/tickets/1`)).status).toBe(200)
    for (const { headers, url: target } of app.seen) {
      expect(headers['x-troth-local-credential']).toBeUndefined()
      expect(headers['proxy-authorization']).toBeUndefined()
      expect(target).toBe('/tickets/1')
      expect(JSON.stringify(headers)).not.toContain(credential)
    }
  })

  it('asks for the credential, and never takes Authorization for it', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const url = `http://127.0.0.1:${planner.ports.egress}/@tickets/tickets/1`
    for (const headers of [
      {},
      { authorization: `Bearer ${planner.credential}` },
      { 'x-troth-local-credential': `${planner.credential}x` },
      { 'x-troth-local-credential': '' },
    ]) {
      const answer = await request(url, { headers })
      expect([answer.status, problemIn(answer).code]).toEqual([407, 'LOCAL_CREDENTIAL_REQUIRED'])
      expect(answer.headers['proxy-authenticate']).toBe('Basic realm="troth"')
    }
    expect(planner.records.refusals.length).toBe(4)
    const passed = await request(url, {
      headers: { 'x-troth-local-credential': planner.credential, authorization: 'Bearer of-the-app' },
    })
    expect(passed.status).toBe(200)
    expect(app.seen[0]?.headers.authorization).toBe('Bearer of-the-app')
  })

  it('is a forward proxy for .mesh hosts, and for no other', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const { egress } = planner.ports
    const through = (host: string) =>
      request(`http://127.0.0.1:${egress}`, {
        path: `http://${host}/tickets/1?q=1`,
        headers: {
          host,
          'proxy-authorization': `Basic ${Buffer.from(`x:${planner.credential}`).toString('base64')}`,
        },
      })
    expect((await through('tickets.mesh')).status).toBe(200)
    expect((await through('tickets.mesh:80')).status).toBe(200)
    expect(app.seen[0]?.url).toBe('/tickets/1?q=1')
    for (const host of [
      'example.com',
      'tickets.mesh.example.com',
      'tickets.mesh:81',
      '127.0.0.1',
      'a.b.mesh',
    ]) {
      const answer = await through(host)
      expect([host, answer.status, problemIn(answer).code]).toEqual([host, 403, 'NOT_A_MESH_HOST'])
    }
    const connect = await sendRaw(
      await connectPlain(egress),
      'CONNECT tickets.mesh:443 HTTP/1.1\r\nHost: tickets.mesh:443\r\n\r\n',
    )
    expect(codeOf(connect)).toBe('CONNECT_REFUSED')
    expect(await planner.records.refusal(5)).toMatchObject({ reason: 'CONNECT_REFUSED' })
  })

  it('gives a callee a port of its own; an open one asks for nothing, and leads nowhere else', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const tickets = parseAgentName('tickets')
    const open = await mesh.start('planner', { to: [{ callee: tickets, port: 0, open: true }] })
    const closed = await mesh.start('planner', { to: [{ callee: tickets, port: 0, open: false }] })
    expect((await request(`http://127.0.0.1:${open.ports.to['tickets'] ?? 0}/tickets/1`)).status).toBe(200)
    const elsewhere = await request(`http://127.0.0.1:${open.ports.to['tickets'] ?? 0}`, {
      path: 'http://search.mesh/',
      headers: { host: 'search.mesh' },
    })
    expect(problemIn(elsewhere).code).toBe('NOT_A_MESH_HOST')
    // A path that looks like another callee's is a path of this one.
    await request(`http://127.0.0.1:${open.ports.to['tickets'] ?? 0}/@search/x`)
    expect(await open.records.decision(1)).toMatchObject({
      callee: { id: mesh.id('tickets') },
      operation: 'GET /@search/x',
    })
    const refused = await request(`http://127.0.0.1:${closed.ports.to['tickets'] ?? 0}/tickets/1`)
    expect(problemIn(refused).code).toBe('LOCAL_CREDENTIAL_REQUIRED')
  })

  it('without egress auth asks for nothing', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner', { egressAuth: 'none' })
    expect((await request(`http://127.0.0.1:${planner.ports.egress}/@tickets/tickets/1`)).status).toBe(200)
  })

  it('says what it wants where no agent is named', async () => {
    await using mesh = await startMesh()
    const planner = await mesh.start('planner')
    const headers = { 'x-troth-local-credential': planner.credential }
    const nowhere = await request(`http://127.0.0.1:${planner.ports.egress}/tickets`, { headers })
    expect([nowhere.status, problemIn(nowhere).code]).toEqual([404, 'NOT_FOUND'])
    const noName = await request(`http://127.0.0.1:${planner.ports.egress}/@Tickets/`, { headers })
    expect([noName.status, problemIn(noName).code]).toEqual([400, 'AGENT_NAME_INVALID'])
  })
})
