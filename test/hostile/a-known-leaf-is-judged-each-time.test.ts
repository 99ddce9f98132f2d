import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { issueLeaf, type Leaf, makeCa } from '../../certs-dev/hierarchy.js'
import { keyFingerprintOf } from '../../mesh/authorities.js'
import { revocationsOf, withRevokedIssuers } from '../../mesh/revocation.js'
import { parseTrustBundle } from '../../mesh/trust-bundle.js'
import { type ManualClock, manualClock } from '../support/manual-clock.js'
import { codeOf, connectTls, sendRaw, statusOf } from '../support/raw-http.js'
import { startApp, type TestApp } from '../support/sse.js'
import { identityOf, startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

const MINUTE = 60_000
const GET = 'GET /tickets/1 HTTP/1.1\r\nHost: tickets.mesh\r\nConnection: close\r\n\r\n'

/** A client of another stack that connects anew for each call, so that its leaf is known when something befalls it. */
describe('a leaf that the door has taken before', () => {
  let mesh: TestMesh
  let app: TestApp
  let clock: ManualClock
  let tickets: TestSidecar
  let leaf: Leaf

  beforeEach(async () => {
    mesh = await startMesh()
    app = await startApp()
    clock = manualClock(mesh.hierarchy.madeAt)
    tickets = await mesh.start('tickets', { app: app.place, clock })
    leaf = await issueLeaf(mesh.hierarchy, mesh.id('planner'))
  })
  afterEach(async () => {
    await mesh[Symbol.asyncDispose]()
    await app[Symbol.asyncDispose]()
  })

  async function call(of: Leaf = leaf): Promise<string> {
    const socket = await connectTls(tickets.ports.ingress, identityOf(of), {
      ca: mesh.hierarchy.rootPem,
      servername: 'tickets.mesh',
    })
    return sendRaw(socket, GET)
  }

  it('is the same caller, told to the app in the same words', async () => {
    for (let time = 0; time < 3; time++) expect(statusOf(await call())).toBe(200)
    const told = app.seen.map(({ headers }) => [
      headers['x-troth-caller'],
      headers['x-forwarded-client-cert'],
    ])
    expect(told).toHaveLength(3)
    expect(told[0]?.[1]).toContain('Subject="')
    expect(new Set(told.map((each) => JSON.stringify(each))).size).toBe(1)
  })

  it('is refused from the moment on that it is revoked', async () => {
    for (let time = 0; time < 2; time++) expect(statusOf(await call())).toBe(200)
    mesh.revoke('planner')
    expect(codeOf(await call())).toBe('PEER_REVOKED')
    expect(app.seen).toHaveLength(2)
  })

  it('is refused from the moment on that the CA that signed it is revoked', async () => {
    for (let time = 0; time < 2; time++) expect(statusOf(await call())).toBe(200)
    const issuers = [keyFingerprintOf(mesh.hierarchy.issuing.certificate)]
    mesh.change(() => ({ revocations: withRevokedIssuers(revocationsOf([], []), issuers) }))
    expect(codeOf(await call())).toBe('PEER_REVOKED')
  })

  it('is refused from the moment on that it has expired', async () => {
    const short = await issueLeaf(mesh.hierarchy, mesh.id('planner'), {
      notAfter: mesh.hierarchy.madeAt + MINUTE,
    })
    for (let time = 0; time < 2; time++) expect(statusOf(await call(short))).toBe(200)
    clock.advance(MINUTE + 1000)
    expect(codeOf(await call(short))).toBe('PEER_CERT_EXPIRED')
  })

  it('is refused from the moment on that its root is not trusted any more', async () => {
    for (let time = 0; time < 2; time++) expect(statusOf(await call())).toBe(200)
    const { trustDomain, madeAt } = mesh.hierarchy
    const other = await makeCa('another root', { trustDomain, madeAt, pathLength: 1, days: 30 })
    const rootsPem = other.certificate.toString()
    mesh.change(() => ({ bundles: new Map([[trustDomain, parseTrustBundle(trustDomain, rootsPem)]]) }))
    expect(codeOf(await call())).toBe('PEER_CHAIN_UNTRUSTED')
    expect(app.seen).toHaveLength(2)
  })
})
