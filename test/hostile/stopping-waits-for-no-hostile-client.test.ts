import { expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { END_HEADERS, headers, PREFACE, SETTINGS_ACK, settings } from '../support/http2-raw.js'
import { connectPlain, connectTls } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { identityOf, startMesh } from '../support/start-mesh.js'

const DRAIN_MS = 300

it('a sidecar stops in its time with clients that are silent, slow, half-open, or do not read; every call has one end', async () => {
  await using app = await startApp((request, response) => {
    if (request.url === '/tickets/bulk') response.end(Buffer.alloc(300_000, 'a'))
    else response.write('data: 1\n\n')
  })
  await using mesh = await startMesh()
  const tickets = await mesh.start('tickets', { app: app.place, settings: { drainMs: DRAIN_MS } })
  const planner = await mesh.start('planner', { settings: { drainMs: DRAIN_MS } })
  const { egress } = planner.ports
  const host = `127.0.0.1:${egress}`
  const path = (rest: string): string => `/~${planner.credential}/@tickets/tickets/${rest}`
  const { ingress } = tickets.ports
  const me = identityOf(await issueLeaf(mesh.hierarchy, mesh.id('planner')))
  // no TLS, no request, half a preface, half a head
  await connectPlain(ingress)
  await connectPlain(egress)
  for (const words of ['PRI * HT', 'GET / HTTP/1.1\r\nHo'])
    (await connectPlain(egress)).write(words)
    // half an upload, and a stream that is not read, with our side over
  ;(await connectPlain(egress)).write(
    `POST ${path('up')} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 9\r\n\r\nabc`,
  )
  const deaf = (await connectPlain(egress)).pause()
  deaf.write(`GET ${path('bulk')} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  ;(await connectPlain(egress)).write(`GET ${path('events')} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  // windows of 0 at the ingress
  const shut = await connectTls(ingress, me, {
    ca: mesh.hierarchy.rootPem,
    servername: 'tickets.mesh',
    ALPNProtocols: ['h2'],
  })
  shut.on('error', () => undefined)
  shut.write(Buffer.concat([PREFACE, settings([4, 0]), SETTINGS_ACK]))
  for (const [id, method] of [
    [1, 'GET'],
    [3, 'POST'],
  ] as const)
    shut.write(
      headers(
        id,
        [
          [':method', method],
          [':scheme', 'https'],
          [':path', '/tickets/bulk'],
          [':authority', 'tickets.mesh'],
        ],
        END_HEADERS,
      ),
    )
  await tickets.records.decision(4)
  await planner.records.decision(2)
  const began = performance.now()
  await Promise.all(
    [planner, tickets].map(async ({ sidecar }) => {
      await sidecar.drain()
      await sidecar.close()
    }),
  )
  expect(performance.now() - began).toBeLessThan(DRAIN_MS + 2000)
  for (const { records } of [planner, tickets]) {
    const ids = records.decisions.map(({ callId }) => callId)
    await records.end(ids.length - 1)
    expect(records.ends.map(({ callId }) => callId).sort()).toEqual([...ids].sort())
  }
})
