// What is published to everybody, for the operator too: the same paths, and which revocation lists there are.

import { keyFingerprintOf } from '../../mesh/authorities.js'
import type { CrlInfo } from '../../mesh/wire/admin.js'
import { publishedRoutes } from '../published.js'
import type { AdminOptions, AdminRoute } from './route.js'

export function publishedAdminRoutes(options: AdminOptions): AdminRoute[] {
  return [
    {
      method: 'GET',
      path: '/v1/crls',
      to: 'operators',
      answer: () => ({ json: { crls: crlInfos(options) } }),
    },
    ...publishedRoutes(options.published).map(
      (route): AdminRoute => ({ ...route, to: 'operators', answer: (request) => route.answer(request) }),
    ),
  ]
}

/** Roots first; of CAs that are in use. */
function crlInfos({ hierarchy, published }: AdminOptions): CrlInfo[] {
  const authorities = [
    ...hierarchy.roots.map((certificate) => ({ certificate, usage: 'root' as const })),
    ...hierarchy.issuers.map(({ issuing }) => ({ certificate: issuing, usage: 'issuing' as const })),
  ]
  return authorities.flatMap(({ certificate, usage }) => {
    const crl = published.crls.find(keyFingerprintOf(certificate))
    if (crl === undefined) return []
    const { issuer, number, publishedAt, nextUpdate, der } = crl
    const subject = certificate.subject.replaceAll('\n', ', ')
    return [{ issuer, usage, subject, number, publishedAt, nextUpdate, bytes: der.length }]
  })
}
