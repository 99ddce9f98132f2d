// The one header that travels between sidecars. Request: `troth-call: v=1; id=<uuidv7>; sent=<ms>`, the caller's claim. Answer:
// `troth-call: v=1; id=<uuidv7>`, with `; denied=<CODE>` when the sidecar itself answered, and without id when it turned the whole
// connection away. Never shown to apps or agents.

import { ERRORS, MeshError, type MeshErrorCode } from '../../mesh/errors.js'
import { onlyOf, type RawFields, valuesOf } from '../http/message.js'
import { parseCallId } from './call-id.js'

export const TROTH_CALL = 'troth-call'

/** What sidecars write: the words of nearly every call. Anything else is read member by member. */
const PLAIN_CLAIM =
  /^v=1; id=[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}; sent=\d{1,15}$/
const PLAIN_REPLY = 'v=1; id='
const PLAIN_ID_END = PLAIN_REPLY.length + 36
const PLAIN_SENT_AT = PLAIN_ID_END + '; sent='.length

export interface CallClaim {
  readonly id: string
  /** ms since epoch, by the caller's clock. */
  readonly sentAt: number
}

export interface CallReply {
  /** Null: the connection was refused, not a call. */
  readonly id: string | null
  /** Set when the callee's sidecar answered instead of its app. An unknown code reads as INTERNAL. */
  readonly denied: MeshErrorCode | null
}

export function formatClaim({ id, sentAt }: CallClaim): string {
  return `v=1; id=${id}; sent=${sentAt}`
}

/**
 * @returns the claim; undefined when there is none (a caller without a sidecar)
 * @throws MeshError CALL_ID_INVALID
 */
export function parseClaim(fields: RawFields): CallClaim | undefined {
  const value = onlyOf(fields, TROTH_CALL)
  if (value !== undefined && PLAIN_CLAIM.test(value))
    return { id: value.slice(PLAIN_REPLY.length, PLAIN_ID_END), sentAt: Number(value.slice(PLAIN_SENT_AT)) }
  const members = parseMembers(fields)
  if (members === undefined) return undefined
  const sent = members.get('sent') ?? ''
  if (!/^\d{1,15}$/.test(sent)) throw new MeshError('CALL_ID_INVALID', 'troth-call has no instant')
  return { id: parseCallId(members.get('id') ?? ''), sentAt: Number(sent) }
}

export function formatReply({ id, denied }: CallReply): string {
  return `v=1${id === null ? '' : `; id=${id}`}${denied === null ? '' : `; denied=${denied}`}`
}

/** True for the answer to this call, not denied, in the words that sidecars write; what is in others must be parsed. */
export function isPlainReply(fields: RawFields, callId: string): boolean {
  const value = onlyOf(fields, TROTH_CALL)
  return (
    value !== undefined &&
    value.length === PLAIN_REPLY.length + callId.length &&
    value.startsWith(PLAIN_REPLY) &&
    value.endsWith(callId)
  )
}

/**
 * @returns undefined when the answer is not from a sidecar
 * @throws MeshError CALL_ID_INVALID
 */
export function parseReply(fields: RawFields): CallReply | undefined {
  const members = parseMembers(fields)
  if (members === undefined) return undefined
  const id = members.get('id')
  const denied = members.get('denied')
  return {
    id: id === undefined ? null : parseCallId(id),
    denied:
      denied === undefined ? null : Object.hasOwn(ERRORS, denied) ? (denied as MeshErrorCode) : 'INTERNAL',
  }
}

function parseMembers(fields: RawFields): ReadonlyMap<string, string> | undefined {
  const values = valuesOf(fields, TROTH_CALL)
  const [value] = values
  if (value === undefined) return undefined
  if (values.length > 1 || value.length > 256)
    throw new MeshError('CALL_ID_INVALID', 'troth-call is malformed')
  const members = new Map<string, string>()
  for (const part of value.split(';')) {
    const [, name, text] = /^ *([a-z]+)=([A-Za-z0-9_-]+) *$/.exec(part) ?? []
    if (name === undefined || text === undefined || members.has(name))
      throw new MeshError('CALL_ID_INVALID', 'troth-call is malformed')
    members.set(name, text)
  }
  if (members.get('v') !== '1') throw new MeshError('CALL_ID_INVALID', 'troth-call is of an unknown version')
  return members
}
