import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../../../mesh/errors.js'
import { type Reader, readValue } from '../../../../mesh/parse.js'
import {
  READ_AGENT_ADD,
  READ_CERT_ISSUE,
  READ_POLICY_PUSH,
  READ_REVOKE,
  READ_TOKEN_MINT,
} from '../../../../mesh/wire/admin.js'
import { READ_SHIP_ACK } from '../../../../mesh/wire/audit.js'

describe('a message to the CA or the collector', () => {
  it.each<[string, Reader<unknown>, unknown, unknown]>([
    [
      'a registration',
      READ_AGENT_ADD,
      { name: 'a' },
      { kind: 'agent', name: 'a', ttlSeconds: null, address: null, graceSeconds: null, onClone: null },
    ],
    ['a token', READ_TOKEN_MINT, { kind: 'collector', name: 'main' }, { kind: 'collector', name: 'main' }],
    [
      'a revocation',
      READ_REVOKE,
      { name: 'a' },
      { kind: 'agent', name: 'a', serial: null, only: false, reason: 'revoked by operator', waitMs: 0 },
    ],
    ['a receipt', READ_SHIP_ACK, { ledgerId: 'l', nextSeq: 0 }, undefined],
  ])('of %s is read, what is absent filled in', (_what, read, value, wanted) => {
    expect(readValue(value, read, 'message')).toEqual(wanted ?? value)
  })

  it.each<[string, Reader<unknown>, unknown]>([
    ['a name that is a path', READ_AGENT_ADD, { name: '../ca' }],
    ['a life of less than ten seconds', READ_AGENT_ADD, { name: 'a', ttlSeconds: 9 }],
    ['a grace time of more than a week', READ_AGENT_ADD, { name: 'a', graceSeconds: 604_801 }],
    ['another clone policy', READ_AGENT_ADD, { name: 'a', onClone: 'ignore' }],
    ['a life of more than a week', READ_AGENT_ADD, { name: 'a', ttlSeconds: 604_801 }],
    ['the kind ca', READ_TOKEN_MINT, { kind: 'ca', name: 'a' }],
    ['a wait of more than a minute', READ_REVOKE, { name: 'a', waitMs: 60_001 }],
    ['a certificate for a malformed name', READ_CERT_ISSUE, { name: 'A', csrPem: '' }],
    ['a policy that is no text', READ_POLICY_PUSH, { yaml: {} }],
  ])('with %s is refused', (_what, read, value) => {
    expect(() => readValue(value, read, 'message')).toThrow(
      expect.objectContaining({ code: 'WIRE_MALFORMED' }) as MeshError,
    )
  })
})
