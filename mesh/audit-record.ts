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

/** A member of a record: how it is read, and a regular expression of those values that JSON can write in one way only. */
interface Member<T> {
  readonly read: Reader<T>
  readonly plain: string
}
type Members = Readonly<Record<string, Member<unknown>>>
type ValueOf<M extends Members> = { [K in keyof M]: M[K] extends Member<infer T> ? T : never }

const texts = (max: number): Member<string> => ({ read: text(max), plain: `"[ !#-[\\]-~]{0,${max}}"` })
const words = <const T extends string>(...options: readonly T[]): Member<T> => ({
  read: oneOf(...options),
  plain: `"(?:${options.join('|')})"`,
})
const whole: Member<number> = { read: integer(0), plain: '(?:0|[1-9]\\d{0,14})' }
const orNull = <T>({ read, plain }: Member<T>): Member<T | null> => ({
  read: nullable(read),
  plain: `(?:null|${plain})`,
})
/** @param taken names of members whose values are groups of the expression */
const plainMembers = (all: Members, taken: readonly string[]): string =>
  Object.entries(all)
    .map(([name, { plain }]) => `"${name}":${taken.includes(name) ? `(${plain})` : plain}`)
    .join(',')
const members = <M extends Members>(all: M): Member<ValueOf<M>> => ({
  read: record(
    Object.fromEntries(Object.entries(all).map(([name, { read }]) => [name, read])),
  ) as Reader<unknown> as Reader<ValueOf<M>>,
  plain: `\\{${plainMembers(all, [])}\\}`,
})

const party: Member<Party> = members({
  id: orNull(texts(4096)),
  instance: orNull(texts(64)),
  serial: orNull(texts(64)),
})
const direction = words('egress', 'ingress')
const verdict = words('permit', 'deny')

const DECIDED = {
  at: whole,
  callId: texts(64),
  direction,
  caller: party,
  callerKind: words('agent', 'foreign'),
  callee: party,
  operation: texts(16_384),
  scope: orNull(texts(256)),
  decision: verdict,
  reason: texts(64),
  rule: orNull(texts(256)),
  grant: orNull(texts(256)),
  policyVersion: orNull(whole),
  traceparent: orNull(texts(256)),
}
const ENDED = {
  at: whole,
  callId: texts(64),
  direction,
  outcome: words('completed', 'failed', 'aborted', 'cut', 'unknown'),
  reason: texts(64),
  status: orNull({ read: integer(100, 999), plain: '[1-9]\\d{2}' }),
  bytesIn: whole,
  bytesOut: whole,
  durationUs: whole,
}

const READ_RECORD: Reader<AuditRecord> = variant('kind', {
  decided: members(DECIDED).read,
  ended: members(ENDED).read,
  refusal: record({
    at: integer(0),
    direction: direction.read,
    reason: text(64),
    peer: party.read,
    source: text(64),
    count: integer(1),
  }),
  note: record({ at: integer(0), event: text(64), detail: text(1024), self: party.read }),
  action: record({
    at: integer(0),
    who: text(2048),
    caller: party.read,
    source: nullable(text(64)),
    operation: text(64),
    object: text(2048),
    detail: nullable(text(1024)),
    decision: verdict.read,
    reason: text(64),
  }),
})

/** What finds a record without reading its bytes; every record has it. */
export interface RecordKey {
  readonly kind: AuditRecord['kind']
  /** ms since epoch. */
  readonly at: number
  readonly callId?: string
}

const lineOf = (kind: 'decided' | 'ended', all: Members): RegExp =>
  new RegExp(`^\\{"kind":"${kind}",${plainMembers(all, ['at', 'callId'])}\\}$`)
const PLAIN_DECIDED = lineOf('decided', DECIDED)
const PLAIN_ENDED = lineOf('ended', ENDED)

/**
 * The key of a decision or an end that stands in its one spelling and holds plain ASCII only: decodeRecord reads the same there, and
 * encodeRecord gives these bytes. At a tenth of their cost.
 * @returns undefined for what has to go that way
 */
export function plainKey(bytes: Buffer, encoding: number): RecordKey | undefined {
  if (encoding !== ENCODING) return undefined
  const line = bytes.toString('latin1')
  const decided = PLAIN_DECIDED.exec(line)
  const [, at, quotedId = ''] = decided ?? PLAIN_ENDED.exec(line) ?? []
  if (at === undefined) return undefined
  return { kind: decided === null ? 'ended' : 'decided', at: Number(at), callId: quotedId.slice(1, -1) }
}

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
