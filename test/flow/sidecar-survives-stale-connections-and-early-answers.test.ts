import { describe, expect, it } from 'vitest'
import { problemIn, request } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

describe('a kept connection that turns out dead', () => {
  it('is replaced for a request without a body that may be sent twice', async () => {
    let isDeaf = false
    await using app = await startApp((incoming, response) => {
      if (!isDeaf) {
        response.end('ok')
        return
      }
      isDeaf = false
      incoming.socket.destroy()
    })
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const url = `${planner.urlOf('tickets')}/tickets/1`
    expect((await request(url)).status).toBe(200)
    isDeaf = true
    expect((await request(url)).status).toBe(200)
    expect(app.seen.length).toBe(3)
    expect(tickets.records.decisions.length).toBe(2)
    expect(await tickets.records.end(1)).toMatchObject({ outcome: 'completed' })
  })

  it('fails the call when it is a POST, which is never sent twice', async () => {
    let isDeaf = false
    await using app = await startApp((incoming, response) => {
      if (isDeaf) incoming.socket.destroy()
      else response.end('ok')
    })
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const url = `${planner.urlOf('tickets')}/tickets/1`
    expect((await request(url)).status).toBe(200)
    isDeaf = true
    const answer = await request(url, { method: 'POST', body: 'x' })
    expect([answer.status, problemIn(answer).code]).toEqual([502, 'APP_UNREACHABLE'])
    expect(app.seen.length).toBe(2)
  })

  it('is not used when the callee restarts: the next call finds it again', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const first = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const url = `${planner.urlOf('tickets')}/tickets/1`
    expect((await request(url)).status).toBe(200)
    await first.sidecar.close()
    await mesh.start('tickets', { app: app.place })
    expect((await request(url)).status).toBe(200)
  })
})

describe('an answer that comes before the request is whole', () => {
  it('reaches the caller of a large upload: a denial', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    for (let nth = 0; nth < 3; nth += 1) {
      const answer = await request(`${planner.urlOf('tickets')}/other`, {
        method: 'POST',
        body: Buffer.alloc(8 * 1024 * 1024),
      })
      expect([answer.status, problemIn(answer).code]).toEqual([403, 'POLICY_NO_OPERATION'])
    }
    expect(app.seen).toEqual([])
  })

  it('reaches the caller of a large upload: an app that has heard enough', async () => {
    await using app = await startApp((_incoming, response) => {
      response.writeHead(422)
      response.end('enough')
    })
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`, {
      method: 'POST',
      body: Buffer.alloc(8 * 1024 * 1024),
    })
    expect([answer.status, answer.body.toString()]).toEqual([422, 'enough'])
  })
})
