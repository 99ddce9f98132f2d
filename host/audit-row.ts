// How a record becomes a line of `audit query`: the decision of a call and its end in one, a refusal, a note, an action at the CA.

import type {
  Action,
  Decided,
  Direction,
  Ended,
  Note,
  Outcome,
  Refusal,
  Verdict,
} from '../mesh/audit-record.js'

/** One line of `audit query`: a call (its decision and end merged), a counted refusal, a note or an action at the CA. Null: not known or not apt. */
export interface AuditRow {
  readonly kind: 'call' | 'refusal' | 'note' | 'action'
  readonly callId: string | null
  /** SPIFFE IDs. Of a refusal at ingress: the peer is the caller; of a note: who wrote it. */
  readonly caller: string | null
  readonly callee: string | null
  readonly direction: Direction | null
  readonly operation: string | null
  readonly scope: string | null
  readonly decision: Verdict | null
  /** Null while the call runs. */
  readonly outcome: Outcome | null
  /** `OK` or an error code; of a note, its event. */
  readonly reason: string
  readonly status: number | null
  /** When it was decided, ms since epoch. */
  readonly at: number
  readonly durationUs: number | null
  readonly bytesIn: number | null
  readonly bytesOut: number | null
  readonly ledgerId: string
  /** Sequence number of the decision (refusal, note). */
  readonly seq: number
  /** SPIFFE ID of the sidecar whose ledger it is. */
  readonly author: string | null
  readonly rule: string | null
  readonly grant: string | null
  readonly policyVersion: number | null
  readonly callerKind: 'agent' | 'foreign' | null
  readonly callerInstance: string | null
  readonly callerSerial: string | null
  readonly calleeInstance: string | null
  readonly calleeSerial: string | null
  readonly traceparent: string | null
  /** Address prefix and number of the connections that a refusal counts. */
  readonly source: string | null
  readonly count: number | null
  /** Text of a note; of an action, what more there is to say. */
  readonly detail: string | null
  /** Of an action: `local-admin`, `join-token`, `ca` or a SPIFFE ID; and what it was done to. */
  readonly who: string | null
  readonly object: string | null
}

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
  who: null,
  object: null,
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

/** The actor is the caller where it has an identity; there is no callee. */
export function actionRow(place: Place, action: Action): AuditRow {
  const { who, caller, source, operation, object, detail, decision, reason } = action
  return {
    ...BLANK,
    ...place,
    kind: 'action',
    caller: caller.id,
    callerInstance: caller.instance,
    callerSerial: caller.serial,
    who,
    source,
    operation,
    object,
    detail,
    decision,
    reason,
    outcome: decision === 'permit' ? 'completed' : 'failed',
  }
}
