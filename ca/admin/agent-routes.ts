// The register: who is in the mesh, in which state, with which instances.

import type { X509Certificate } from 'node:crypto'
import type { Request } from '../../host/http-server.js'
import { MeshError } from '../../mesh/errors.js'
import { type AgentName, NAMED_KINDS, type NamedKind, parseAgentName } from '../../mesh/spiffe-id.js'
import { type AgentInfo, READ_AGENT_ADD, READ_SUSPEND } from '../../mesh/wire/admin.js'
import { BACKDATE_MS } from '../certificate/profile.js'
import { formatPlace } from '../place.js'
import {
  DEFAULT_GRACE_SECONDS,
  DEFAULT_ON_CLONE,
  type Instance,
  type Member,
  type MemberKey,
} from '../store/model.js'
import { revokedOf } from './revocation-routes.js'
import type { AdminOptions, AdminRoute } from './route.js'

export function agentRoutes(options: AdminOptions): AdminRoute[] {
  const { registry, store, clock } = options
  return [
    {
      method: 'POST',
      path: '/v1/agents',
      to: 'operators',
      answer: async (request, actor) => {
        const wanted = await request.body(READ_AGENT_ADD, 'agent')
        return { status: 201, json: await agentInfo(options, await registry.add(actor, wanted)) }
      },
    },
    {
      method: 'GET',
      path: '/v1/agents',
      to: 'operators',
      answer: async () => {
        const instances = await store.listInstances(null, clock.now())
        const members = await store.listMembers()
        return { json: { agents: members.map((member) => infoOf(options, member, instances)) } }
      },
    },
    {
      method: 'GET',
      path: '/v1/agents/:name',
      to: 'operators',
      answer: async (request) => ({
        json: await agentInfo(options, await registry.find(keyOf(request))),
      }),
    },
    {
      method: 'DELETE',
      path: '/v1/agents/:name',
      to: 'operators',
      answer: async (request, actor) => ({ json: revokedOf(await registry.remove(actor, keyOf(request))) }),
    },
    {
      method: 'POST',
      path: '/v1/agents/:name/restore',
      to: 'operators',
      answer: async (request, actor) => ({
        json: await agentInfo(options, await registry.restore(actor, keyOf(request))),
      }),
    },
    {
      method: 'POST',
      path: '/v1/agents/:name/suspend',
      to: 'operators',
      answer: async (request, actor) => {
        const how = await request.body(READ_SUSPEND, 'suspension')
        return { json: revokedOf(await registry.suspend(actor, keyOf(request), how)) }
      },
    },
    {
      method: 'POST',
      path: '/v1/agents/:name/resume',
      to: 'operators',
      answer: async (request, actor) => ({
        json: await agentInfo(options, await registry.resume(actor, keyOf(request))),
      }),
    },
  ]
}

async function agentInfo(options: AdminOptions, member: Member): Promise<AgentInfo> {
  return infoOf(options, member, await options.store.listInstances(member.id, options.clock.now()))
}

const madeAt = ({ validFrom }: X509Certificate): number => Date.parse(validFrom) + BACKDATE_MS

function infoOf(
  { feed, hierarchy, leafTtlMs }: AdminOptions,
  member: Member,
  instances: readonly Instance[],
): AgentInfo {
  const connected = feed.connected()
  // while there are two, whoever is told in time comes along
  const rootSince = hierarchy.roots.length > 1 ? 0 : madeAt(hierarchy.current().root)
  const { kind, name, id, state, createdAt, ttlSeconds, graceSeconds, onClone, address } = member
  return {
    kind,
    name,
    id,
    state,
    createdAt,
    ttlSeconds: ttlSeconds ?? Math.round(leafTtlMs / 1000),
    graceSeconds: graceSeconds ?? DEFAULT_GRACE_SECONDS,
    onClone: onClone ?? DEFAULT_ON_CLONE,
    address,
    instances: instances
      .filter((instance) => instance.id === id)
      .map(({ endpoint, ...held }) => ({
        ...held,
        connected: connected.has(held.instanceId),
        needsToken: held.since < rootSince,
        endpoint: endpoint === null ? null : formatPlace(endpoint.host, endpoint.port),
      })),
  }
}

function keyOf({ params, query }: Request): MemberKey {
  const kind = query.get('kind') ?? 'agent'
  const known = NAMED_KINDS.find((each): each is NamedKind => each === kind)
  if (known === undefined)
    throw new MeshError('WIRE_MALFORMED', `kind must be one of ${NAMED_KINDS.join(', ')}`)
  const name: AgentName = parseAgentName(params['name'] ?? '')
  return { kind: known, name }
}
