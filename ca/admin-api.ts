// The admin wire (mesh/wire/admin.ts) over `<home>/ca/admin.sock`. Whoever opens the socket is the CA's own OS user; the wire decides
// nothing about that, the directory's mode does. The paths themselves are in admin/.

import type { RequestListener } from 'node:http'
import { type Answer, type Request, serveRoutes } from '../host/http-server.js'
import { type Actor, LOCAL_ADMIN } from './actor.js'
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
    answer: (request: Request) => answerAs(options, route, { request, actor: LOCAL_ADMIN }),
  }))
  return serveRoutes(routes, options.log)
}

/** What somebody asks to change and does not get is recorded too, also when it was not understood. */
async function answerAs(
  { audit }: AdminOptions,
  route: AdminRoute,
  { request, actor }: { request: Request; actor: Actor },
): Promise<Answer> {
  const answer = async (): Promise<Answer> => route.answer(request, actor)
  if (route.method === 'GET') return answer()
  const object = Object.values(request.params).join(' ')
  return audit.guard(actor, { what: `${route.method} ${route.path}`, object }, answer)
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
