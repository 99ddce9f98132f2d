import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../../../mesh/errors.js'
import { compilePolicy, slicePolicy, visibleCallees } from '../../../../mesh/policy/compile.js'
import { parsePolicy } from '../../../../mesh/policy/document.js'
import type { Policy } from '../../../../mesh/policy/model.js'
import {
  namedId,
  parseAgentName,
  parseSpiffeId,
  parseTrustDomain,
  type SpiffeId,
} from '../../../../mesh/spiffe-id.js'

const trustDomain = parseTrustDomain('acme.internal')
const agent = (name: string): SpiffeId => namedId(trustDomain, 'agent', parseAgentName(name))
const office: Policy = {
  ...parsePolicy(readFileSync('test/vectors/policies/valid/office.yaml', 'utf8')),
  version: 3,
}
const CALLEES = ['tickets', 'search', 'silent', 'nobody'].map(agent)

describe('a slice of the policy', () => {
  it('holds its own service and the grants that matter to it, with their lines', () => {
    const slice = slicePolicy(office, trustDomain, agent('search'))
    expect(slice.version).toBe(3)
    expect(slice.services).toEqual(office.services.filter(({ id }) => id === 'agent/search'))
    expect(slice.agents).toEqual([
      { id: 'agent/planner', line: 4, grants: [{ scope: 'search:query', line: 5 }] },
      { id: 'agent/web-*', line: 9, grants: [{ scope: 'search:*', line: 10 }] },
      { id: 'agent/*', line: 11, grants: [{ scope: 'search:ping', line: 12 }] },
    ])
  })

  it.each([agent('silent'), agent('nobody'), parseSpiffeId('spiffe://partner.example/agent/tickets')])(
    'of %s, which nobody may call, says nothing of callers',
    (id) => {
      expect(slicePolicy(office, trustDomain, id).agents).toEqual([])
    },
  )
})

describe('the callees that a caller may know of', () => {
  it.each([
    ['agent/planner', ['tickets', 'search']],
    ['agent/web-1', ['search']],
    ['operator/ada', ['tickets']],
  ])('of %s are %s', (caller, names) => {
    const compiled = compilePolicy(office, trustDomain)
    const id = parseSpiffeId(`spiffe://acme.internal/${caller}`)
    expect(visibleCallees(compiled, id, CALLEES)).toEqual(names.map(agent))
  })

  it('are none for a stranger', () => {
    const stranger = parseSpiffeId('spiffe://partner.example/agent/planner')
    expect(visibleCallees(compilePolicy(office, trustDomain), stranger, CALLEES)).toEqual([])
  })
})

describe('a policy that came over the wire', () => {
  const rule = { method: 'GET', path: '/a', scope: 'a:b', line: 1 }
  it.each<[string, Partial<Policy>]>([
    ['a service twice', { services: [1, 2].map((line) => ({ id: 'agent/a', operations: [], line })) }],
    ['an operation twice', { services: [{ id: 'agent/a', operations: [rule, rule], line: 1 }] }],
    [
      'a malformed path',
      { services: [{ id: 'agent/a', operations: [{ ...rule, path: '/../a' }], line: 1 }] },
    ],
    ['a malformed caller', { agents: [{ id: '*', grants: [], line: 1 }] }],
    ['a malformed callee', { services: [{ id: 'agent/*', operations: [], line: 1 }] }],
  ])('is refused with %s', (_what, part) => {
    const malformed = { version: 1, agents: [], services: [], ...part }
    expect(() => compilePolicy(malformed, trustDomain)).toThrow(
      expect.objectContaining({ code: 'POLICY_MALFORMED' }) as MeshError,
    )
  })
})
