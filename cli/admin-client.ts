// Talks to the CA, one function a path of the admin wire: over the Unix socket of this home (whoever may open it is the CA's own OS
// user), or over mutual TLS as an operator who is enrolled here.

import { existsSync } from 'node:fs'
import path from 'node:path'
import { type DocumentRequest, type JsonRequest, requestBytes, requestJson } from '../host/http-client.js'
import type { Operator } from '../member/operator.js'
import { isMeshError, MeshError } from '../mesh/errors.js'
import type { Reader } from '../mesh/parse.js'
import type { AgentName, NamedKind } from '../mesh/spiffe-id.js'
import {
  type AgentAdd,
  type AgentInfo,
  type Bundle,
  type Can,
  type CanAnswer,
  type CertInfo,
  type CertIssue,
  type CrlInfo,
  type PolicyShown,
  READ_AGENT,
  READ_AGENTS,
  READ_BUNDLE,
  READ_CAN_ANSWER,
  READ_CERT,
  READ_CERTS,
  READ_CRLS,
  READ_POLICY_SHOWN,
  READ_REVOKED,
  READ_STATUS,
  READ_TOKEN_MINTED,
  type Revoke,
  type Revoked,
  type Status,
  type Suspend,
  type TokenMint,
  type TokenMinted,
} from '../mesh/wire/admin.js'
import { type Enrolment, READ_ENROLMENT } from '../mesh/wire/enrolment.js'
import { READ_RECOVERY, type RecoveryShown } from '../mesh/wire/recovery.js'
import {
  READ_ROTATION_NOW,
  READ_ROTATION_OPEN,
  type Rotate,
  type RotationNow,
  type RotationOpen,
  type Signed,
} from '../mesh/wire/rotation.js'
import { BUNDLE_PATH } from '../mesh/wire/spiffe-bundle.js'
import { logOf, type Session } from './session.js'

export const adminSocketOf = (home: string): string => path.join(home, 'ca', 'admin.sock')

export interface AdminClient {
  readonly socketPath: string
  status(): Promise<Status>
  setAddress(host: string): Promise<Status>
  addAgent(agent: AgentAdd): Promise<AgentInfo>
  agents(): Promise<AgentInfo[]>
  agent(who: Named): Promise<AgentInfo>
  removeAgent(who: Named): Promise<Revoked>
  restoreAgent(who: Named): Promise<AgentInfo>
  suspendAgent(who: Named, how: Suspend): Promise<Revoked>
  resumeAgent(who: Named): Promise<AgentInfo>
  mintToken(request: TokenMint): Promise<TokenMinted>
  issueCert(request: CertIssue): Promise<Enrolment>
  certs(name: AgentName | null): Promise<CertInfo[]>
  cert(serial: string): Promise<CertInfo>
  /** `only`: spares what was renewed from it. */
  revokeCert(serial: string, scope: 'lineage' | 'only'): Promise<Revoked>
  revoke(request: Revoke): Promise<Revoked>
  pushPolicy(yaml: string): Promise<PolicyShown>
  policy(): Promise<PolicyShown>
  /** All pages of it. */
  recovery(): Promise<RecoveryShown>
  confirmRecovery(disbelieve: AgentName[]): Promise<RecoveryShown>
  can(question: Can): Promise<CanAnswer>
  crls(): Promise<CrlInfo[]>
  /** DER. */
  crl(issuer: string): Promise<Buffer>
  bundle(): Promise<Bundle>
  /** Opens a rotation of a CA, or finds the open one. */
  rotate(wanted: Rotate): Promise<RotationOpen>
  deliverSigned(signed: Signed): Promise<RotationNow>
  forceRotation(): Promise<RotationNow>
  rotation(): Promise<RotationNow>
}

export interface Named {
  readonly kind: NamedKind
  readonly name: AgentName
}

const TIMEOUT_MS = 10_000

/** One way to the admin wire. */
interface Wire {
  ask<T>(request: JsonRequest<T>): Promise<T>
  /** A document as it is. */
  read(request: DocumentRequest): Promise<Buffer>
}

/**
 * A client of the CA that this home administers: its own, over the socket; else as its operator, of several the one that `--as` names.
 * Nothing is opened until a message is sent. Each message: MeshError CA_ADMIN_UNREACHABLE | CA_UNREACHABLE | OPERATOR_AMBIGUOUS |
 * NOT_ENROLLED | SELF_EXPIRED, or the CA's own code.
 */
export function adminClient(session: Session): AdminClient {
  const { home } = session
  if (session.as === null && existsSync(path.join(home, 'ca'))) return localAdminClient(home)
  let opened: Promise<Operator> | undefined
  const operator = (): Promise<Operator> => {
    opened ??= openOperatorOf(session)
    return opened
  }
  return clientOf(home, {
    ask: async (request) => (await operator()).ask(request),
    read: async (request) => (await operator()).read(request),
  })
}

/** A client of the CA in this home, over its socket. */
export function localAdminClient(home: string): AdminClient {
  return clientOf(home, localWire(home))
}

function localWire(home: string): Wire {
  const socketPath = adminSocketOf(home)
  const check = (): void => {
    if (!existsSync(socketPath)) throw new MeshError('CA_ADMIN_UNREACHABLE', `no CA runs in ${home}`)
  }
  return {
    ask: async (request) => {
      check()
      return await requestJson({ socketPath }, request)
    },
    read: async (request) => {
      check()
      return await requestBytes({ socketPath }, request)
    },
  }
}

