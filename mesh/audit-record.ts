// One record of the audit ledger: what is written, its exact bytes, and how they are read back. The bytes are what the
// ledger keeps, ships and (later) hashes; they are never re-serialised. Bytes carry the version of their encoding.

import { MeshError } from './errors.js'
import { integer, nullable, oneOf, type Reader, readJson, record, text, variant } from './parse.js'

export type Direction = 'egress' | 'ingress'
export type Verdict = 'permit' | 'deny'
/** How a call ended. `cut`: by us, for a reason (revocation, expiry). `unknown`: nobody saw the end (crash). */
export type Outcome = 'completed' | 'failed' | 'aborted' | 'cut' | 'unknown'

/** One end of a call, as the other end's certificate proved it. Null members: not known (a refused or unresolved peer). */
export interface Party {
  readonly id: string | null
  readonly instance: string | null
  readonly serial: string | null
}

/** Written, and committed, before a permitted call is forwarded; and for every denied call. */
export interface Decided {
  readonly kind: 'decided'
  readonly at: number
  readonly callId: string
  readonly direction: Direction
  readonly caller: Party
  /** `agent`, or `foreign` for a caller whose call id we minted because it sent none. */
  readonly callerKind: 'agent' | 'foreign'
  readonly callee: Party
  /** E.g. `GET /tickets/42`; the canonical form that was judged and forwarded. */
  readonly operation: string
  /** The scope that the operation needs; null where none was looked up. */
  readonly scope: string | null
  readonly decision: Verdict
  /** `OK` or an error code of mesh/errors. */
  readonly reason: string
  /** The policy lines that decided: the operation's and the grant's, as `policy.yaml:12`. */
  readonly rule: string | null
  readonly grant: string | null
  readonly policyVersion: number | null
  readonly traceparent: string | null
}

/** The end of a call that was decided before, in the same ledger. */
export interface Ended {
  readonly kind: 'ended'
  readonly at: number
  readonly callId: string
  readonly direction: Direction
  readonly outcome: Outcome
  /** `OK`, or the error code that ended it (PEER_REVOKED, APP_UNREACHABLE, the callee's denial, ...). */
  readonly reason: string
  readonly status: number | null
  /** Body bytes from the caller to the callee, and back. */
  readonly bytesIn: number
  readonly bytesOut: number
  readonly durationUs: number
}

/** Connections or requests turned away before there was a call: counted per reason and source over ten seconds. */
export interface Refusal {
  readonly kind: 'refusal'
  readonly at: number
  readonly direction: Direction
  readonly reason: string
  readonly peer: Party
  /** Address prefix: /24 of IPv4, /48 of IPv6, or `local`. */
  readonly source: string
  readonly count: number
}

/** What happened to the ledger or the identity itself: `opened`, `rotated`, `gap`, `self-revoked`, ... */
export interface Note {
  readonly kind: 'note'
  readonly at: number
  readonly event: string
  readonly detail: string
  readonly self: Party
}

/** Something that was done at the CA, or refused there. Only the CA writes these, in its own ledger. */
export interface Action {
  readonly kind: 'action'
  readonly at: number
  /** `local-admin`, `join-token`, `ca`, or the SPIFFE ID of `caller`. */
  readonly who: string
  /** As its certificate proved it; nobody where there was none. */
  readonly caller: Party
  /** Address that it came from; null on the CA's own host. */
  readonly source: string | null
  /** E.g. `agent.add`. */
  readonly operation: string
  /** What it was done to: a SPIFFE ID, a serial, ... */
  readonly object: string
  readonly detail: string | null
  /** `deny`: it was not done. */
  readonly decision: Verdict
  /** `OK` or an error code of mesh/errors. */
  readonly reason: string
}

export type AuditRecord = Decided | Ended | Refusal | Note | Action

/**
 * Version of the byte encoding below: how members become bytes. A new kind of record leaves it as it is, because the bytes of the
 * kinds before it read as they did; a member that is added, lost or changed is a new version.
 */
export const ENCODING = 1

/** The party that is not known. */
export const NOBODY: Party = { id: null, instance: null, serial: null }

const party: Reader<Party> = record({
  id: nullable(text()),
  instance: nullable(text(64)),
  serial: nullable(text(64)),
})
const direction = oneOf('egress', 'ingress')

const READ_RECORD: Reader<AuditRecord> = variant('kind', {
  decided: record({
    at: integer(0),
    callId: text(64),
    direction,
    caller: party,
    callerKind: oneOf('agent', 'foreign'),
    callee: party,
    operation: text(16_384),
    scope: nullable(text(256)),
    decision: oneOf('permit', 'deny'),
    reason: text(64),
    rule: nullable(text(256)),
    grant: nullable(text(256)),
    policyVersion: nullable(integer(0)),
    traceparent: nullable(text(256)),
  }),
  ended: record({
    at: integer(0),
    callId: text(64),
    direction,
    outcome: oneOf('completed', 'failed', 'aborted', 'cut', 'unknown'),
    reason: text(64),
    status: nullable(integer(100, 999)),
    bytesIn: integer(0),
    bytesOut: integer(0),
    durationUs: integer(0),
  }),
  refusal: record({
    at: integer(0),
    direction,
    reason: text(64),
    peer: party,
    source: text(64),
    count: integer(1),
  }),
  note: record({ at: integer(0), event: text(64), detail: text(1024), self: party }),
  action: record({
    at: integer(0),
    who: text(2048),
    caller: party,
    source: nullable(text(64)),
    operation: text(64),
    object: text(2048),
    detail: nullable(text(1024)),
    decision: oneOf('permit', 'deny'),
    reason: text(64),
  }),
})

/** The exact bytes of a record: JSON, members in the order written above, UTF-8. */
export function encodeRecord(value: AuditRecord): Buffer {
  return Buffer.from(JSON.stringify(value), 'utf8')
}

/**
 * Reads stored or shipped bytes.
 * @throws MeshError AUDIT_RECORD_INVALID when the encoding is unknown or the bytes do not decode
 */
export function decodeRecord(bytes: Uint8Array, encoding: number): AuditRecord {
  if (encoding !== ENCODING) throw new MeshError('AUDIT_RECORD_INVALID', `encoding ${encoding} is not known`)
  return readJson(bytes, READ_RECORD, 'audit record', 'AUDIT_RECORD_INVALID')
}
