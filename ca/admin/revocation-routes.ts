// Withdrawal of a name or of one serial, and what its caller is told of how far it got.

import { MeshError } from '../../mesh/errors.js'
import { READ_REVOKE, type Revoke, type Revoked } from '../../mesh/wire/admin.js'
import type { Actor } from '../actor.js'
import type { Revocation } from '../registry.js'
import type { AdminOptions, AdminRoute } from './route.js'

export function revocationRoutes(options: AdminOptions): AdminRoute[] {
  return [
    {
      method: 'POST',
      path: '/v1/revocations',
      to: 'operators',
      answer: async (request, actor) => {
        const wanted = await request.body(READ_REVOKE, 'revocation')
        return { json: revokedOf(await revoke(options, actor, wanted)) }
      },
    },
  ]
}

async function revoke({ registry }: AdminOptions, actor: Actor, wanted: Revoke): Promise<Revocation> {
  const { kind, name, serial, only, reason, waitMs } = wanted
  if (name !== null && serial === null) return registry.revoke(actor, { kind, name }, { reason, waitMs })
  if (serial !== null && name === null)
    return registry.revokeCertificate(actor, serial.toLowerCase(), {
      reason,
      waitMs,
      scope: only ? 'only' : 'lineage',
    })
  throw new MeshError('WIRE_MALFORMED', 'revocation: it names one agent or one serial')
}

/** A member that is not reached accepts the withdrawn certificates until they end, or its own does. */
export function revokedOf({ revoked, applied }: Revocation): Revoked {
  const worst = Math.max(0, ...revoked.serials.map(({ expiresAt }) => expiresAt))
  return {
    ids: [...revoked.ids],
    serials: revoked.serials.map(({ serial }) => serial),
    epoch: revoked.position.epoch,
    applied: applied.applied,
    expected: applied.expected,
    cut: applied.cut,
    elapsedMs: applied.elapsedMs,
    missing: applied.missing.map(({ id, instanceId, notAfter }) => ({
      id,
      instanceId,
      exposedUntil: Math.min(worst, notAfter),
    })),
  }
}
