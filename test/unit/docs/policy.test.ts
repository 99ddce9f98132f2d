import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parseTarget } from '../../../mesh/operation.js'
import { compilePolicy } from '../../../mesh/policy/compile.js'
import { decide } from '../../../mesh/policy/decide.js'
import { parsePolicy } from '../../../mesh/policy/document.js'
import { parseSpiffeId, parseTrustDomain } from '../../../mesh/spiffe-id.js'

const page = readFileSync('docs/policy.md', 'utf8')
const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, yaml]) => yaml ?? '')
const trustDomain = parseTrustDomain('acme.internal')

function scopeNeeded(yaml: string, method: string, path: string): string | null {
  return decide(compilePolicy(parsePolicy(yaml), trustDomain), {
    caller: parseSpiffeId('spiffe://acme.internal/agent/x'),
    callee: parseSpiffeId('spiffe://acme.internal/agent/tickets'),
    operation: { protocol: 'http', method, path: parseTarget(path).path },
  }).scope
}

describe('docs/policy.md', () => {
  it('has three policies', () => {
    expect(blocks).toHaveLength(3)
  })

  it.each(blocks.map((yaml, index) => [index + 1, yaml] as const))(
    'shows a policy that is taken (%d)',
    (_n, yaml) => {
      expect(parsePolicy(yaml).services.length).toBeGreaterThan(0)
    },
  )

  it.each([
    ['GET', '/tickets', 'tickets:read'],
    ['GET', '/tickets/42', 'tickets:write'],
    ['GET', '/tickets/42/notes', 'tickets:read'],
    ['GET', '/tickets/audit', 'tickets:audit'],
    ['GET', '/tickets/audit/', 'tickets:audit'],
    ['HEAD', '/tickets/audit', 'tickets:write'],
    ['HEAD', '/tickets', null],
  ])('tells the truth of its last policy: %s %s needs %s', (method, path, scope) => {
    expect(scopeNeeded(blocks[2] ?? '', method, path)).toBe(scope)
  })
})
