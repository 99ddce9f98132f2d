// Certificates: issued for foreign clients, listed, shown, withdrawn.

import type { Answer, Request } from '../../host/http-server.js'
import { MeshError } from '../../mesh/errors.js'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import { type CertInfo, READ_CERT_ISSUE } from '../../mesh/wire/admin.js'
import type { Certificate } from '../store/model.js'
import { revokedOf } from './revocation-routes.js'
import { type AdminOptions, type AdminRoute, CSR_BODY_BYTES } from './route.js'

export function certRoutes({ authority, store, registry }: AdminOptions): AdminRoute[] {
  const serialOf = ({ params }: Request): string => (params['serial'] ?? '').toLowerCase()
  return [
    {
      method: 'POST',
      path: '/v1/certs',
      to: 'operators',
      maxBytes: CSR_BODY_BYTES,
      answer: async (request, actor): Promise<Answer> => {
        const wanted = await request.body(READ_CERT_ISSUE, 'certificate')
        return { status: 201, json: await authority.issueForClient(actor, wanted) }
      },
    },
    {
      method: 'GET',
      path: '/v1/certs',
      to: 'operators',
      answer: async ({ query }) => {
        const name = query.get('name')
        const certs = await store.listCertificates(name === null ? null : parseAgentName(name))
        return { json: { certs: certs.map(certInfo) } }
      },
    },
    {
      method: 'GET',
      path: '/v1/certs/:serial',
      to: 'operators',
      answer: async (request) => {
        const certificate = await store.findCertificate(serialOf(request))
        if (certificate === undefined)
          throw new MeshError('CERT_UNKNOWN', `no certificate ${serialOf(request)} was issued`)
        return { json: certInfo(certificate) }
      },
    },
    {
      method: 'DELETE',
      path: '/v1/certs/:serial',
      to: 'operators',
      answer: async (request, actor) => {
        const scope = request.query.get('only') === 'true' ? 'only' : 'lineage'
        const how = { reason: 'revoked by operator', waitMs: 0, scope } as const
        return { json: revokedOf(await registry.revokeCertificate(actor, serialOf(request), how)) }
      },
    },
  ]
}

function certInfo(certificate: Certificate): CertInfo {
  const { origin, issuer: _issuer, publicKeyHash: _hash, ...rest } = certificate
  return { ...rest, by: origin }
}
