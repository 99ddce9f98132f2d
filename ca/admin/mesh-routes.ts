// The mesh as a whole: status, address, tokens, same-user enrolment.

import { bundlePem, fingerprintOf } from '../../mesh/trust-bundle.js'
import { READ_ADDRESS, READ_TOKEN_MINT, type Roots, type Status } from '../../mesh/wire/admin.js'
import { READ_ENROL_LOCAL } from '../../mesh/wire/enrolment.js'
import { rootLabelOf } from '../hierarchy.js'
import { parseHost } from '../place.js'
import { endsOf } from '../rotation/ends.js'
import { type AdminOptions, type AdminRoute, CSR_BODY_BYTES } from './route.js'

export function meshRoutes(options: AdminOptions): AdminRoute[] {
  const { authority } = options
  return [
    {
      method: 'GET',
      path: '/v1/status',
      to: 'operators',
      answer: async () => ({ json: await status(options) }),
    },
    {
      method: 'GET',
      path: '/v1/roots',
      to: 'operators',
      answer: () => ({ json: { rootsPem: bundlePem(options.hierarchy.bundle) } satisfies Roots }),
    },
    {
      method: 'PUT',
      path: '/v1/address',
      to: 'local-admin',
      answer: async (request, actor) => {
        const { host } = await request.body(READ_ADDRESS, 'address')
        await options.setAddress(actor, parseHost(host))
        return { json: await status(options) }
      },
    },
    {
      method: 'POST',
      path: '/v1/tokens',
      to: 'operators',
      answer: async (request, actor) => ({
        json: await authority.mint(actor, await request.body(READ_TOKEN_MINT, 'token')),
      }),
    },
    {
      method: 'POST',
      path: '/v1/enrol-local',
      to: 'local-admin',
      maxBytes: CSR_BODY_BYTES,
      answer: async (request, actor) => ({
        json: await authority.enrolLocal(actor, await request.body(READ_ENROL_LOCAL, 'enrolment')),
      }),
    },
  ]
}

async function status(options: AdminOptions): Promise<Status> {
  const { store, hierarchy, world, rotator, clock, address, isRootKeyHere } = options
  const { position } = await store.mesh()
  const { trustDomain } = hierarchy
  const { root } = hierarchy.current()
  const ends = endsOf(hierarchy)
  return {
    trustDomain,
    address: await address(),
    ...position,
    policyVersion: world.policy().version,
    members: (await store.listMembers()).length,
    rootNotAfter: ends.root.notAfter,
    issuingNotAfter: ends.issuing.notAfter,
    rootDueAt: ends.root.dueAt,
    issuingDueAt: ends.issuing.dueAt,
    rootFingerprint: fingerprintOf(root),
    rootKeyLabel: rootLabelOf(hierarchy),
    rootKeyHere: await isRootKeyHere(),
    rotation: await rotator.show(),
    now: clock.now(),
  }
}
