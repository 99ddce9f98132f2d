// Who a policy speaks of: `agent/planner` and `agent/web-*` in this mesh, or a whole SPIFFE ID of any mesh. Patterns never reach
// beyond the own trust domain, and a star never beyond one name.

import { MeshError } from '../errors.js'
import {
  type AgentName,
  meaningOf,
  namedId,
  parseAgentName,
  parseSpiffeId,
  pathOf,
  type SpiffeId,
  type TrustDomain,
  trustDomainOf,
} from '../spiffe-id.js'

type CallerKind = 'agent' | 'operator'

export type AgentPattern =
  | { readonly form: 'whole'; readonly id: SpiffeId }
  | { readonly form: 'name'; readonly kind: CallerKind; readonly name: AgentName }
  | {
      readonly form: 'star'
      readonly kind: CallerKind
      /** What stands before and after the star. */
      readonly prefix: string
      readonly suffix: string
    }

const STAR = /^([a-z0-9][a-z0-9-]*)?\*([a-z0-9-]*[a-z0-9])?$/

/**
 * Reads the `id` of an entry of `agents`.
 * @throws MeshError POLICY_MALFORMED
 */
export function parseAgentPattern(raw: string): AgentPattern {
  if (raw.startsWith('spiffe://')) return { form: 'whole', id: reading(raw, () => parseSpiffeId(raw)) }
  const [kind, name, ...rest] = raw.split('/')
  if ((kind !== 'agent' && kind !== 'operator') || name === undefined || rest.length > 0)
    throw malformed(raw, 'use agent/<name>, operator/<name> or a whole SPIFFE ID')
  if (!name.includes('*')) return { form: 'name', kind, name: reading(raw, () => parseAgentName(name)) }
  const star = STAR.exec(name)
  if (star === null || name.length > 63) throw malformed(raw, 'a pattern is one name with one * in it')
  return { form: 'star', kind, prefix: star[1] ?? '', suffix: star[2] ?? '' }
}

/**
 * Reads the `id` of an entry of `services`: an agent of this mesh.
 * @throws MeshError POLICY_MALFORMED
 */
export function parseServiceName(raw: string): AgentName {
  if (!raw.startsWith('agent/')) throw malformed(raw, 'a service is agent/<name>')
  return reading(raw, () => parseAgentName(raw.slice('agent/'.length)))
}

/** The one ID that the pattern means, or undefined for a pattern with a star. */
export function exactId(pattern: AgentPattern, trustDomain: TrustDomain): SpiffeId | undefined {
  if (pattern.form === 'whole') return pattern.id
  return pattern.form === 'name' ? namedId(trustDomain, pattern.kind, pattern.name) : undefined
}

/** True when a pattern with a star means this ID. */
export function starMatches(pattern: AgentPattern, trustDomain: TrustDomain, id: SpiffeId): boolean {
  if (pattern.form !== 'star' || trustDomainOf(id) !== trustDomain) return false
  const meaning = meaningOf(id)
  if (meaning.kind !== pattern.kind) return false
  const { name } = meaning
  return (
    name.length >= pattern.prefix.length + pattern.suffix.length &&
    name.startsWith(pattern.prefix) &&
    name.endsWith(pattern.suffix)
  )
}

/** How a document names the ID: `agent/planner` in this mesh, the whole SPIFFE ID otherwise. */
export function nameInPolicy(id: SpiffeId, trustDomain: TrustDomain): string {
  const { kind } = meaningOf(id)
  return trustDomainOf(id) === trustDomain && (kind === 'agent' || kind === 'operator') ? pathOf(id) : id
}

function reading<T>(raw: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw malformed(raw, error instanceof MeshError ? error.message : 'it is not well-formed')
  }
}

const malformed = (raw: string, why: string): MeshError =>
  new MeshError('POLICY_MALFORMED', `id ${JSON.stringify(raw.slice(0, 120))}: ${why}`)
