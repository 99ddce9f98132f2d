// The admin wire (mesh/wire/admin.ts) at its two doors: `<home>/ca/admin.sock`, where whoever opens the socket is the CA's own OS user
// (the directory's mode decides that), and the member door, for operators. The paths themselves are in admin/.

import type { RequestListener } from 'node:http'
import { type Answer, type Request, type Route, serveRoutes } from '../host/http-server.js'
import { MeshError } from '../mesh/errors.js'
import { type Actor, LOCAL_ADMIN, memberActor } from './actor.js'
import { agentRoutes } from './admin/agent-routes.js'
import { certRoutes } from './admin/cert-routes.js'
import { meshRoutes } from './admin/mesh-routes.js'
import { policyRoutes } from './admin/policy-routes.js'
import { publishedAdminRoutes } from './admin/published-routes.js'
import { recoveryRoutes } from './admin/recovery-routes.js'
import { revocationRoutes } from './admin/revocation-routes.js'
import { rotationRoutes } from './admin/rotation-routes.js'
import type { AdminOptions, AdminRoute } from './admin/route.js'
import { admitMember, peerOf, sourceOf } from './door-peer.js'
import type { Certificate } from './store/model.js'

/** What the Unix socket serves: everything, to the CA's own OS user. */
export function adminListener(options: AdminOptions): RequestListener {
  const routes = adminRoutes(options).map((route) => ({
    ...route,
    answer: (request: Request) => answerAs(options, route, { request, actor: LOCAL_ADMIN }),
  }))
  return serveRoutes(routes, options.log)
}

/**
 * The same at the member door, for operators: judged at every request, and once more when its body has come, because a revocation
 * may have come meanwhile. What needs the CA's own host is not served there.
 */
export function operatorRoutes(options: AdminOptions): Route[] {
  return adminRoutes(options).map((route) => ({
    ...route,
    answer: async (request) => {
      const operator = await admitOperator(options, request)
      const actor = memberActor(operator, sourceOf(request.raw.socket))
      if (route.to === 'local-admin') return answerAs(options, localOnly(route), { request, actor })
      const judgedAgain: Request = {
        ...request,
        body: async (read, what) => {
          const value = await request.body(read, what)
          await admitOperator(options, request)
          return value
        },
      }
      return answerAs(options, route, { request: judgedAgain, actor })
    },
  }))
}

/** @throws MeshError PEER_* | BROWSER_REFUSED */
async function admitOperator(options: AdminOptions, { raw }: Request): Promise<Certificate> {
  try {
    // a browser that holds an operator's certificate would show it to every page that asks
    if (raw.headers.origin !== undefined || raw.headers['sec-fetch-site'] !== undefined)
      throw new MeshError('BROWSER_REFUSED', 'a browser page may not administer the mesh')
    return await admitMember(options, raw.socket, ['operator'])
  } catch (error) {
    options.audit.turnedAway({ peer: peerOf(error), source: sourceOf(raw.socket) }, error)
    throw error
  }
}

const localOnly = (route: AdminRoute): AdminRoute => ({
  ...route,
  answer: () =>
    Promise.reject(
      new MeshError('ADMIN_LOCAL_ONLY', `${route.method} ${route.path} is served on the CA's own host only`),
    ),
})

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
    ...publishedAdminRoutes(options),
    ...rotationRoutes(options),
    ...recoveryRoutes(options),
  ]
}
