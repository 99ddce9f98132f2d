// The admin wire (mesh/wire/admin.ts) over `<home>/ca/admin.sock`. Whoever opens the socket is the CA's own OS user; the wire decides
// nothing about that, the directory's mode does.

import type { RequestListener } from 'node:http'
import type { Clock } from '../host/clock.js'
import { type Answer, type Request, type Route, serveRoutes } from '../host/http-server.js'
import type { Log } from '../host/log.js'
import { MeshError } from '../mesh/errors.js'
import { type AgentName, NAMED_KINDS, type NamedKind, parseAgentName } from '../mesh/spiffe-id.js'
import {
  type AgentInfo,
  type CertInfo,
  READ_ADDRESS,
  READ_AGENT_ADD,
  READ_CAN,
  READ_CERT_ISSUE,
  READ_POLICY_PUSH,
  READ_REVOKE,
  READ_TOKEN_MINT,
  type Revoke,
  type Revoked,
  type Status,
} from '../mesh/wire/admin.js'
import { READ_ENROL_LOCAL } from '../mesh/wire/enrolment.js'
import type { Authority } from './authority.js'
import { can } from './can.js'
import type { Feed } from './feed.js'
import type { Hierarchy } from './hierarchy.js'
import { formatPlace, parseHost } from './place.js'
import type { Registry, Revocation } from './registry.js'
import type { CaStore, Certificate, Instance, Member, MemberKey } from './store/model.js'
import type { CaWorld } from './world.js'

export interface AdminOptions {
  readonly hierarchy: Hierarchy
  readonly store: CaStore
  readonly world: CaWorld
  readonly registry: Registry
  readonly authority: Authority
  readonly feed: Feed
  readonly clock: Clock
  readonly log: Log
  readonly leafTtlMs: number
  /** `host:port` that tokens carry. */
  readonly address: () => Promise<string>
  /** Changes the host that tokens and the server certificate carry. */
  readonly setAddress: (host: string) => Promise<void>
}

const CSR_BODY_BYTES = 64 * 1024
/** A policy of its largest size, in JSON: every newline and quote escaped. */
const POLICY_BODY_BYTES = 2 * 1024 * 1024 + 1024

export function adminListener(options: AdminOptions): RequestListener {
  return serveRoutes(
    [...meshRoutes(options), ...agentRoutes(options), ...certRoutes(options), ...policyRoutes(options)],
    options.log,
  )
}

function meshRoutes(options: AdminOptions): Route[] {
  const { authority, registry } = options
  return [
    { method: 'GET', path: '/v1/status', answer: async () => ({ json: await status(options) }) },
    {
      method: 'PUT',
      path: '/v1/address',
      answer: async (request) => {
        const { host } = await request.body(READ_ADDRESS, 'address')
        await options.setAddress(parseHost(host))
        await registry.act('admin', 'ca.address', host)
        return { json: await status(options) }
      },
    },
    {
      method: 'POST',
      path: '/v1/tokens',
      answer: async (request) => ({
        json: await authority.mint(await request.body(READ_TOKEN_MINT, 'token')),
      }),
    },
    {
      method: 'POST',
      path: '/v1/enrol-local',
      maxBytes: CSR_BODY_BYTES,
      answer: async (request) => ({
        json: await authority.enrolLocal(await request.body(READ_ENROL_LOCAL, 'enrolment')),
      }),
    },
    {
      method: 'POST',
      path: '/v1/revocations',
      answer: async (request) => {
        const wanted = await request.body(READ_REVOKE, 'revocation')
        return { json: revokedOf(await revoke(options, wanted)) }
      },
    },
  ]
}

function agentRoutes(options: AdminOptions): Route[] {
  const { registry, store, clock } = options
  return [
    {
      method: 'POST',
      path: '/v1/agents',
      answer: async (request) => {
        const wanted = await request.body(READ_AGENT_ADD, 'agent')
        return { status: 201, json: await agentInfo(options, await registry.add(wanted)) }
      },
    },
    {
      method: 'GET',
      path: '/v1/agents',
      answer: async () => {
        const instances = await store.listInstances(null, clock.now())
        const members = await store.listMembers()
        return { json: { agents: members.map((member) => infoOf(options, member, instances)) } }
      },
    },
    {
      method: 'GET',
      path: '/v1/agents/:name',
      answer: async (request) => ({
        json: await agentInfo(options, await registry.find(keyOf(request))),
      }),
    },
    {
      method: 'DELETE',
      path: '/v1/agents/:name',
      answer: async (request) => ({ json: revokedOf(await registry.remove(keyOf(request))) }),
    },
    {
      method: 'POST',
      path: '/v1/agents/:name/restore',
      answer: async (request) => ({
        json: await agentInfo(options, await registry.restore(keyOf(request))),
      }),
    },
  ]
}

