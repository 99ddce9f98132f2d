// The policy: pushed, shown, asked.

import type { Answer } from '../../host/http-server.js'
import { MeshError } from '../../mesh/errors.js'
import { READ_CAN, READ_POLICY_PUSH } from '../../mesh/wire/admin.js'
import { can } from '../can.js'
import type { AdminOptions, AdminRoute } from './route.js'

/** A policy of its largest size, in JSON: every newline and quote escaped. */
const POLICY_BODY_BYTES = 2 * 1024 * 1024 + 1024

export function policyRoutes(options: AdminOptions): AdminRoute[] {
  const { registry, store } = options
  const shown = async (): Promise<Answer> => {
    const policy = await store.policy()
    if (policy === undefined) throw new MeshError('POLICY_NONE', 'no policy was pushed yet')
    return { json: policy }
  }
  return [
    {
      method: 'PUT',
      path: '/v1/policy',
      to: 'operators',
      maxBytes: POLICY_BODY_BYTES,
      answer: async (request, actor) => {
        const { yaml } = await request.body(READ_POLICY_PUSH, 'policy')
        await registry.pushPolicy(actor, yaml)
        return shown()
      },
    },
    { method: 'GET', path: '/v1/policy', to: 'operators', answer: shown },
    {
      method: 'POST',
      path: '/v1/can',
      to: 'operators',
      answer: async (request) => ({ json: can(options.world, await request.body(READ_CAN, 'question')) }),
    },
  ]
}
