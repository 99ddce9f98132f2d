import path from 'node:path'
import { expect, it } from 'vitest'
import { openEndpoints } from '../../../ca/endpoints.js'
import { createCaStore, openCaStore } from '../../../ca/store.js'
import { openCaWorld } from '../../../ca/world.js'
import { makeHierarchy } from '../../../certs-dev/hierarchy.js'
import { parseAgentName, parseTrustDomain } from '../../../mesh/spiffe-id.js'
import { parseTrustBundle } from '../../../mesh/trust-bundle.js'
import { scratchDir } from '../../support/audit-records.js'
import { manualClock } from '../../support/manual-clock.js'

const trustDomain = parseTrustDomain('acme.internal')

it('an announcement that outlives its connection goes after the grace', async () => {
  using scratch = scratchDir()
  const file = path.join(scratch.dir, 'ca.db')
  createCaStore(file, { trustDomain, address: '127.0.0.1' })
  const store = openCaStore(file)
  const clock = manualClock()
  const { rootPem } = await makeHierarchy({ trustDomain, dev: true })
  const world = await openCaWorld(store, parseTrustBundle(trustDomain, rootPem))
  const endpoints = openEndpoints({ store, world, clock, failed: () => undefined })
  const name = parseAgentName('planner')
  const { member } = await store.register({ kind: 'agent', name, ttlSeconds: null, address: null }, 0)
  const certificate = {
    serial: '4a',
    issuer: 'a'.repeat(64),
    id: member.id,
    instanceId: '0a0a0a0a-0000-4000-8000-000000000001',
    publicKeyHash: 'b',
    origin: 'token' as const,
    notBefore: 0,
    notAfter: clock.now() + 3_600_000,
    issuedAt: 0,
    pem: 'PEM',
  }
  await store.recordEnrolment(certificate, member.registration)
  const admitted = await store.admit(certificate, clock.now())

  endpoints.found(admitted.instanceId)
  const announced = endpoints.announce(admitted, { host: null, port: 4000, source: '127.0.0.1' })
  endpoints.lost(admitted.instanceId)
  await announced
  expect(await store.endpoints()).toHaveLength(1)
  clock.advance(15_000)
  await world.inOrder(() => Promise.resolve())
  expect(await store.endpoints()).toEqual([])
  endpoints.close()
  await store.close()
})
