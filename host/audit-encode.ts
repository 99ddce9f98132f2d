// From a record to the bytes that are stored for ever. What would not read back strictly must never be stored: the collector
// would refuse it, and every record behind it would wait.

import {
  type Action,
  type AuditRecord,
  type Decided,
  decodeRecord,
  ENCODING,
  type Ended,
  encodeRecord,
  type Party,
} from '../mesh/audit-record.js'
import { MeshError } from '../mesh/errors.js'
import type { EncodedRecord } from './audit-layout.js'

/** What the wire carries of one record, before base64 (mesh/wire/audit). */
const MAX_BYTES = 48 * 1024
const PLAIN_BYTES = 1024
const BACKSLASH = 0x5c
const DELETE = 0x7f

/**
 * The exact bytes of a record. A full decode of each record would double the cost of the call path (5 us); short ones without an
 * escape are only measured field by field.
 * @throws MeshError AUDIT_RECORD_INVALID
 */
export function encodeStrictly(record: AuditRecord): EncodedRecord {
  const bytes = encodeRecord(inOrder(record))
  const plain = bytes.length <= PLAIN_BYTES && !bytes.includes(BACKSLASH) && !bytes.includes(DELETE)
  if (!plain || !fits(record)) {
    if (bytes.length > MAX_BYTES)
      throw new MeshError('AUDIT_RECORD_INVALID', `a record of ${bytes.length} bytes is too long`)
    decodeRecord(bytes, ENCODING)
  }
  return { encoding: ENCODING, bytes }
}

/** Exactly the members that the encoding names, in its order, whatever else the object carries. */
function inOrder(record: AuditRecord): AuditRecord {
  switch (record.kind) {
    case 'decided':
      return decidedInOrder(record)
    case 'ended':
      return endedInOrder(record)
    case 'refusal': {
      const { kind, at, direction, reason, peer, source, count } = record
      return { kind, at, direction, reason, peer: partyInOrder(peer), source, count }
    }
    case 'note': {
      const { kind, at, event, detail, self } = record
      return { kind, at, event, detail, self: partyInOrder(self) }
    }
    case 'action':
      return actionInOrder(record)
  }
}

const partyInOrder = ({ id, instance, serial }: Party): Party => ({ id, instance, serial })

const decidedInOrder = (it: Decided): Decided => ({
  kind: it.kind,
  at: it.at,
  callId: it.callId,
  direction: it.direction,
  caller: partyInOrder(it.caller),
  callerKind: it.callerKind,
  callee: partyInOrder(it.callee),
  operation: it.operation,
  scope: it.scope,
  decision: it.decision,
  reason: it.reason,
  rule: it.rule,
  grant: it.grant,
  policyVersion: it.policyVersion,
  traceparent: it.traceparent,
})

const endedInOrder = (it: Ended): Ended => ({
  kind: it.kind,
  at: it.at,
  callId: it.callId,
  direction: it.direction,
  outcome: it.outcome,
  reason: it.reason,
  status: it.status,
  bytesIn: it.bytesIn,
  bytesOut: it.bytesOut,
  durationUs: it.durationUs,
})

const actionInOrder = (it: Action): Action => ({
  kind: it.kind,
  at: it.at,
  who: it.who,
  caller: partyInOrder(it.caller),
  source: it.source,
  operation: it.operation,
  object: it.object,
  detail: it.detail,
  decision: it.decision,
  reason: it.reason,
})

const short = (text: string | null, max: number): boolean => text === null || text.length <= max
const whole = (value: number | null): boolean => value === null || (Number.isSafeInteger(value) && value >= 0)
const named = ({ instance, serial }: Party): boolean => short(instance, 64) && short(serial, 64)

/** Every limit that a record of PLAIN_BYTES without escapes could still break. */
function fits(record: AuditRecord): boolean {
  if (!whole(record.at)) return false
  switch (record.kind) {
    case 'decided':
      return (
        short(record.callId, 64) &&
        short(record.reason, 64) &&
        named(record.caller) &&
        named(record.callee) &&
        [record.scope, record.rule, record.grant, record.traceparent].every((text) => short(text, 256)) &&
        whole(record.policyVersion)
      )
    case 'ended':
      return (
        short(record.callId, 64) &&
        short(record.reason, 64) &&
        (record.status === null || (whole(record.status) && record.status >= 100 && record.status <= 999)) &&
        whole(record.bytesIn) &&
        whole(record.bytesOut) &&
        whole(record.durationUs)
      )
    // Rare: decoded in full.
    case 'refusal':
    case 'note':
    case 'action':
      return false
  }
}
