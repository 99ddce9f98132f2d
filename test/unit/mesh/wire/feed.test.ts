import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../../../mesh/errors.js'
import { readJson } from '../../../../mesh/parse.js'
import { READ_FROM_MEMBER, readFromCa } from '../../../../mesh/wire/feed.js'

const position = { generation: 'g', epoch: 4 }
const view = {
  trustDomain: 'acme.internal',
  bundles: [{ trustDomain: 'acme.internal', rootsPem: 'PEM\n', issuingPem: 'PEM\n', crossPem: '' }],
  revokedIds: ['spiffe://acme.internal/agent/x'],
  revokedSerials: [
    { issuer: '0'.repeat(64), serial: '0a', id: 'spiffe://acme.internal/agent/x', expiresAt: 1 },
  ],
  revokedIssuers: ['1'.repeat(64)],
  policy: {
    version: 3,
    agents: [{ id: 'agent/*', grants: [{ scope: 'a:*', line: 3 }], line: 2 }],
    services: [
      { id: 'agent/a', operations: [{ method: 'GET', path: '/**', scope: 'a:b', line: 6 }], line: 5 },
    ],
  },
  callees: ['spiffe://acme.internal/agent/a'],
  endpoints: [{ id: 'spiffe://acme.internal/agent/a', instanceId: 'i', host: '127.0.0.1', port: 1 }],
}
const frame = (value: unknown): string => JSON.stringify(value)
const refusal = (code: string): MeshError => expect.objectContaining({ code }) as MeshError

describe('a frame of the CA', () => {
  it.each([
    { type: 'snapshot', position, sentAt: 1, view, returns: false },
    { type: 'delta', from: 3, position, sentAt: 1, changes: [{ kind: 'policy', policy: view.policy }] },
    { type: 'delta', from: 3, position, sentAt: 1, changes: [] },
    {
      type: 'delta',
      from: 3,
      position,
      sentAt: 1,
      changes: [{ kind: 'revoke-issuers', issuers: ['1'.repeat(64)] }],
    },
    { type: 'heartbeat', position, sentAt: 1 },
    { type: 'problem', code: 'ENDPOINT_NOT_ALLOWED', detail: 'x' },
  ])('of type $type is read', (value) => {
    expect(readFromCa(frame(value))).toEqual(value)
  })

  it('of a later release is read without the fields that are unknown here', () => {
    expect(readFromCa(frame({ type: 'heartbeat', position, sentAt: 1, later: 1 }))).toEqual({
      type: 'heartbeat',
      position,
      sentAt: 1,
    })
  })

  it('of an unknown type is ignored, unless it is critical', () => {
    expect(readFromCa(frame({ type: 'later' }))).toBeUndefined()
    expect(readFromCa(frame({ type: 'constructor' }))).toBeUndefined()
    expect(() => readFromCa(frame({ type: 'later', critical: true }))).toThrow(refusal('WIRE_VERSION'))
  })

  it.each([
    ['no JSON', 'x'],
    ['no type', '{}'],
    ['a snapshot without a view', frame({ type: 'snapshot', position, sentAt: 1 })],
    ['a negative epoch', frame({ type: 'heartbeat', position: { generation: 'g', epoch: -1 }, sentAt: 1 })],
    [
      'an unknown change',
      frame({ type: 'delta', from: 3, position, sentAt: 1, changes: [{ kind: 'later' }] }),
    ],
    [
      'a scope that is none',
      frame({
        type: 'snapshot',
        position,
        sentAt: 1,
        view: {
          ...view,
          policy: { ...view.policy, agents: [{ id: 'agent/a', grants: [{ scope: '*', line: 1 }], line: 1 }] },
        },
      }),
    ],
  ])('that is %s is refused', (_what, raw) => {
    expect(() => readFromCa(raw)).toThrow(refusal('WIRE_MALFORMED'))
  })
})

describe('a frame of a member', () => {
  const read = (value: unknown): unknown => readJson(frame(value), READ_FROM_MEMBER, 'frame')

  it.each([
    { type: 'hello', position: null, capabilities: [] },
    { type: 'hello', position, capabilities: ['x'] },
    { type: 'ack', position, cut: 2 },
    { type: 'resync' },
    { type: 'advertise', host: null, port: 65_535 },
    { type: 'withdraw' },
  ])('of type $type is read', (value) => {
    expect(read(value)).toEqual(value)
  })

  it.each([
    ['port 0', { type: 'advertise', host: null, port: 0 }],
    ['a port beyond 65535', { type: 'advertise', host: null, port: 65_536 }],
    ['an unknown type', { type: 'later' }],
    ['an acknowledgement of nothing', { type: 'ack', position: null, cut: 0 }],
  ])('with %s is refused', (_what, value) => {
    expect(() => read(value)).toThrow(refusal('WIRE_MALFORMED'))
  })
})
