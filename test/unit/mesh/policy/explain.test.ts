import { describe, expect, it } from 'vitest'
import { type Explained, explain } from '../../../../mesh/policy/explain.js'

const permitted: Explained = {
  caller: 'planner',
  callee: 'tickets',
  operation: 'GET /tickets/42',
  decision: 'permit',
  code: 'OK',
  scope: 'tickets:read',
  rule: 'policy.yaml:14',
  grant: 'policy.yaml:4',
  policyVersion: 3,
  suggestion: null,
}

describe('a decision in words', () => {
  it('names the scope and both lines of a permit', () => {
    expect(explain(permitted).split('\n')).toEqual([
      'permit: planner may GET /tickets/42 at tickets',
      '  the operation needs tickets:read (policy.yaml:14)',
      '  planner holds it (policy.yaml:4)',
      '  policy version 3',
    ])
  })

  it('names what is missing and what would allow it', () => {
    const text = explain({
      ...permitted,
      decision: 'deny',
      code: 'POLICY_SCOPE_MISSING',
      grant: null,
      suggestion: 'agents:\n  - id: agent/planner\n    scopes: [tickets:read]',
    })
    expect(text.split('\n')).toEqual([
      'deny: planner may not GET /tickets/42 at tickets',
      '  reason POLICY_SCOPE_MISSING',
      '  the operation needs tickets:read (policy.yaml:14)',
      '  planner does not hold it',
      '  this would allow it, merged into the policy:',
      '    agents:',
      '      - id: agent/planner',
      '        scopes: [tickets:read]',
      '  policy version 3',
    ])
  })

  it('stays short when the call was denied for another reason than the policy', () => {
    const refused: Explained = {
      ...permitted,
      decision: 'deny',
      code: 'FEED_STALE',
      scope: null,
      rule: null,
      grant: null,
      policyVersion: null,
    }
    expect(explain(refused).split('\n')).toEqual([
      'deny: planner may not GET /tickets/42 at tickets',
      '  reason FEED_STALE',
    ])
  })
})
