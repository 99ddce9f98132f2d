import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isMeshError } from '../../mesh/errors.js'
import {
  meaningOf,
  NAMED_KINDS,
  namedId,
  parseAgentName,
  parseSpiffeId,
  parseTrustDomain,
  pathOf,
  trustDomainOf,
} from '../../mesh/spiffe-id.js'

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/)
const trustDomain = fc
  .array(label, { minLength: 1, maxLength: 4 })
  .map((labels) => parseTrustDomain(labels.join('.')))

describe('any SPIFFE ID', () => {
  it('of ours comes back from its text with its meaning', () => {
    fc.assert(
      fc.property(trustDomain, fc.constantFrom(...NAMED_KINDS), label, (domain, kind, name) => {
        const id = namedId(domain, kind, parseAgentName(name))
        expect(parseSpiffeId(id)).toBe(id)
        expect(trustDomainOf(id)).toBe(domain)
        expect(meaningOf(id)).toEqual({ kind, name })
      }),
    )
  })

  it('that is taken is exactly its parts, whatever the text was', () => {
    const text = fc.oneof(
      fc.string(),
      fc
        .array(fc.constantFrom('spiffe://', 'a', '.', '/', '..', '%', 'B', ':', '@', '-', '_', '~', '\n'))
        .map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(text, (raw) => {
        try {
          const id = parseSpiffeId(raw)
          expect(`spiffe://${trustDomainOf(id)}/${pathOf(id)}`).toBe(raw)
          expect(raw).toMatch(/^spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._-]+)+$/)
        } catch (error) {
          expect(isMeshError(error, 'SPIFFE_ID_INVALID')).toBe(true)
        }
      }),
      { numRuns: 2000 },
    )
  })
})
