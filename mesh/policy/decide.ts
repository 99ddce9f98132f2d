// The one decision: may this caller do this operation at this callee? Used by the ingress for every call, and by `can`. What the
// policy does not say is denied. A decision is a value with its reasons, never a boolean.

import { formatOperation, type Operation } from '../operation.js'
import type { SpiffeId } from '../spiffe-id.js'
import { nameInPolicy } from './agent-pattern.js'
import type { CompiledPolicy } from './compile.js'
import { findRule } from './path-pattern.js'
import { suggestGrant, suggestOperation } from './suggest.js'

export interface Permit {
  readonly verdict: 'permit'
  /** The scope that the operation needs, and that the caller holds. */
  readonly scope: string
  /** All grants that the caller holds (in a slice: those that matter to this callee), sorted. */
  readonly scopes: readonly string[]
  /** The lines that decided: the operation's and the grant's, e.g. `policy.yaml:14`. */
  readonly rule: string
  readonly grant: string
  readonly policyVersion: number
}

export interface Denial {
  readonly verdict: 'deny'
  readonly code: 'POLICY_NO_SERVICE' | 'POLICY_NO_OPERATION' | 'POLICY_SCOPE_MISSING'
  readonly detail: string
  /** The scope that is missing; null when no operation matched. */
  readonly scope: string | null
  /** The line of the operation that matched, else of the service; null when the policy says nothing of the callee. */
  readonly rule: string | null
  /** YAML that, added to the policy, allows it. */
  readonly suggestion: string
  readonly policyVersion: number
}

export type Decision = Permit | Denial

export interface Question {
  readonly caller: SpiffeId
  readonly callee: SpiffeId
  readonly operation: Operation
}

export function decide(policy: CompiledPolicy, question: Question): Decision {
  const { caller, callee, operation } = question
  const service = policy.services.get(callee)
  if (service === undefined) return unknownCallee(policy, question)
  const rule = findRule(service.operations, operation.method, operation.path)
  if (rule === undefined) return unknownOperation(policy, question, service.line)
  const { scopes, lines } = policy.holdingOf(caller)
  const grant = lines.get(rule.scope) ?? lines.get(rule.whole)
  if (grant === undefined) return missingScope(policy, question, rule)
  return {
    verdict: 'permit',
    scope: rule.scope,
    scopes,
    rule: rule.line,
    grant,
    policyVersion: policy.version,
  }
}

function unknownCallee(policy: CompiledPolicy, question: Question): Denial {
  const name = nameInPolicy(question.callee, policy.trustDomain)
  return {
    verdict: 'deny',
    code: 'POLICY_NO_SERVICE',
    detail:
      policy.version === 0 && policy.services.size === 0
        ? `no policy is in force, so nobody may call ${name}`
        : `the policy has no service ${name}`,
    scope: null,
    rule: null,
    suggestion: suggestOperation(policy, question),
    policyVersion: policy.version,
  }
}

function unknownOperation(policy: CompiledPolicy, question: Question, line: string): Denial {
  const name = nameInPolicy(question.callee, policy.trustDomain)
  return {
    verdict: 'deny',
    code: 'POLICY_NO_OPERATION',
    detail: `no operation of ${name} in the policy matches ${formatOperation(question.operation).slice(0, 200)}`,
    scope: null,
    rule: line,
    suggestion: suggestOperation(policy, question),
    policyVersion: policy.version,
  }
}

function missingScope(
  policy: CompiledPolicy,
  { caller, operation }: Question,
  rule: { readonly scope: string; readonly line: string },
): Denial {
  const name = nameInPolicy(caller, policy.trustDomain)
  return {
    verdict: 'deny',
    code: 'POLICY_SCOPE_MISSING',
    detail: `${name} does not hold ${rule.scope}, which ${formatOperation(operation).slice(0, 200)} needs`,
    scope: rule.scope,
    rule: rule.line,
    suggestion: suggestGrant(name, rule.scope),
    policyVersion: policy.version,
  }
}
