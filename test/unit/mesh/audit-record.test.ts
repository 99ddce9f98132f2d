import { describe, expect, it } from 'vitest'
import {
  type AuditRecord,
  decodeRecord,
  ENCODING,
  encodeRecord,
  plainKey,
} from '../../../mesh/audit-record.js'
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

const bytesOf = (nth: number): Buffer => encodeRecord(records[nth]!)

/** What the strict way says: the record where these are the bytes of one, in its one spelling. */
function strictly(bytes: Buffer): AuditRecord | undefined {
  try {
    const record = decodeRecord(bytes, ENCODING)
    return encodeRecord(record).equals(bytes) ? record : undefined
  } catch {
    return undefined
  }
}

/** @returns true when the short way takes the bytes; then the strict one must have read the same */
function isTaken(bytes: Buffer): boolean {
  const key = plainKey(bytes, ENCODING)
  if (key !== undefined) expect(strictly(bytes), bytes.toString('latin1')).toMatchObject(key)
  return key !== undefined
}

/** Each byte replaced by every other, taken out, and written twice; and every beginning. */
function* mutationsOf(good: Buffer): Generator<Buffer> {
  for (const at of good.keys()) {
    const [before, after] = [good.subarray(0, at), good.subarray(at + 1)]
    yield before
    yield Buffer.concat([before, after])
    yield Buffer.concat([before, good.subarray(at, at + 1), good.subarray(at)])
    for (let byte = 0; byte < 256; byte++) yield Buffer.concat([before, Buffer.of(byte), after])
  }
}

describe('the key of a plain line', () => {
  it('is that of the record, for decisions and ends', () => {
    expect(plainKey(bytesOf(0), ENCODING)).toEqual({ kind: 'decided', at: 1, callId: 'c' })
    expect(plainKey(bytesOf(1), ENCODING)).toEqual({ kind: 'ended', at: 2, callId: 'c' })
  })

  it('is not read of the other kinds, nor of another encoding', () => {
    expect(plainKey(bytesOf(2), ENCODING)).toBeUndefined()
    expect(plainKey(bytesOf(3), ENCODING)).toBeUndefined()
    expect(plainKey(bytesOf(0), ENCODING + 1)).toBeUndefined()
  })

  it.each([0, 1])('with any byte of line %d changed, what is taken is read the same strictly', (nth) => {
    let taken = 0
    for (const bytes of mutationsOf(bytesOf(nth))) if (isTaken(bytes)) taken += 1
    expect(taken).toBeGreaterThan(256)
  })

  it.each([
    ['a number with a leading zero', '"at":1', '"at":01'],
    ['a number as a fraction', '"at":1', '"at":1.0'],
    ['a number as a power', '"at":1', '"at":1e1'],
    ['minus zero', '"at":1', '"at":-0'],
    ['a number that doubles cannot hold', '"at":1', '"at":9007199254740993'],
    ['a text instead of a number', '"at":1', '"at":"1"'],
    ['a member twice', '"callId":"c"', '"callId":"c","callId":"c"'],
    ['a member more', '"callId":"c"', '"callId":"c","more":1'],
    ['a member less', '"callId":"c",', ''],
    ['null where there is a text', '"callId":"c"', '"callId":null'],
    ['an id beyond its limit', '"callId":"c"', `"callId":"${'c'.repeat(65)}"`],
    ['an escape', '"callId":"c"', '"callId":"\\u0063"'],
    ['a quote within', '"callId":"c"', '"callId":"c"c"'],
    ['what is not ASCII', '"callId":"c"', '"callId":"\u00fc"'],
    ['DEL', '"callId":"c"', '"callId":"\u007f"'],
    ['another word', '"ingress"', '"sideways"'],
    ['a space behind a comma', ',"direction"', ', "direction"'],
    ['a line end behind', '}$', '}\n'],
    ['a line before', '^{', '\n{'],
    ['a second record behind', '}$', '}{}'],
  ])('is not read of a line with %s', (_what, part, other) => {
    for (const nth of [0, 1]) {
      const good = bytesOf(nth).toString()
      const bad = part.endsWith('$')
        ? good.slice(0, -1) + other
        : part.startsWith('^')
          ? other + good.slice(1)
          : good.replace(part.replace('"at":1', `"at":${nth + 1}`), other)
      expect(bad).not.toBe(good)
      expect(plainKey(Buffer.from(bad), ENCODING)).toBeUndefined()
    }
  })

  it.each(['99', '1000', '0200', '-200', '2e2', '"200"'])('is not read of a status of %s', (status) => {
    const bad = bytesOf(1).toString().replace('"status":null', `"status":${status}`)
    expect(plainKey(Buffer.from(bad), ENCODING)).toBeUndefined()
    expect(strictly(Buffer.from(bad))).toBeUndefined()
  })

  it('is refused in time that grows with the line only', () => {
    const long = bytesOf(0).toString().replace('/tickets/42', '/'.repeat(16_000))
    expect(isTaken(Buffer.from(long))).toBe(true)
    const started = performance.now()
    for (let nth = 0; nth < 50; nth++) plainKey(Buffer.from(long.slice(0, -1)), ENCODING)
    expect(performance.now() - started).toBeLessThan(500)
  })
})
