import { expect, it } from 'vitest'
import { compilePolicy } from '../../../../mesh/policy/compile.js'
import { parsePolicy } from '../../../../mesh/policy/document.js'
import { revocationsOf } from '../../../../mesh/revocation.js'
import { namedId, parseAgentName, parseTrustDomain } from '../../../../mesh/spiffe-id.js'
import { authorize, type IngressQuestion, type Standing } from '../../../../sidecar/call/authorize.js'

const trustDomain = parseTrustDomain('flow.test')
const idOf = (name: string) => namedId(trustDomain, 'agent', parseAgentName(name))
const NOW = 1_000_000
const caller = {
  id: idOf('planner'),
  serial: '4a',
  issuer: 'b'.repeat(64),
  instanceId: null,
  notBefore: 0,
  notAfter: NOW,
  fingerprint: 'c'.repeat(64),
}
const standing: Standing = {
  now: NOW,
  own: { id: idOf('tickets'), notAfter: NOW },
  selfRevoked: false,
  draining: false,
  staleDenied: false,
}
const question: IngressQuestion = {
  standing,
  caller,
  operation: { protocol: 'http', method: 'GET', path: '/x' },
  policy: compilePolicy(
    parsePolicy(`
version: 1
agents:
  - id: agent/planner
    scopes: [tickets:read]
services:
  - id: agent/tickets
    operations:
      - match: { method: GET, path: /x }
        scope: tickets:read
`),
    trustDomain,
  ),
  revocations: revocationsOf([], []),
}
const codeOf = (changes: Partial<IngressQuestion>): string => {
  const decision = authorize({ ...question, ...changes })
  return decision.verdict === 'deny' ? decision.code : 'permit'
}
const serial = { id: caller.id, issuer: caller.issuer, serial: caller.serial, expiresAt: NOW }

it('a call that the policy allows is permitted, through the last instant of both leaves', () => {
  expect(codeOf({})).toBe('permit')
})

it.each([
  ['its caller was revoked', { revocations: revocationsOf([caller.id], []) }, 'PEER_REVOKED'],
  ['the certificate of its caller was', { revocations: revocationsOf([], [serial]) }, 'PEER_REVOKED'],
  ['the leaf of its caller ended', { caller: { ...caller, notAfter: NOW - 1 } }, 'PEER_EXPIRED'],
  ['its callee was revoked', { standing: { ...standing, selfRevoked: true } }, 'SELF_REVOKED'],
  [
    'the leaf of its callee ended',
    { standing: { ...standing, own: { ...standing.own, notAfter: NOW - 1 } } },
    'SELF_EXPIRED',
  ],
  ['its callee is leaving', { standing: { ...standing, draining: true } }, 'DRAINING'],
  ['the feed was silent too long', { standing: { ...standing, staleDenied: true } }, 'FEED_STALE'],
])('on a connection that still stands it is denied when %s', (_why, changes, code) => {
  expect(codeOf(changes)).toBe(code)
})
