import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../../../mesh/errors.js'
import { readValue } from '../../../../mesh/parse.js'
import { parseAgentName, parseTrustDomain } from '../../../../mesh/spiffe-id.js'
import {
  formatJoinToken,
  type JoinToken,
  parseJoinToken,
  READ_ENROL,
} from '../../../../mesh/wire/enrolment.js'

const token: JoinToken = {
  trustDomain: parseTrustDomain('acme.internal'),
  caAddress: '127.0.0.1:7410',
  rootFingerprints: ['0'.repeat(64), 'f'.repeat(64)],
  kind: 'agent',
  name: parseAgentName('planner'),
  secret: 'c2VjcmV0',
}
const encoded = (body: unknown): string => `troth1_${Buffer.from(JSON.stringify(body)).toString('base64url')}`
const body = { t: 'acme.internal', a: 'h:1', r: ['0'.repeat(64)], k: 'agent', n: 'planner', s: 'x' }

describe('a join token', () => {
  it('comes back from its text, with white space around it', () => {
    expect(parseJoinToken(` ${formatJoinToken(token)}\n`)).toEqual(token)
  })

  it('is one word that a shell takes as it is', () => {
    expect(formatJoinToken(token)).toMatch(/^troth1_[A-Za-z0-9_-]+$/)
  })

  it.each([
    ['nothing', ''],
    ['another prefix', formatJoinToken(token).replace('troth1_', 'troth2_')],
    ['its end cut off', formatJoinToken(token).slice(0, -9)],
    ['something that is too long', `troth1_${'a'.repeat(5000)}`],
    ['no root', encoded({ ...body, r: [] })],
    ['three roots', encoded({ ...body, r: Array<string>(3).fill('0'.repeat(64)) })],
    ['a malformed root', encoded({ ...body, r: ['F'.repeat(64)] })],
    ['an unknown kind', encoded({ ...body, k: 'ca' })],
    ['a malformed name', encoded({ ...body, n: '../x' })],
    ['a malformed trust domain', encoded({ ...body, t: 'Acme' })],
  ])('of %s is refused', (_what, raw) => {
    expect(() => parseJoinToken(raw)).toThrow(
      expect.objectContaining({ code: 'JOIN_TOKEN_INVALID' }) as MeshError,
    )
  })

  it('that is refused never shows its secret', () => {
    const broken = encoded({ ...body, k: 'ca', s: 'hunter2' })
    try {
      parseJoinToken(broken)
      expect.unreachable()
    } catch (error) {
      expect(String(error)).not.toContain('hunter2')
      expect(String(error)).not.toContain(broken)
    }
  })
})

describe('an enrolment request', () => {
  const request = {
    secret: 'x',
    kind: 'agent',
    name: 'planner',
    instanceId: '0190a0b0-0000-7000-8000-000000000000',
    csrPem: 'PEM\n',
  }

  it('is read', () => {
    expect(readValue(request, READ_ENROL, 'enrolment')).toEqual(request)
  })

  it.each([
    ['an instance that is no UUID', { instanceId: 'x' }],
    ['an upper-case UUID', { instanceId: request.instanceId.toUpperCase() }],
    ['a kind that is not enrolled', { kind: 'ca' }],
    ['a CSR that is too long', { csrPem: 'x'.repeat(16_385) }],
  ])('with %s is refused', (_what, part) => {
    expect(() => readValue({ ...request, ...part }, READ_ENROL, 'enrolment')).toThrow(
      expect.objectContaining({ code: 'WIRE_MALFORMED' }) as MeshError,
    )
  })
})
