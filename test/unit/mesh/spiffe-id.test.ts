import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../../mesh/errors.js'
import {
  caId,
  meaningOf,
  namedId,
  parseAgentName,
  parseSpiffeId,
  parseTrustDomain,
  pathOf,
  trustDomainOf,
} from '../../../mesh/spiffe-id.js'

interface Words {
  taken: string[]
  refused: string[]
}
const vectors = JSON.parse(readFileSync('test/vectors/spiffe-ids.json', 'utf8')) as {
  accepted: string[]
  refused: string[]
  meanings: [string, string, string | null][]
  trustDomains: Words
  agentNames: Words
}
const code = (expected: string): MeshError => expect.objectContaining({ code: expected }) as MeshError

describe('a SPIFFE ID', () => {
  it.each(vectors.accepted)('%s is taken and splits into trust domain and path', (raw) => {
    const id = parseSpiffeId(raw)
    expect(id).toBe(raw)
    expect(`spiffe://${trustDomainOf(id)}/${pathOf(id)}`).toBe(raw)
  })

  it.each(vectors.refused)('%j is refused', (raw) => {
    expect(() => parseSpiffeId(raw)).toThrow(code('SPIFFE_ID_INVALID'))
  })

  it.each(vectors.meanings)('%s stands for %s %s', (raw, kind, name) => {
    expect(meaningOf(parseSpiffeId(raw))).toEqual(name === null ? { kind } : { kind, name })
  })

  it('is made of a trust domain, a kind and a name', () => {
    const trustDomain = parseTrustDomain('acme.internal')
    expect(namedId(trustDomain, 'agent', parseAgentName('planner'))).toBe(
      'spiffe://acme.internal/agent/planner',
    )
    expect(caId(trustDomain)).toBe('spiffe://acme.internal/ca')
  })
})

describe('a trust domain', () => {
  it.each(vectors.trustDomains.taken)('%s is taken', (raw) => {
    expect(parseTrustDomain(raw)).toBe(raw)
  })
  it.each(vectors.trustDomains.refused)('%j is refused', (raw) => {
    expect(() => parseTrustDomain(raw)).toThrow(code('TRUST_DOMAIN_INVALID'))
  })
})

describe('an agent name', () => {
  it.each(vectors.agentNames.taken)('%s is taken', (raw) => {
    expect(parseAgentName(raw)).toBe(raw)
  })
  it.each(vectors.agentNames.refused)('%j is refused', (raw) => {
    expect(() => parseAgentName(raw)).toThrow(code('AGENT_NAME_INVALID'))
  })
})
