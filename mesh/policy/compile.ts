// A policy made ready for judging: callees by ID, operations in a tree of paths, grants by caller. Also the two cuts the CA makes
// of it: the slice a sidecar gets, and the callees a caller may know of.

import { MeshError } from '../errors.js'
import { namedId, type SpiffeId, type TrustDomain } from '../spiffe-id.js'
import {
  type AgentPattern,
  exactId,
  parseAgentPattern,
  parseServiceName,
  starMatches,
} from './agent-pattern.js'
import {
  type AgentRule,
  lineName,
  type OperationRule,
  type Policy,
  type ServiceRule,
  wholeResource,
} from './model.js'
import { addRule, emptyTree, type PathTree, parsePathPattern } from './path-pattern.js'

export interface CompiledOperation {
  readonly scope: string
  /** The grant that covers it and all its siblings, e.g. `tickets:*`. */
  readonly whole: string
  /** E.g. `policy.yaml:14`. */
  readonly line: string
}

export interface CompiledService {
  readonly line: string
  readonly operations: PathTree<CompiledOperation>
  /** The scopes that any of its operations needs. */
  readonly scopes: ReadonlySet<string>
}

/** What one caller holds. */
export interface Holding {
  /** Sorted; each grant once. */
  readonly scopes: readonly string[]
  /** The line of each grant. */
  readonly lines: ReadonlyMap<string, string>
}

export interface CompiledPolicy {
  readonly version: number
  readonly trustDomain: TrustDomain
  readonly services: ReadonlyMap<SpiffeId, CompiledService>
  /** What a caller holds; remembered for the last few thousand callers. */
  readonly holdingOf: (caller: SpiffeId) => Holding
}

const REMEMBERED_CALLERS = 4096

/**
 * @throws MeshError POLICY_MALFORMED when an ID or a path is not well-formed, or a service or operation stands twice
 */
export function compilePolicy(policy: Policy, trustDomain: TrustDomain): CompiledPolicy {
  const services = new Map<SpiffeId, CompiledService>()
  for (const rule of policy.services) {
    const id = namedId(trustDomain, 'agent', parseServiceName(rule.id))
    if (services.has(id)) throw new MeshError('POLICY_MALFORMED', `service ${rule.id} stands twice`)
    services.set(id, compileService(rule))
  }
  return {
    version: policy.version,
    trustDomain,
    services,
    holdingOf: remembering(grantsByCaller(policy.agents, trustDomain)),
  }
}

/**
 * What the sidecar of `id` needs to judge its callers: its own service, and of the agents' grants those that cover a scope which
 * an operation of it needs. Nothing about other services leaves the CA.
 */
export function slicePolicy(policy: Policy, trustDomain: TrustDomain, id: SpiffeId): Policy {
  const services = policy.services.filter(
    (service) => namedId(trustDomain, 'agent', parseServiceName(service.id)) === id,
  )
  const scopes = services.flatMap(({ operations }) => operations.map(({ scope }) => scope))
  const covering = new Set([...scopes, ...scopes.map(wholeResource)])
  const agents = policy.agents
    .map((rule) => ({
      ...rule,
      grants: rule.grants.filter(({ scope }) => covering.has(scope)),
    }))
    .filter(({ grants }) => grants.length > 0)
  return { version: policy.version, agents, services }
}

/** Of `callees`, those with an operation whose scope the caller holds: the ones it may know of. */
export function visibleCallees(
  policy: CompiledPolicy,
  caller: SpiffeId,
  callees: readonly SpiffeId[],
): SpiffeId[] {
  const { lines } = policy.holdingOf(caller)
  return callees.filter((callee) => {
    for (const scope of policy.services.get(callee)?.scopes ?? [])
      if (lines.has(scope) || lines.has(wholeResource(scope))) return true
    return false
  })
}

function compileService({ id, operations, line }: ServiceRule): CompiledService {
  const tree = emptyTree<CompiledOperation>()
  for (const rule of operations) {
    if (!addRule(tree, parsePathPattern(rule.path), rule.method, compileOperation(rule)))
      throw new MeshError('POLICY_MALFORMED', `${rule.method} ${rule.path} of ${id} stands twice`)
  }
  return { line: lineName(line), operations: tree, scopes: new Set(operations.map(({ scope }) => scope)) }
}

const compileOperation = ({ scope, line }: OperationRule): CompiledOperation => ({
  scope,
  whole: wholeResource(scope),
  line: lineName(line),
})

function grantsByCaller(
  rules: readonly AgentRule[],
  trustDomain: TrustDomain,
): (caller: SpiffeId) => Holding {
  const exact = new Map<SpiffeId, AgentRule[]>()
  const starred: { pattern: AgentPattern; rule: AgentRule }[] = []
  for (const rule of rules) {
    const pattern = parseAgentPattern(rule.id)
    const id = exactId(pattern, trustDomain)
    if (id === undefined) starred.push({ pattern, rule })
    else exact.set(id, [...(exact.get(id) ?? []), rule])
  }
  return (caller) => {
    const lines = new Map<string, string>()
    // The caller's own entries first: where a pattern grants the same, the more telling line is named.
    const own = exact.get(caller) ?? []
    const shared = starred.filter(({ pattern }) => starMatches(pattern, trustDomain, caller))
    for (const { grants } of [...own, ...shared.map(({ rule }) => rule)])
      for (const { scope, line } of grants) if (!lines.has(scope)) lines.set(scope, lineName(line))
    return { scopes: [...lines.keys()].sort(), lines }
  }
}

function remembering(find: (caller: SpiffeId) => Holding): (caller: SpiffeId) => Holding {
  const known = new Map<SpiffeId, Holding>()
  return (caller) => {
    const remembered = known.get(caller)
    if (remembered !== undefined) return remembered
    const holding = find(caller)
    if (known.size >= REMEMBERED_CALLERS) known.clear()
    known.set(caller, holding)
    return holding
  }
}
