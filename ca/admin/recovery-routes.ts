// After a restore: what the CA waits for, and the operator's word that this is enough.

import { namedId } from '../../mesh/spiffe-id.js'
import { READ_RECOVERY_CONFIRM, type RecoveryShown } from '../../mesh/wire/recovery.js'
import { missingOf } from '../recovery/recovery.js'
import type { AdminOptions, AdminRoute } from './route.js'

export function recoveryRoutes({ recovery, world }: AdminOptions): AdminRoute[] {
  const shown = (): RecoveryShown => {
    const state = recovery.state()
    if (state === undefined) return { recovery: null }
    const { takenAt, restoredAt, endedAt, endedBy, awaited, claims } = state
    return {
      recovery: {
        takenAt,
        restoredAt,
        endedAt,
        endedBy,
        awaited: awaited.length,
        missing: missingOf(state).map(({ id, instanceId }) => ({ id, instanceId })),
        claims: claims.map(({ by, ...claim }) => ({ ...claim, by: [...by] })),
      },
    }
  }
  return [
    { method: 'GET', path: '/v1/recovery', to: 'operators', answer: () => ({ json: shown() }) },
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
        return { json: shown() }
      },
    },
  ]
}
