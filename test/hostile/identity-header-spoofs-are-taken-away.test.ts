import https from 'node:https'
import { describe, expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { type Answer, begin, request, whole } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { identityOf, startMesh } from '../support/start-mesh.js'

const SPOOFED = [
  'x-troth-caller',
  'X-Troth-Caller',
  'x_troth_caller',
  'X-Troth_Caller',
  'x-troth-scopes',
  'x_troth_scopes',
  'x-troth-call-id',
  'x-troth-ingress',
  'x_troth_ingress',
  'x-troth-anything',
  'x-forwarded-client-cert',
  'x_forwarded_client_cert',
  'client-cert',
  'Client_Cert_Chain',
]
const LIE = 'spiffe://flow.test/agent/root'

const spoofs = (): Record<string, string> => Object.fromEntries(SPOOFED.map((name) => [name, LIE]))

describe('identity headers from outside', () => {
  it('of a local process never pass the egress', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`, {
      headers: { ...spoofs(), 'x-own': 'kept' },
    })
    expect(answer.status).toBe(200)
    expect(app.seen[0]?.rawHeaders).not.toContain(LIE)
    expect(app.seen[0]?.headers['x-troth-caller']).toBe(planner.id)
    expect(app.seen[0]?.headers['x-own']).toBe('kept')
  })

  it('of a foreign client never pass the ingress, nor do claims about other hops', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const { keyPem, chainPem } = identityOf(await issueLeaf(mesh.hierarchy, mesh.id('planner')))
    const answer = await new Promise<Answer>((resolve, reject) => {
      https
        .get(
          {
            host: '127.0.0.1',
            port: tickets.ports.ingress,
            path: '/tickets/1',
            agent: false,
            key: keyPem,
            cert: chainPem,
            ca: mesh.hierarchy.rootPem,
            servername: 'tickets.mesh',
            headers: { ...spoofs(), forwarded: `for=${LIE}`, 'x-forwarded-for': LIE, x_real_ip: LIE },
          },
          (message) => void whole(message).then(resolve, reject),
        )
        .on('error', reject)
    })
    expect(answer.status).toBe(200)
    const { rawHeaders, headers } = app.seen[0]!
    expect(rawHeaders.filter((value) => value.includes(LIE))).toEqual([])
    expect(rawHeaders.filter((name) => name.toLowerCase() === 'x-troth-caller').length).toBe(1)
    expect(headers['x-troth-caller']).toBe('spiffe://flow.test/agent/planner')
  })

  it('of an app never reach the caller, and hop-by-hop fields stay at their hop', async () => {
    await using app = await startApp((_request, response) => {
      response.writeHead(200, {
        'x-troth-caller': LIE,
        'troth-call': 'v=1; denied=PEER_REVOKED',
        'proxy-authenticate': 'Basic',
        connection: 'keep-alive, x-hop',
        'x-hop': '1',
        'set-cookie': ['a=1', 'b=2'],
      })
      response.end('ok')
    })
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`, {
      headers: {
        te: 'trailers',
        'keep-alive': 'timeout=5',
        connection: 'x-mine',
        'x-mine': '1',
        via: '1.1 first',
      },
    })
    expect(answer.status).toBe(200)
    expect(answer.headers['x-troth-caller']).toBeUndefined()
    expect(answer.headers['troth-call']).toBeUndefined()
    expect(answer.headers['proxy-authenticate']).toBeUndefined()
    expect(answer.headers['x-hop']).toBeUndefined()
    expect(answer.headers['set-cookie']).toEqual(['a=1', 'b=2'])
    expect(answer.headers['via']).toBe('1.1 troth, 1.1 troth')
    const { headers } = app.seen[0]!
    expect([headers['x-mine'], headers['te'], headers['keep-alive']]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
    expect(headers['via']).toBe('1.1 first, 1.1 troth, 1.1 troth')
  })

  it('that look like a trace are passed on when they are one, and replaced when not', async () => {
    await using app = await startApp()
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00`
    const url = `${planner.urlOf('tickets')}/tickets/1`
    await request(url, { headers: { traceparent, tracestate: 'v=1' } })
    expect(app.seen[0]?.headers).toMatchObject({ traceparent, tracestate: 'v=1' })
    expect(await planner.records.decision()).toMatchObject({ traceparent })
    await request(url, {
      headers: { traceparent: `00-${'0'.repeat(32)}-${'b'.repeat(16)}-00`, tracestate: 'v=1' },
    })
    expect(app.seen[1]?.headers['traceparent']).toMatch(/^00-(?!0{32})[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    expect(app.seen[1]?.headers['tracestate']).toBeUndefined()
    const plain = await begin(url)
    plain.resume()
  })
})
