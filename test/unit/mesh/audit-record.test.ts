import { describe, expect, it } from 'vitest'
import { type AuditRecord, decodeRecord, ENCODING, encodeRecord } from '../../../mesh/audit-record.js'
import type { MeshError } from '../../../mesh/errors.js'

const party = { id: 'spiffe://acme.internal/agent/planner', instance: null, serial: '0a' }

const records: AuditRecord[] = [
  {
    kind: 'decided',
    at: 1,
    callId: 'c',
    direction: 'ingress',
    caller: party,
    callerKind: 'agent',
    callee: { id: null, instance: null, serial: null },
    operation: 'GET /tickets/42',
    scope: 'tickets:read',
    decision: 'permit',
    reason: 'OK',
    rule: 'policy.yaml:14',
    grant: 'policy.yaml:4',
    policyVersion: 3,
    traceparent: null,
  },
  {
    kind: 'ended',
    at: 2,
    callId: 'c',
    direction: 'ingress',
    outcome: 'cut',
    reason: 'PEER_REVOKED',
    status: null,
    bytesIn: 0,
    bytesOut: 9,
    durationUs: 12,
  },
  {
    kind: 'refusal',
    at: 3,
    direction: 'ingress',
    reason: 'PEER_SAN_INVALID',
    peer: party,
    source: '10.0.0.0/24',
    count: 2,
  },
  { kind: 'note', at: 4, event: 'opened', detail: 'schema 1', self: party },
]

const refusal = (code: string): MeshError => expect.objectContaining({ code }) as MeshError

describe('an audit record', () => {
  it.each(records.map((each) => [each.kind, each] as const))(
    '%s comes back from its bytes',
    (_kind, each) => {
      const bytes = encodeRecord(each)
      expect(decodeRecord(bytes, ENCODING)).toEqual(each)
      expect(encodeRecord(decodeRecord(bytes, ENCODING))).toEqual(bytes)
    },
  )

  it('of an unknown encoding is refused', () => {
    expect(() => decodeRecord(encodeRecord(records[0]!), ENCODING + 1)).toThrow(
      refusal('AUDIT_RECORD_INVALID'),
    )
  })

  it.each([
    ['no JSON', 'x'],
    ['an unknown kind', '{"kind":"other"}'],
    ['a kind alone', '{"kind":"ended"}'],
    ['a negative count', JSON.stringify({ ...records[2], count: -1 })],
    ['a verdict of its own', JSON.stringify({ ...records[0], decision: 'maybe' })],
  ])('with %s is refused', (_what, json) => {
    expect(() => decodeRecord(Buffer.from(json), ENCODING)).toThrow(refusal('AUDIT_RECORD_INVALID'))
  })
})
