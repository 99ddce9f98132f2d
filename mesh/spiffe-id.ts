// SPIFFE IDs and trust domains (SPIFFE-ID.md §2), and what an ID stands for in this mesh. Upper case is refused, not folded:
// §2.1 and §2.4 disagree, and an ID that two readers compare differently is no identity.

import { MeshError } from './errors.js'

declare const brand: unique symbol
/** The name after `spiffe://`: lower-case LDH labels joined by dots, at most 255 bytes. */
export type TrustDomain = string & { readonly [brand]: 'TrustDomain' }
/** `spiffe://<trust domain>/<path>`, at most 2048 bytes. */
export type SpiffeId = string & { readonly [brand]: 'SpiffeId' }
/** One DNS label: the name of an agent, operator or collector. */
export type AgentName = string & { readonly [brand]: 'AgentName' }

export type NamedKind = 'agent' | 'operator' | 'collector'
export const NAMED_KINDS: readonly NamedKind[] = ['agent', 'operator', 'collector']

/** What an ID stands for. `foreign`: well-formed, but of no shape this mesh issues. */
export type Meaning =
  | { readonly kind: NamedKind; readonly name: AgentName }
  | { readonly kind: 'ca' }
  | { readonly kind: 'foreign' }

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
const FOREIGN_TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/
const SEGMENT = /^[a-zA-Z0-9._-]+$/

/** @throws MeshError AGENT_NAME_INVALID */
export function parseAgentName(text: string): AgentName {
  if (!LABEL.test(text)) {
    throw new MeshError(
      'AGENT_NAME_INVALID',
      `${JSON.stringify(text.slice(0, 80))} is not a name: it must be one lower-case DNS label`,
    )
  }
  return text as AgentName
}

/**
 * A trust domain this mesh may be given: stricter than SPIFFE (no `_`, every label LDH), so that it is also a DNS name.
 * @throws MeshError TRUST_DOMAIN_INVALID
 */
export function parseTrustDomain(text: string): TrustDomain {
  if (text.length > 255 || !text.split('.').every((label) => LABEL.test(label))) {
    throw new MeshError('TRUST_DOMAIN_INVALID', `${JSON.stringify(text.slice(0, 80))} is not a trust domain`)
  }
  return text as TrustDomain
}

/**
 * Any SPIFFE ID with a path, of whatever mesh.
 * @throws MeshError SPIFFE_ID_INVALID
 * @see SPIFFE-ID §2.1 to §2.4
 */
export function parseSpiffeId(text: string): SpiffeId {
  const refuse = (why: string): never => {
    throw new MeshError(
      'SPIFFE_ID_INVALID',
      `${JSON.stringify(text.slice(0, 120))} is not a SPIFFE ID: ${why}`,
    )
  }
  if (Buffer.byteLength(text) > 2048) refuse('longer than 2048 bytes')
  if (!text.startsWith('spiffe://')) refuse('it does not begin with spiffe://')
  const [trustDomain = '', ...segments] = text.slice('spiffe://'.length).split('/')
  if (!FOREIGN_TRUST_DOMAIN.test(trustDomain))
    refuse('the trust domain has other characters than a-z 0-9 . _ -')
  if (segments.length === 0) refuse('it has no path')
  for (const segment of segments) {
    if (!SEGMENT.test(segment))
      refuse('a path segment is empty or has other characters than a-z A-Z 0-9 . _ -')
    if (segment === '.' || segment === '..') refuse('a path segment is a dot segment')
  }
  return text as SpiffeId
}

export function trustDomainOf(id: SpiffeId): TrustDomain {
  return id.slice('spiffe://'.length, id.indexOf('/', 'spiffe://'.length)) as TrustDomain
}

/** The path without its leading slash, e.g. `agent/planner`. */
export function pathOf(id: SpiffeId): string {
  return id.slice(id.indexOf('/', 'spiffe://'.length) + 1)
}

export function meaningOf(id: SpiffeId): Meaning {
  const path = pathOf(id)
  if (path === 'ca') return { kind: 'ca' }
  const [kind, name, ...rest] = path.split('/')
  const named = NAMED_KINDS.find((each) => each === kind)
  if (named === undefined || name === undefined || rest.length > 0 || !LABEL.test(name))
    return { kind: 'foreign' }
  return { kind: named, name: name as AgentName }
}

export function namedId(trustDomain: TrustDomain, kind: NamedKind, name: AgentName): SpiffeId {
  return `spiffe://${trustDomain}/${kind}/${name}` as SpiffeId
}

export function caId(trustDomain: TrustDomain): SpiffeId {
  return `spiffe://${trustDomain}/ca` as SpiffeId
}
