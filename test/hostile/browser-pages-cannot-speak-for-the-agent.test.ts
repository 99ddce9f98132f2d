import { describe, expect, it } from 'vitest'
import { connectPlain, problemIn, request, sendRaw, statusOf } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

describe('a web page at the local door', () => {
  it('is refused by what its browser adds, in every mode, and gets no CORS header', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    for (const egressAuth of ['credential', 'none'] as const) {
      const planner = await mesh.start('planner', { egressAuth })
      for (const headers of [
        { origin: 'http://evil.example' },
        { origin: 'null' },
        { 'sec-fetch-site': 'same-origin' },
      ]) {
        for (const method of ['GET', 'POST', 'OPTIONS']) {
          const answer = await request(`${planner.urlOf('tickets')}/tickets/1`, { method, headers })
          expect([answer.status, problemIn(answer).code]).toEqual([403, 'BROWSER_REFUSED'])
          expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
        }
      }
      expect(planner.records.refusals.every(({ reason }) => reason === 'BROWSER_REFUSED')).toBe(true)
    }
    expect(app.seen).toEqual([])
  })

  it('that reaches it under another name (DNS rebinding) is refused', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const { egress } = planner.ports
    for (const host of [
      'evil.example',
      `evil.example:${egress}`,
      '127.0.0.1',
      `127.0.0.1:${egress + 1}`,
      `0.0.0.0:${egress}`,
    ]) {
      const answer = await request(`${planner.urlOf('tickets')}/tickets/1`, { headers: { host } })
      expect([host, answer.status, problemIn(answer).code]).toEqual([host, 403, 'LOCAL_HOST_INVALID'])
    }
    for (const host of [
      `127.0.0.1:${egress}`,
      `localhost:${egress}`,
      `LOCALHOST:${egress}`,
      `[::1]:${egress}`,
    ]) {
      const answer = await request(`${planner.urlOf('tickets')}/tickets/1`, { headers: { host } })
      expect([host, answer.status]).toEqual([host, 200])
    }
    const hostless = await sendRaw(
      await connectPlain(egress),
      `GET /~${planner.credential}/@tickets/tickets/1 HTTP/1.0\r\n\r\n`,
    )
    expect(statusOf(hostless)).toBe(403)
  })

  it('reads nothing at the admin door either, under whatever name it came', async () => {
    await using mesh = await startMesh()
    const { ports } = await mesh.start('planner')
    const url = `http://127.0.0.1:${ports.admin}/metrics`
    for (const headers of [
      { host: `evil.example:${ports.admin}` },
      { origin: 'http://evil.example' },
      { 'sec-fetch-site': 'cross-site' },
    ]) {
      const answer = await request(url, { headers })
      expect([answer.status, problemIn(answer).code]).toEqual([403, 'BROWSER_REFUSED'])
    }
    expect((await request(url, { headers: { host: `localhost:${ports.admin}` } })).status).toBe(200)
    expect((await request(url)).status).toBe(200)
  })
})
