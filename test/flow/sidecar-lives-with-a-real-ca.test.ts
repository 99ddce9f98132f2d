import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { begin, problemIn, request } from '../support/raw-http.js'
import { openSidecars, until, urlOf } from '../support/real-sidecars.js'
import { startCa } from '../support/running-ca.js'
import { readEvents, startApp } from '../support/sse.js'
import { POLICY } from '../support/start-mesh.js'

describe('a sidecar with a real CA', () => {
  it('enrols, finds its callee over the feed, calls, and is cut when it is revoked', async () => {
    await using app = await startApp((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: first\n\n')
    })
    await using ca = await startCa()
    await using sidecars = openSidecars(ca)
    for (const name of ['tickets', 'planner']) await ca.admin('POST', '/v1/agents', { name })
    const pushed = await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    expect(pushed.status).toBeLessThan(300)
    const tickets = await sidecars.start('tickets', { app: app.place })
    const planner = await sidecars.start('planner')
    expect(planner.id).toBe('spiffe://acme.internal/agent/planner')
    expect(readFileSync(tickets.ingressSecretFile, 'utf8').trim().length).toBe(43)

    const stream = await until('the endpoint of tickets', async () => {
      const answer = await begin(`${urlOf(planner, 'tickets')}/tickets/events`)
      if (answer.statusCode === 200) return answer
      answer.resume()
      return undefined
    })
    const events = readEvents(stream)
    expect(await events.next()).toBe('first')
    const ready = await request(`http://127.0.0.1:${planner.ports.admin}/readyz`)
    expect(ready.status).toBe(200)

    const revoked = await ca.admin('POST', '/v1/revocations', {
      kind: 'agent',
      name: 'planner',
      waitMs: 5000,
    })
    expect(revoked.json).toMatchObject({ missing: [] })
    expect(await events.over).toBe('broken')
    const refused = await until('SELF_REVOKED', async () => {
      const answer = await request(`${urlOf(planner, 'tickets')}/tickets/1`)
      return problemIn(answer).code === 'SELF_REVOKED' ? answer : undefined
    })
    expect(refused.status).toBe(403)
  })

  it('keeps its ports and identity over a restart, and makes a new local credential', async () => {
    await using ca = await startCa()
    await using sidecars = openSidecars(ca)
    await ca.admin('POST', '/v1/agents', { name: 'planner' })
    const first = await sidecars.start('planner')
    const { ports, localCredential } = first
    await first.stop()
    const second = await sidecars.start('planner', { enrolBy: null })
    expect(second.ports).toEqual(ports)
    expect(second.localCredential).not.toBe(localCredential)
    const file = path.join(ca.home, 'agents', 'planner', 'local-credential')
    expect(readFileSync(file, 'utf8').trim()).toBe(second.localCredential)
  })

  it('that finds its port taken fails with PORT_BUSY, names the flag, and gives its state back', async () => {
    await using app = await startApp()
    await using ca = await startCa()
    await using sidecars = openSidecars(ca)
    await ca.admin('POST', '/v1/agents', { name: 'planner' })
    await expect(sidecars.start('planner', { egressPort: app.port })).rejects.toMatchObject({
      code: 'PORT_BUSY',
      hint: expect.stringContaining('--egress-port'),
    })
    const again = await sidecars.start('planner')
    expect(again.ports.egress).not.toBe(app.port)
  })
})
