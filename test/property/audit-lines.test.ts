import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeStrictly } from '../../host/audit-encode.js'
import { openLineEncoder } from '../../host/audit-lines.js'
import {
  type Decided,
  decodeRecord,
  ENCODING,
  type Ended,
  encodeRecord,
  type Party,
  plainKey,
} from '../../mesh/audit-record.js'
import { isMeshError } from '../../mesh/errors.js'

/** Mostly what is plain, and everything else: quotes, escapes, controls, lone surrogates, too long. */
const text = fc.oneof(
  { weight: 8, arbitrary: fc.string({ unit: 'grapheme-ascii', maxLength: 70 }) },
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom(
    '',
    '"',
    '\\',
    '\n',
    '\u007f',
    '\ud800',
    'é',
    '€',
    ' ',
    'x'.repeat(65),
    'x'.repeat(257),
    'x'.repeat(2000),
  ),
)
const whole = fc.oneof(
  { weight: 8, arbitrary: fc.nat() },
  fc.constantFrom(
    -1,
    -0,
    0.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 53,
    Number.MAX_SAFE_INTEGER,
    99,
    100,
    999,
    1000,
  ),
)
const orNull = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary)
const party: fc.Arbitrary<Party> = fc.record({
  id: orNull(text),
  instance: orNull(text),
  serial: orNull(text),
})
const direction = fc.constantFrom('egress', 'ingress')

const decided: fc.Arbitrary<Omit<Decided, 'kind'>> = fc.record({
  at: whole,
  callId: text,
  direction,
  caller: party,
  callerKind: fc.constantFrom('agent', 'foreign'),
  callee: party,
  operation: text,
  scope: orNull(text),
  decision: fc.constantFrom('permit', 'deny'),
  reason: text,
  rule: orNull(text),
  grant: orNull(text),
  policyVersion: orNull(whole),
  traceparent: orNull(text),
})
const ended: fc.Arbitrary<Omit<Ended, 'kind'>> = fc.record({
  at: whole,
  callId: text,
  direction,
  outcome: fc.constantFrom('completed', 'failed', 'aborted', 'cut', 'unknown'),
  reason: text,
  status: orNull(whole),
  bytesIn: whole,
  bytesOut: whole,
  durationUs: whole,
})

/** What comes of it: the text, or the code it is refused with. */
function outcomeOf(encode: () => string): string {
  try {
    return encode()
  } catch (error) {
    if (isMeshError(error, 'AUDIT_RECORD_INVALID')) return 'AUDIT_RECORD_INVALID'
    throw error
  }
}

test('a decision is the bytes that the strict encoding gives, or refused as it refuses', () => {
  const lines = openLineEncoder()
  fc.assert(
    fc.property(decided, (it) => {
      const strict = outcomeOf(() => encodeStrictly({ kind: 'decided', ...it }).bytes.toString())
      // twice: what was remembered of the first must not change the second
      expect(outcomeOf(() => lines.decided(it))).toBe(strict)
      expect(outcomeOf(() => lines.decided(it))).toBe(strict)
    }),
  )
})

test('an end is the bytes that the strict encoding gives, or refused as it refuses', () => {
  const lines = openLineEncoder()
  fc.assert(
    fc.property(ended, (it) => {
      const strict = outcomeOf(() => encodeStrictly({ kind: 'ended', ...it }).bytes.toString())
      expect(outcomeOf(() => lines.ended(it))).toBe(strict)
    }),
  )
})

test('no line holds a line end', () => {
  const lines = openLineEncoder()
  fc.assert(
    fc.property(decided, (it) => {
      expect(outcomeOf(() => lines.decided(it))).not.toContain('\n')
    }),
  )
})

/** A line of a record, and often with one part of it changed. */
const line = fc
  .tuple(
    fc.oneof(
      decided.map((it) => JSON.stringify({ kind: 'decided', ...it })),
      ended.map((it) => JSON.stringify({ kind: 'ended', ...it })),
    ),
    fc.oneof(fc.constant(''), text, whole.map(String)),
    fc.nat(),
    fc.nat({ max: 3 }),
  )
  .map(([json, put, at, out]) => {
    const place = at % json.length
    return put === '' ? json : json.slice(0, place) + put + json.slice(place + out)
  })

test('a line that is taken for a plain one reads the same strictly, and is spelled as it would be', () => {
  fc.assert(
    fc.property(line, (json) => {
      const bytes = Buffer.from(json)
      const key = plainKey(bytes, ENCODING)
      if (key === undefined) return
      const record = decodeRecord(bytes, ENCODING)
      expect(record).toMatchObject(key)
      expect(encodeRecord(record).equals(bytes)).toBe(true)
    }),
    { numRuns: 1000 },
  )
})

test('every line of plain ASCII that a sidecar writes is taken for a plain one', () => {
  const lines = openLineEncoder()
  const isPlain = /^[ !#-[\]-~]*$/
  const seen = { plain: 0 }
  fc.assert(
    fc.property(
      fc.oneof(
        decided.map((it) => () => lines.decided(it)),
        ended.map((it) => () => lines.ended(it)),
      ),
      (encode) => {
        const json = outcomeOf(encode)
        // of whole numbers those of 15 digits: all are read as they are written
        if (json === 'AUDIT_RECORD_INVALID' || !isPlain.test(json.replaceAll('"', '')) || /\d{16}/.test(json))
          return
        seen.plain += 1
        expect(plainKey(Buffer.from(json), ENCODING)).toBeDefined()
      },
    ),
  )
  expect(seen.plain).toBeGreaterThan(0)
})

test('texts of thousands of peers do not add up, and parties of one serial are told apart', () => {
  const lines = openLineEncoder()
  const base = { at: 1, callId: 'c', direction: 'ingress', callerKind: 'agent', operation: 'GET /' } as const
  const rest = {
    scope: null,
    decision: 'permit',
    reason: 'OK',
    grant: null,
    policyVersion: 1,
    traceparent: null,
  } as const
  for (let nth = 0; nth < 5000; nth += 1) {
    const caller = { id: `spiffe://a.example/agent/${nth}`, instance: null, serial: String(nth % 7) }
    const record = { ...base, ...rest, caller, callee: caller, rule: `policy.yaml:${nth}` }
    expect(lines.decided(record)).toBe(encodeStrictly({ kind: 'decided', ...record }).bytes.toString())
  }
})

test('a decision that differs in one member from the last of its operation is told apart', () => {
  const lines = openLineEncoder()
  const member = fc.constantFrom(...(Object.keys(plain) as (keyof typeof plain)[]))
  fc.assert(
    fc.property(decided, member, (other, name) => {
      const changed = { ...plain, [name]: other[name] }
      for (const it of [plain, changed, plain]) {
        const strict = outcomeOf(() => encodeStrictly({ kind: 'decided', ...it }).bytes.toString())
        expect(outcomeOf(() => lines.decided(it))).toBe(strict)
      }
    }),
  )
})

const someone: Party = { id: 'spiffe://a.example/agent/one', instance: 'i', serial: '1' }
const plain: Omit<Decided, 'kind'> = {
  at: 1,
  callId: 'c',
  direction: 'egress',
  caller: someone,
  callerKind: 'agent',
  callee: { ...someone, serial: '2' },
  operation: 'GET /',
  scope: 's',
  decision: 'permit',
  reason: 'OK',
  rule: 'policy.yaml:1',
  grant: null,
  policyVersion: 1,
  traceparent: null,
}