async function openOperatorOf(session: Session): Promise<Operator> {
  const { home, dev, clock } = session
  // loaded when needed: on the CA's own host nothing of a member is
  const { openOperator, operatorsOf } = await import('../member/operator.js')
  const enrolled = operatorsOf(home)
  const [only, ...others] = session.as === null ? enrolled : [session.as]
  if (only === undefined) throw new MeshError('CA_ADMIN_UNREACHABLE', `no CA runs in ${home}`)
  if (others.length > 0)
    throw new MeshError('OPERATOR_AMBIGUOUS', `operators ${enrolled.join(', ')} are enrolled in ${home}`)
  return openOperator({ home, name: only, dev, clock, log: logOf(session, 'warn') })
}

function clientOf(home: string, wire: Wire): AdminClient {
  const socketPath = adminSocketOf(home)
  const send = <T>(
    method: JsonRequest<T>['method'],
    target: string,
    read: Reader<T>,
    { body, timeoutMs = TIMEOUT_MS }: { body?: unknown; timeoutMs?: number } = {},
  ): Promise<T> =>
    wire.ask({
      method,
      path: target,
      read,
      what: 'CA admin',
      timeoutMs,
      unreachable: 'CA_ADMIN_UNREACHABLE',
      ...(body === undefined ? {} : { body }),
    })
  const of = ({ kind, name }: Named): string => `${name}?kind=${kind}`

  return {
    socketPath,
    status: () => send('GET', '/v1/status', READ_STATUS),
    setAddress: (host) => send('PUT', '/v1/address', READ_STATUS, { body: { host } }),
    addAgent: (agent) => send('POST', '/v1/agents', READ_AGENT, { body: agent }),
    agents: async () => (await send('GET', '/v1/agents', READ_AGENTS)).agents,
    agent: (who) => send('GET', `/v1/agents/${of(who)}`, READ_AGENT),
    removeAgent: (who) => send('DELETE', `/v1/agents/${of(who)}`, READ_REVOKED),
    restoreAgent: ({ kind, name }) =>
      send('POST', `/v1/agents/${name}/restore?kind=${kind}`, READ_AGENT, { body: {} }),
    suspendAgent: ({ kind, name }, how) =>
      send('POST', `/v1/agents/${name}/suspend?kind=${kind}`, READ_REVOKED, {
        body: how,
        timeoutMs: TIMEOUT_MS + how.waitMs,
      }),
    resumeAgent: ({ kind, name }) =>
      send('POST', `/v1/agents/${name}/resume?kind=${kind}`, READ_AGENT, { body: {} }),
    mintToken: (request) => send('POST', '/v1/tokens', READ_TOKEN_MINTED, { body: request }),
    issueCert: (request) => send('POST', '/v1/certs', READ_ENROLMENT, { body: request }),
    certs: async (name) =>
      (await send('GET', name === null ? '/v1/certs' : `/v1/certs?name=${name}`, READ_CERTS)).certs,
    cert: (serial) => send('GET', `/v1/certs/${serial}`, READ_CERT),
    revokeCert: (serial, scope) =>
      send('DELETE', `/v1/certs/${serial}${scope === 'only' ? '?only=true' : ''}`, READ_REVOKED),
    revoke: (request) =>
      send('POST', '/v1/revocations', READ_REVOKED, {
        body: request,
        timeoutMs: TIMEOUT_MS + request.waitMs,
      }),
    pushPolicy: (yaml) => send('PUT', '/v1/policy', READ_POLICY_SHOWN, { body: { yaml } }),
    policy: () => send('GET', '/v1/policy', READ_POLICY_SHOWN),
    recovery: () => readRecovery((query) => send('GET', `/v1/recovery${query}`, READ_RECOVERY)),
    confirmRecovery: (disbelieve) =>
      send('POST', '/v1/recovery/confirm', READ_RECOVERY, { body: { disbelieve } }),
    can: (question) => send('POST', '/v1/can', READ_CAN_ANSWER, { body: question }),
    crls: async () => (await send('GET', '/v1/crls', READ_CRLS)).crls,
    crl: (issuer) => {
      const wanted = { path: `/crl/${issuer}.crl`, what: 'CA admin', timeoutMs: TIMEOUT_MS }
      return wire.read({ ...wanted, unreachable: 'CA_ADMIN_UNREACHABLE' })
    },
    bundle: () => send('GET', BUNDLE_PATH, READ_BUNDLE),
    rotate: (wanted) => send('POST', '/v1/rotation', READ_ROTATION_OPEN, { body: wanted }),
    deliverSigned: (signed) => send('PUT', '/v1/rotation/certificates', READ_ROTATION_NOW, { body: signed }),
    forceRotation: () => send('POST', '/v1/rotation/force', READ_ROTATION_NOW, { body: {} }),
    rotation: () => send('GET', '/v1/rotation', READ_ROTATION_NOW),
  }
}

/** The client when a CA answers in this home, else null. */
export async function adminClientIfUp(home: string): Promise<AdminClient | null> {
  const client = localAdminClient(home)
  try {
    await client.status()
    return client
  } catch (error) {
    if (isMeshError(error, 'CA_ADMIN_UNREACHABLE')) return null
    throw error
  }
}

/** The whole of what a restored CA waits for, page by page. */
async function readRecovery(read: (query: string) => Promise<RecoveryShown>): Promise<RecoveryShown> {
  const first = await read('')
  if (first.recovery === null) return first
  const missing = [...first.recovery.missing]
  const claims = [...first.recovery.claims]
  let page = first.recovery
  while (page.next !== null) {
    const { recovery } = await read(`?after=${encodeURIComponent(page.next)}`)
    if (recovery === null) break
    page = recovery
    for (const each of page.missing) missing.push(each)
    for (const each of page.claims) claims.push(each)
  }
  return { recovery: { ...page, missing, claims } }
}
