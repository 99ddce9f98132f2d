import path from 'node:path'
import { expect, it } from 'vitest'
import { openEndpoints } from '../../../ca/endpoints.js'
import type { Certificate, MemberKey } from '../../../ca/store/model.js'
import { createCaStore, openCaStore } from '../../../ca/store.js'
import { openCaWorld } from '../../../ca/world.js'
import { makeHierarchy } from '../../../certs-dev/hierarchy.js'
import { isMeshError } from '../../../mesh/errors.js'
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
  const world = await openCaWorld(store, {
    trustDomain,
    bundle: parseTrustBundle(trustDomain, rootPem),
    revokedIssuers: [],
  })
  const endpoints = openEndpoints({ store, world, clock, failed: () => undefined })
  const name = parseAgentName('planner')
  const { member } = await store.register(
    { kind: 'agent', name, ttlSeconds: null, graceSeconds: null, onClone: null, address: null },
    0,
  )
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

it('an endpoint is announced for itself only, by a kind that is called, where its connection comes from or it was set', async () => {
  using scratch = scratchDir()
  const file = path.join(scratch.dir, 'ca.db')
  createCaStore(file, { trustDomain, address: '127.0.0.1' })
  const store = openCaStore(file)
  const clock = manualClock()
  const { rootPem } = await makeHierarchy({ trustDomain, dev: true })
  const world = await openCaWorld(store, {
    trustDomain,
    bundle: parseTrustBundle(trustDomain, rootPem),
    revokedIssuers: [],
  })
  const endpoints = openEndpoints({ store, world, clock, failed: () => undefined })
  const enrol = async (kind: MemberKey['kind'], address: string | null): Promise<Certificate> => {
    const name = parseAgentName('planner')
    const { member } = await store.register(
      { kind, name, ttlSeconds: null, graceSeconds: null, onClone: null, address },
      0,
    )
    const certificate = {
      serial: `4a-${kind}`,
      issuer: 'a'.repeat(64),
      id: member.id,
      instanceId: `0a0a0a0a-0000-4000-8000-${kind.padStart(12, '0')}`,
      publicKeyHash: kind,
      origin: 'token' as const,
      notBefore: 0,
      notAfter: clock.now() + 3_600_000,
      issuedAt: 0,
      pem: 'PEM',
    }
    await store.recordEnrolment(certificate, member.registration)
    return store.admit(certificate, clock.now())
  }
  const agent = await enrol('agent', '192.0.2.7')
  const operator = await enrol('operator', null)
  const at = (member: Certificate, host: string | null, source: string): Promise<string> =>
    endpoints.announce(member, { host, port: 4000, source }).then(
      () => 'taken',
      (error: unknown) => (isMeshError(error) ? error.code : String(error)),
    )
  expect(await at(agent, null, '10.0.0.5')).toBe('taken')
  expect(await at(agent, '10.0.0.5', '10.0.0.5')).toBe('taken')
  expect(await at(agent, '127.0.0.2', '127.0.0.1')).toBe('taken')
  expect(await at(agent, '192.0.2.7', '10.0.0.5')).toBe('taken')
  for (const host of ['127.0.0.1', '::1', '10.0.0.6', 'tickets.lan'])
    expect([host, await at(agent, host, '10.0.0.5')]).toEqual([host, 'ENDPOINT_NOT_ALLOWED'])
  expect(await at(agent, '10.0.0.5', '127.0.0.1')).toBe('ENDPOINT_NOT_ALLOWED')
  expect(await at(operator, null, '10.0.0.5')).toBe('ENDPOINT_NOT_ALLOWED')
  endpoints.close()
  await store.close()
})
