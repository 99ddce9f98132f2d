import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { isMeshError } from '../../mesh/errors.js'
import { compilePolicy, slicePolicy, visibleCallees } from '../../mesh/policy/compile.js'
import { decide } from '../../mesh/policy/decide.js'
import { parsePolicy } from '../../mesh/policy/document.js'
import { grantCovers, type Policy } from '../../mesh/policy/model.js'
import { namedId, parseAgentName, parseTrustDomain } from '../../mesh/spiffe-id.js'

const numRuns = process.env['SLOW'] === undefined ? 500 : 20_000
const trustDomain = parseTrustDomain('acme.internal')
const agent = (name: string) => namedId(trustDomain, 'agent', parseAgentName(name))

const names = ['a', 'b', 'web-1', 'web-2']
const scope = fc.constantFrom('x:read', 'x:write', 'y:read')
const grant = fc.oneof(scope, fc.constantFrom('x:*', 'y:*'))
const segment = fc.constantFrom('p', 'q', '*')
const path = fc
  .tuple(fc.array(segment, { maxLength: 3 }), fc.boolean())
  .map(([segments, rest]) => `/${[...segments, ...(rest ? ['**'] : [])].join('/')}`)
const operation = fc.record({
  match: fc.record({ method: fc.constantFrom('GET', 'POST', '*'), path }),
  scope,
})
const document = fc.record({
  version: fc.constant(1),
  agents: fc.array(
    fc.record({
      id: fc.constantFrom('agent/a', 'agent/b', 'agent/*', 'agent/web-*', 'spiffe://acme.internal/agent/a'),
      scopes: fc.array(grant, { maxLength: 3 }),
    }),
    { maxLength: 4 },
  ),
  services: fc.uniqueArray(
    fc.record({
      id: fc.constantFrom(...names.map((name) => `agent/${name}`)),
      operations: fc.uniqueArray(operation, {
        maxLength: 5,
        selector: ({ match }) => `${match.method} ${match.path}`,
      }),
    }),
    { maxLength: 3, selector: ({ id }) => id },
  ),
})
const policy = document.map((value): Policy => ({ ...parsePolicy(stringify(value)), version: 1 }))
const question = fc.record({
  caller: fc.constantFrom(...names).map(agent),
  callee: fc.constantFrom(...names).map(agent),
  operation: fc.record({
    protocol: fc.constant('http' as const),
    method: fc.constantFrom('GET', 'POST', 'PUT'),
    path: fc
      .array(fc.constantFrom('p', 'q', 'r'), { maxLength: 4 })
      .map((segments) => `/${segments.join('/')}`),
  }),
})

/** The rule as docs/policy.md tells it, written without a tree. */
function ruleByTheBook(all: Policy, calleeName: string, method: string, target: string) {
  const given = target === '/' ? [] : target.slice(1).split('/')
  const rank = (pattern: string, ruleMethod: string): string | undefined => {
    const wanted = pattern === '/' ? [] : pattern.slice(1).split('/')
    const rest = wanted.at(-1) === '**'
    if (rest) wanted.pop()
    if (rest ? given.length < wanted.length : given.length !== wanted.length) return undefined
    if (!wanted.every((each, index) => each === '*' || each === given[index])) return undefined
    if (ruleMethod !== '*' && ruleMethod !== method) return undefined
    return `${wanted.map((each) => (each === '*' ? '1' : '2')).join('')}${rest ? '0' : '3'}${ruleMethod === '*' ? '0' : '1'}`
  }
  const service = all.services.find(({ id }) => id === `agent/${calleeName}`)
  return (service?.operations ?? [])
    .map((rule) => ({ rule, rank: rank(rule.path, rule.method) }))
    .filter((each) => each.rank !== undefined)
    .sort((one, other) => ((one.rank ?? '') < (other.rank ?? '') ? 1 : -1))[0]?.rule
}

describe('any policy', () => {
  it('decides by the most specific rule, as the book says', () => {
    fc.assert(
      fc.property(policy, question, (all, asked) => {
        const decision = decide(compilePolicy(all, trustDomain), asked)
        const name = asked.callee.slice(asked.callee.lastIndexOf('/') + 1)
        const rule = ruleByTheBook(all, name, asked.operation.method, asked.operation.path)
        expect(decision.scope).toBe(rule?.scope ?? null)
        if (rule !== undefined) expect(decision.rule).toBe(`policy.yaml:${rule.line}`)
      }),
      { numRuns },
    )
  })

  it('permits only what a grant of the caller covers', () => {
    fc.assert(
      fc.property(policy, question, (all, asked) => {
        const decision = decide(compilePolicy(all, trustDomain), asked)
        if (decision.verdict === 'permit')
          expect(decision.scopes.some((held) => grantCovers(held, decision.scope))).toBe(true)
      }),
      { numRuns },
    )
  })

  it('decides the same from the slice that the callee gets', () => {
    fc.assert(
      fc.property(policy, question, (all, asked) => {
        const whole = decide(compilePolicy(all, trustDomain), asked)
        const sliced = decide(compilePolicy(slicePolicy(all, trustDomain, asked.callee), trustDomain), asked)
        expect(sliced.verdict).toBe(whole.verdict)
        expect([sliced.scope, sliced.rule, sliced.policyVersion]).toEqual([
          whole.scope,
          whole.rule,
          whole.policyVersion,
        ])
        if (sliced.verdict === 'permit' && whole.verdict === 'permit') expect(sliced.grant).toBe(whole.grant)
      }),
      { numRuns },
    )
  })

  it('shows a caller every callee it may call', () => {
    fc.assert(
      fc.property(policy, question, (all, asked) => {
        const compiled = compilePolicy(all, trustDomain)
        if (decide(compiled, asked).verdict === 'permit')
          expect(visibleCallees(compiled, asked.caller, [asked.callee])).toEqual([asked.callee])
      }),
      { numRuns },
    )
  })
})

describe('any text', () => {
  it('is a policy or is refused as one', () => {
    const part = fc.oneof(
      fc.constantFrom(
        'version: 1\n',
        'agents:',
        'services:',
        '\n',
        '  ',
        '- ',
        '[',
        ']',
        '{',
        '}',
        '&a',
        '*a',
        '!!str',
        '"',
        "'",
        '|',
        '#',
        ': ',
        '\t',
        '---',
        '%YAML',
      ),
      fc.string({ maxLength: 5 }),
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
        try {
          parsePolicy(parts.join(''))
        } catch (error) {
          expect(isMeshError(error, 'POLICY_MALFORMED')).toBe(true)
          expect((error as Error).message).toMatch(/^policy\.yaml:\d+:\d+: /)
        }
      }),
      { numRuns: numRuns * 2 },
    )
  })
})