function certRoutes({ authority, store, registry }: AdminOptions): Route[] {
  const serialOf = ({ params }: Request): string => (params['serial'] ?? '').toLowerCase()
  return [
    {
      method: 'POST',
      path: '/v1/certs',
      maxBytes: CSR_BODY_BYTES,
      answer: async (request): Promise<Answer> => {
        const { name, csrPem } = await request.body(READ_CERT_ISSUE, 'certificate')
        return { status: 201, json: await authority.issueForClient(name, csrPem) }
      },
    },
    {
      method: 'GET',
      path: '/v1/certs',
      answer: async ({ query }) => {
        const name = query.get('name')
        const certs = await store.listCertificates(name === null ? null : parseAgentName(name))
        return { json: { certs: certs.map(certInfo) } }
      },
    },
    {
      method: 'GET',
      path: '/v1/certs/:serial',
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
      answer: async (request) => {
        const how = { reason: 'revoked by operator', waitMs: 0 }
        return { json: revokedOf(await registry.revokeCertificate(serialOf(request), how)) }
      },
    },
  ]
}

function policyRoutes(options: AdminOptions): Route[] {
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
      maxBytes: POLICY_BODY_BYTES,
      answer: async (request) => {
        const { yaml } = await request.body(READ_POLICY_PUSH, 'policy')
        await registry.pushPolicy(yaml)
        return shown()
      },
    },
    { method: 'GET', path: '/v1/policy', answer: shown },
    {
      method: 'POST',
      path: '/v1/can',
      answer: async (request) => ({ json: can(options.world, await request.body(READ_CAN, 'question')) }),
    },
  ]
}

async function status({ store, hierarchy, world, clock, address }: AdminOptions): Promise<Status> {
  const { position } = await store.mesh()
  const { trustDomain } = hierarchy
  const { issuing, root } = hierarchy.current()
  return {
    trustDomain,
    address: await address(),
    ...position,
    policyVersion: world.policy().version,
    members: (await store.listMembers()).length,
    rootNotAfter: Date.parse(root.validTo),
    issuingNotAfter: Date.parse(issuing.validTo),
    now: clock.now(),
  }
}

async function revoke({ registry }: AdminOptions, wanted: Revoke): Promise<Revocation> {
  const { kind, name, serial, reason, waitMs } = wanted
  if (name !== null && serial === null) return registry.revoke({ kind, name }, { reason, waitMs })
  if (serial !== null && name === null)
    return registry.revokeCertificate(serial.toLowerCase(), { reason, waitMs })
  throw new MeshError('WIRE_MALFORMED', 'revocation: it names one agent or one serial')
}

/** A member that is not reached accepts the withdrawn certificates until they end, or its own does. */
function revokedOf({ revoked, applied }: Revocation): Revoked {
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

async function agentInfo(options: AdminOptions, member: Member): Promise<AgentInfo> {
  return infoOf(options, member, await options.store.listInstances(member.id, options.clock.now()))
}

function infoOf(
  { feed, leafTtlMs }: AdminOptions,
  member: Member,
  instances: readonly Instance[],
): AgentInfo {
  const connected = feed.connected()
  const { kind, name, id, state, createdAt, ttlSeconds, address } = member
  return {
    kind,
    name,
    id,
    state,
    createdAt,
    ttlSeconds: ttlSeconds ?? Math.round(leafTtlMs / 1000),
    address,
    instances: instances
      .filter((instance) => instance.id === id)
      .map(({ instanceId, serial, notAfter, lastSeenAt, endpoint }) => ({
        instanceId,
        serial,
        notAfter,
        connected: connected.has(instanceId),
        lastSeenAt,
        endpoint: endpoint === null ? null : formatPlace(endpoint.host, endpoint.port),
      })),
  }
}

function certInfo(certificate: Certificate): CertInfo {
  const { origin, issuer: _issuer, publicKeyHash: _hash, ...rest } = certificate
  return { ...rest, by: origin }
}

function keyOf({ params, query }: Request): MemberKey {
  const kind = query.get('kind') ?? 'agent'
  const known = NAMED_KINDS.find((each): each is NamedKind => each === kind)
  if (known === undefined)
    throw new MeshError('WIRE_MALFORMED', `kind must be one of ${NAMED_KINDS.join(', ')}`)
  const name: AgentName = parseAgentName(params['name'] ?? '')
  return { kind: known, name }
}
