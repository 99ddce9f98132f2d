// How a record becomes a line of `audit query`: the decision of a call and its end in one, a refusal, a note.

import type { Decided, Ended, Note, Refusal } from '../mesh/audit-record.js'
import type { AuditRow } from './audit-table.js'

/** Where a record stands. */
export type Place = Pick<AuditRow, 'ledgerId' | 'seq' | 'author' | 'at'>

type Fields = Omit<AuditRow, keyof Place | 'kind' | 'reason'>

const BLANK: Fields = {
  callId: null,
  caller: null,
  callee: null,
  direction: null,
  operation: null,
  scope: null,
  decision: null,
  outcome: null,
  status: null,
  durationUs: null,
  bytesIn: null,
  bytesOut: null,
  rule: null,
  grant: null,
  policyVersion: null,
  callerKind: null,
  callerInstance: null,
  callerSerial: null,
  calleeInstance: null,
  calleeSerial: null,
  traceparent: null,
  source: null,
  count: null,
  detail: null,
}

/** The reason of a denial is the decision's; of a permitted call, how it ended. */
export function callRow(place: Place, decided: Decided, ended: Ended | undefined): AuditRow {
  const { caller, callee } = decided
  return {
    ...BLANK,
    ...place,
    kind: 'call',
    callId: decided.callId,
    caller: caller.id,
    callee: callee.id,
    direction: decided.direction,
    operation: decided.operation,
    scope: decided.scope,
    decision: decided.decision,
    outcome: ended?.outcome ?? null,
    reason: decided.decision === 'deny' ? decided.reason : (ended?.reason ?? decided.reason),
    status: ended?.status ?? null,
    durationUs: ended?.durationUs ?? null,
    bytesIn: ended?.bytesIn ?? null,
    bytesOut: ended?.bytesOut ?? null,
    rule: decided.rule,
    grant: decided.grant,
    policyVersion: decided.policyVersion,
    callerKind: decided.callerKind,
    callerInstance: caller.instance,
    callerSerial: caller.serial,
    calleeInstance: callee.instance,
    calleeSerial: callee.serial,
    traceparent: decided.traceparent,
  }
}

/** The peer of a refusal stands where it would have stood in a call. */
export function refusalRow(place: Place, { direction, reason, peer, source, count }: Refusal): AuditRow {
  const at =
    direction === 'ingress'
      ? { caller: peer.id, callerInstance: peer.instance, callerSerial: peer.serial }
      : { callee: peer.id, calleeInstance: peer.instance, calleeSerial: peer.serial }
  return { ...BLANK, ...place, ...at, kind: 'refusal', direction, reason, source, count }
}

export function noteRow(place: Place, { event, detail, self }: Note): AuditRow {
  return {
    ...BLANK,
    ...place,
    kind: 'note',
    caller: self.id,
    callerInstance: self.instance,
    callerSerial: self.serial,
    reason: event,
    detail,
  }
}
