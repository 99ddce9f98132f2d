// "Would the policy in force allow it?": the question of operators, answered by the decision that sidecars use.

import { formatOperation, parseMethod, parseTarget } from '../mesh/operation.js'
import { decide } from '../mesh/policy/decide.js'
import { namedId, parseAgentName, parseSpiffeId, type SpiffeId } from '../mesh/spiffe-id.js'
import type { Can, CanAnswer } from '../mesh/wire/admin.js'
import type { CaWorld } from './world.js'

/** @throws MeshError CALL_MALFORMED | CALL_PATH_REFUSED | SPIFFE_ID_INVALID | AGENT_NAME_INVALID */
export function can(world: CaWorld, { from, to, method, path }: Can): CanAnswer {
  const operation = { protocol: 'http' as const, method: parseMethod(method), path: parseTarget(path).path }
  const question = { caller: partyId(world, from), callee: partyId(world, to), operation }
  const decision = decide(world.policy(), question)
  const base = { operation: formatOperation(operation), policyVersion: decision.policyVersion }
  return decision.verdict === 'permit'
    ? {
        ...base,
        decision: 'permit',
        code: 'OK',
        scope: decision.scope,
        rule: decision.rule,
        grant: decision.grant,
        suggestion: null,
      }
    : {
        ...base,
        decision: 'deny',
        code: decision.code,
        scope: decision.scope,
        rule: decision.rule,
        grant: null,
        suggestion: decision.suggestion,
      }
}

/** `planner`, `agent/planner`, `operator/ann`, or a whole SPIFFE ID. */
function partyId({ trustDomain }: CaWorld, text: string): SpiffeId {
  if (text.startsWith('spiffe://')) return parseSpiffeId(text)
  return text.includes('/')
    ? parseSpiffeId(`spiffe://${trustDomain}/${text}`)
    : namedId(trustDomain, 'agent', parseAgentName(text))
}
