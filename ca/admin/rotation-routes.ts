// Rotation of the CA's keys. On the Unix socket only: whoever rotates holds the root's key, which is used on this host.

import { READ_ROTATE, READ_SIGNED } from '../../mesh/wire/rotation.js'
import type { Rotator } from '../rotation/rotator.js'
import type { AdminRoute } from './route.js'

/** A revocation list of the root, in base64, beside three certificates. */
const SIGNED_MAX_BYTES = 12 * 1024 * 1024

export function rotationRoutes({ rotator }: { readonly rotator: Rotator }): AdminRoute[] {
  return [
    {
      method: 'GET',
      path: '/v1/rotation',
      to: 'operators',
      answer: async () => ({ json: { rotation: await rotator.show() } }),
    },
    {
      method: 'POST',
      path: '/v1/rotation',
      to: 'local-admin',
      answer: async (request, actor) => {
        const { kind, compromised } = await request.body(READ_ROTATE, 'rotation')
        return { json: await rotator.begin(actor, kind, compromised) }
      },
    },
    {
      method: 'PUT',
      path: '/v1/rotation/certificates',
      to: 'local-admin',
      maxBytes: SIGNED_MAX_BYTES,
      answer: async (request, actor) => {
        const signed = await request.body(READ_SIGNED, 'signed certificates')
        return { json: { rotation: await rotator.deliver(actor, signed) } }
      },
    },
    {
      method: 'POST',
      path: '/v1/rotation/force',
      to: 'local-admin',
      answer: async (_request, actor) => ({ json: { rotation: await rotator.force(actor) } }),
    },
  ]
}
