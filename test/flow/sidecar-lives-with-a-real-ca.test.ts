import { readFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { parseConfig } from '../../host/config.js'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import type { RunningSidecar, SidecarConfig } from '../../sidecar/config.js'
import { startSidecar } from '../../sidecar/main.js'
import { begin, problemIn, request } from '../support/raw-http.js'
import { startCa, type TestCa } from '../support/running-ca.js'
import { readEvents, startApp } from '../support/sse.js'
import { POLICY } from '../support/start-mesh.js'

/** Polls what a feed brings about, with a deadline. */
async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + 8000
  while (performance.now() < deadline) {
    const found = await look()
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`never: ${what}`)
}

describe('a sidecar with a real CA', () => {
  const running: RunningSidecar[] = []
  afterEach(async () => {
    for (const sidecar of running.splice(0)) await sidecar.stop()
  })

  const start = async (
    ca: TestCa,
    name: string,
    chosen: Partial<SidecarConfig> = {},
  ): Promise<RunningSidecar> => {
    const sidecar = await startSidecar({
      home: ca.home,
      agent: parseAgentName(name),
      instance: null,
      app: null,
      enrolBy: { adminSocket: ca.running.adminSocket },
      listen: '127.0.0.1',
      advertise: null,
      egressPort: null,
      ingressPort: null,
      adminPort: null,
      egressAuth: 'credential',
      to: [],
      dev: true,
      settings: { ...parseConfig('', 'config.yaml'), drainMs: 500, logLevel: 'error' },
      ...chosen,
    })
    running.push(sidecar)
    return sidecar
  }
  const urlOf = (sidecar: RunningSidecar, callee: string): string =>
    `http://127.0.0.1:${sidecar.ports.egress}/~${sidecar.localCredential}/@${callee}`

  it('enrols, finds its callee over the feed, calls, and is cut when it is revoked', async () => {
    await using app = await startApp((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: first\n\n')
    })
    await using ca = await startCa()
    for (const name of ['tickets', 'planner']) await ca.admin('POST', '/v1/agents', { name })
    const pushed = await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    expect(pushed.status).toBeLessThan(300)
    const tickets = await start(ca, 'tickets', { app: app.place })
    const planner = await start(ca, 'planner')
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
    await ca.admin('POST', '/v1/agents', { name: 'planner' })
    const first = await start(ca, 'planner')
    const { ports, localCredential } = first
    await first.stop()
    running.splice(0)
    const second = await start(ca, 'planner', { enrolBy: null })
    expect(second.ports).toEqual(ports)
    expect(second.localCredential).not.toBe(localCredential)
    const file = path.join(ca.home, 'agents', 'planner', 'local-credential')
    expect(readFileSync(file, 'utf8').trim()).toBe(second.localCredential)
  })

  it('that finds its port taken fails with PORT_BUSY, names the flag, and gives its state back', async () => {
    await using app = await startApp()
    await using ca = await startCa()
    await ca.admin('POST', '/v1/agents', { name: 'planner' })
    await expect(start(ca, 'planner', { egressPort: app.port })).rejects.toMatchObject({
      code: 'PORT_BUSY',
      hint: expect.stringContaining('--egress-port'),
    })
    const again = await start(ca, 'planner')
    expect(again.ports.egress).not.toBe(app.port)
  })
})
