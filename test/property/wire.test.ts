import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeRecord, ENCODING } from '../../mesh/audit-record.js'
import { isMeshError } from '../../mesh/errors.js'
import { readJson } from '../../mesh/parse.js'
import { parseAgentName, parseTrustDomain } from '../../mesh/spiffe-id.js'
import { formatJoinToken, parseJoinToken, READ_ENROL } from '../../mesh/wire/enrolment.js'
import { READ_FROM_MEMBER, readFromCa } from '../../mesh/wire/feed.js'
import { errorOfProblem } from '../../mesh/wire/problem.js'

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/)

describe('any join token', () => {
  it('comes back from its text', () => {
    const token = fc.record({
      trustDomain: label.map(parseTrustDomain),
      caAddress: fc.constantFrom('127.0.0.1:7410', '[::1]:1', 'ca.example:65535'),
      rootFingerprints: fc.array(fc.stringMatching(/^[0-9a-f]{64}$/), { minLength: 1, maxLength: 2 }),
      kind: fc.constantFrom('agent' as const, 'operator' as const, 'collector' as const),
      name: label.map(parseAgentName),
      secret: fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
    })
    fc.assert(
      fc.property(token, (each) => {
        expect(parseJoinToken(formatJoinToken(each))).toEqual(each)
      }),
    )
  })
})

describe('any bytes', () => {
  const readers: [string, (bytes: Buffer) => unknown, string][] = [
    ['an audit record', (bytes) => decodeRecord(bytes, ENCODING), 'AUDIT_RECORD_INVALID'],
    ['a problem', (bytes) => errorOfProblem(bytes), 'WIRE_MALFORMED'],
    ['a frame of the CA', (bytes) => readFromCa(bytes.toString()), 'WIRE_MALFORMED'],
    ['a frame of a member', (bytes) => readJson(bytes, READ_FROM_MEMBER, 'frame'), 'WIRE_MALFORMED'],
    ['an enrolment', (bytes) => readJson(bytes, READ_ENROL, 'enrolment'), 'WIRE_MALFORMED'],
    [
      'a join token',
      (bytes) => parseJoinToken(`troth1_${bytes.toString('base64url')}`),
      'JOIN_TOKEN_INVALID',
    ],
  ]
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 64 }).map((raw) => Buffer.from(raw)),
    fc.json().map((json) => Buffer.from(json)),
    fc
      .record({
        kind: fc.constantFrom('decided', 'ended', 'note', 'agent'),
        type: fc.constantFrom('delta', 'hello', 'ack'),
        at: fc.integer(),
        self: fc.jsonValue(),
        position: fc.jsonValue(),
      })
      .map((value) => Buffer.from(JSON.stringify(value))),
  )

  it.each(readers)('are %s or are refused with a code', (_what, read, code) => {
    fc.assert(
      fc.property(bytes, (raw) => {
        try {
          read(raw)
        } catch (error) {
          expect(isMeshError(error) && error.code).toBe(code)
        }
      }),
      { numRuns: 500 },
    )
  })
})
