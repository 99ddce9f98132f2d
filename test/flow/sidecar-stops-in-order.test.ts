import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ANY_RECORD, openLedgerReader } from '../../host/audit-table.js'
import type { RunningSidecar } from '../../sidecar/config.js'
import { begin, problemIn, request } from '../support/raw-http.js'
import { openSidecars, QUIET, type RealSidecars, until, urlOf } from '../support/real-sidecars.js'
import { startCa, type TestCa } from '../support/running-ca.js'
import { type EventReader, readEvents, startApp, type TestApp } from '../support/sse.js'
import { POLICY } from '../support/start-mesh.js'

const openStreamApp = (last: { send: () => void }): Promise<TestApp> =>
  startApp((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
    last.send = () => void response.end('data: last\n\n')
  })

interface Streaming {
  readonly tickets: RunningSidecar
  readonly planner: RunningSidecar
  readonly events: EventReader
}

async function startStream(ca: TestCa, sidecars: RealSidecars, app: TestApp): Promise<Streaming> {
  for (const name of ['tickets', 'planner']) await ca.admin('POST', '/v1/agents', { name })
  await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
  const tickets = await sidecars.start('tickets', {
    app: app.place,
    settings: { ...QUIET, drainMs: 60_000 },
  })
  const planner = await sidecars.start('planner')
  const stream = await until('the endpoint of tickets', async () => {
    const answer = await begin(`${urlOf(planner, 'tickets')}/tickets/events`)
    if (answer.statusCode === 200) return answer
    answer.resume()
    return undefined
  })
  const events = readEvents(stream)
  await events.next()
  return { tickets, planner, events }
}

const codeOfCall = async (planner: RunningSidecar): Promise<string> =>
  problemIn(await request(`${urlOf(planner, 'tickets')}/tickets/1`)).code

describe('a sidecar that is stopped', () => {
  it('is withdrawn from the mesh and not ready, while its last call runs to its end', async () => {
    const last = { send: (): void => undefined }
    await using app = await openStreamApp(last)
    await using ca = await startCa()
    await using sidecars = openSidecars(ca)
    const { tickets, planner, events } = await startStream(ca, sidecars, app)
    const stopped = tickets.stop()
    await until('CALLEE_OFFLINE', async () =>
      (await codeOfCall(planner)) === 'CALLEE_OFFLINE' ? true : undefined,
    )
    const ready = await request(`http://127.0.0.1:${tickets.ports.admin}/readyz`)
    expect([ready.status, JSON.parse(ready.body.toString()).reasons]).toEqual([503, ['DRAINING']])
    last.send()
    expect(await events.next()).toBe('last')
    expect(await events.over).toBe('ended')
    await stopped
  })

  it('still hears the CA: a revocation cuts the call that it waits for', async () => {
    await using app = await openStreamApp({ send: () => undefined })
    await using ca = await startCa()
    await using sidecars = openSidecars(ca)
    const { tickets, events } = await startStream(ca, sidecars, app)
    const stopped = tickets.stop()
    const reply = await ca.admin('POST', '/v1/revocations', { kind: 'agent', name: 'planner', waitMs: 5000 })
    expect(reply.json).toMatchObject({ missing: [] })
    expect(await events.over).toBe('broken')
    await stopped
    using ledger = disposable(openLedgerReader(path.join(ca.home, 'agents', 'tickets', 'ledger.db')))
    expect(ledger.calls(ANY_RECORD)).toContainEqual(
      expect.objectContaining({
        operation: 'GET /tickets/events',
        outcome: 'cut',
        reason: 'PEER_REVOKED',
      }),
    )
  })
})

const disposable = <T extends { close(): void }>(it: T): T & Disposable =>
  Object.assign(it, { [Symbol.dispose]: () => it.close() })
