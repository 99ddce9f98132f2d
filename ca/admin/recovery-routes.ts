// After a restore: what the CA waits for, and the operator's word that this is enough.

import { namedId } from '../../mesh/spiffe-id.js'
import { READ_RECOVERY_CONFIRM, type RecoveryShown } from '../../mesh/wire/recovery.js'
import { pageOf } from '../recovery/pages.js'
import type { AdminOptions, AdminRoute } from './route.js'

export function recoveryRoutes({ recovery, world }: AdminOptions): AdminRoute[] {
  const shown = (after: string): RecoveryShown => {
    const state = recovery.state()
    if (state === undefined) return { recovery: null }
    const { takenAt, restoredAt, endedAt, endedBy, awaited } = state
    const { missing, claims, next } = pageOf(state, after)
    return {
      recovery: {
        takenAt,
        restoredAt,
        endedAt,
        endedBy,
        awaited: awaited.length,
        missing: [...missing],
        claims: claims.map(({ id, serial, by, inForce }) => ({ id, serial, by: [...by], inForce })),
        next,
      },
    }
  }
  return [
    {
      method: 'GET',
      path: '/v1/recovery',
      to: 'operators',
      answer: ({ query }) => ({ json: shown(query.get('after') ?? '') }),
    },
    {
      method: 'POST',
      path: '/v1/recovery/confirm',
      // whoever restored it: the CA's own OS user
      to: 'local-admin',
      answer: async (request, actor) => {
        const { disbelieve } = await request.body(READ_RECOVERY_CONFIRM, 'confirmation')
        await recovery.confirm(
          actor,
          disbelieve.map((name) => namedId(world.trustDomain, 'agent', name)),
        )
        return { json: shown('') }
      },
    },
  ]
}
