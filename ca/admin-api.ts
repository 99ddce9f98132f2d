// The admin wire (mesh/wire/admin.ts) over `<home>/ca/admin.sock`. Whoever opens the socket is the CA's own OS user; the wire decides
// nothing about that, the directory's mode does. The paths themselves are in admin/.

import type { RequestListener } from 'node:http'
import { type Request, serveRoutes } from '../host/http-server.js'
import { LOCAL_ADMIN } from './actor.js'
import { agentRoutes } from './admin/agent-routes.js'
import { certRoutes } from './admin/cert-routes.js'
import { meshRoutes } from './admin/mesh-routes.js'
import { policyRoutes } from './admin/policy-routes.js'
import { revocationRoutes } from './admin/revocation-routes.js'
import type { AdminOptions, AdminRoute } from './admin/route.js'

/** What the Unix socket serves: everything, to the CA's own OS user. */
export function adminListener(options: AdminOptions): RequestListener {
  const routes = adminRoutes(options).map((route) => ({
    ...route,
    answer: (request: Request) => route.answer(request, LOCAL_ADMIN),
  }))
  return serveRoutes(routes, options.log)
}

function adminRoutes(options: AdminOptions): AdminRoute[] {
  return [
    ...meshRoutes(options),
    ...agentRoutes(options),
    ...certRoutes(options),
    ...revocationRoutes(options),
    ...policyRoutes(options),
  ]
}
