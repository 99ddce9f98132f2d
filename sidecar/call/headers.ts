// The heads that leave: what the sidecar adds (identity, call, path), and what it takes away because somebody else may have written
// it. An app may trust x-troth-* and x-forwarded-client-cert only because nothing from outside ever passes under these names.

import type { SpiffeId } from '../../mesh/spiffe-id.js'
import type { Svid } from '../../mesh/svid.js'
import { endToEnd, foldName, type RawFields, valuesOf } from '../http1/fields.js'
import type { Framing } from '../http1/head.js'
import type { Trace } from './trace.js'
import { formatClaim, TROTH_CALL } from './troth-call.js'

/** Our name in Via (RFC 9110 §7.6.3). */
const VIA = '1.1 troth'

const IDENTITY = new Set([
  TROTH_CALL,
  'x-forwarded-client-cert',
  // RFC 9440
  'client-cert',
  'client-cert-chain',
])
/** Claims about who is at the other end of a hop; the ingress alone knows. */
const FORWARDING = new Set([
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-real-ip',
])

/**
 * Fields by which many frameworks let a request name another method or path than its first line: the app would run an operation
 * that nobody judged. No RFC knows them.
 */
const OVERRIDING = new Set([
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
])

/** True for a field that speaks of identity or of the sidecar, however it is spelled. */
export function isIdentityField(name: string): boolean {
  const folded = foldName(name)
  return IDENTITY.has(folded) || folded.startsWith('x-troth-')
}

export interface Outgoing {
  readonly fields: RawFields
  readonly framing: Framing
  readonly method: string
  readonly host: string
  readonly trace: Trace
}

/** The head that the egress sends to the callee's sidecar. */
export function headToMesh(request: Outgoing, claim: { id: string; sentAt: number }): string[] {
  // the address of the path form holds the local credential
  const tellsCredential = valuesOf(request.fields, 'referer').some((value) => value.includes('/~'))
  const keep = (name: string): boolean => !isIdentityField(name) && !(tellsCredential && name === 'referer')
  return [...requestHead(request, keep), TROTH_CALL, formatClaim(claim)]
}

/** Who calls, as the ingress proved it. */
export interface ProvenCaller {
  readonly svid: Svid
  /** The element of x-forwarded-client-cert, made once a connection. */
  readonly xfcc: string
}

export interface ForApp {
  readonly caller: ProvenCaller
  readonly callId: string
  readonly scopes: readonly string[]
  /** Proves to the app that it was the sidecar who called. */
  readonly ingressSecret: string
  /** The mesh name that was called, e.g. `tickets.mesh`. */
  readonly meshHost: string
}

/** The head that the ingress sends to the app. */
export function headToApp(
  request: Outgoing,
  { caller, callId, scopes, ingressSecret, meshHost }: ForApp,
): string[] {
  return [
    ...requestHead(request, mayReachApp),
    'x-forwarded-host',
    meshHost,
    'x-forwarded-proto',
    'http',
    'x-forwarded-client-cert',
    caller.xfcc,
    'x-troth-caller',
    caller.svid.id,
    'x-troth-scopes',
    scopes.join(' '),
    'x-troth-call-id',
    callId,
    'x-troth-ingress',
    ingressSecret,
  ]
}

function mayReachApp(name: string): boolean {
  const folded = foldName(name)
  return !isIdentityField(name) && !FORWARDING.has(folded) && !OVERRIDING.has(folded)
}

/** The head of an answer for the next hop: its own framing, none of the fields that only the sidecars may speak. */
export function headOfAnswer(fields: RawFields, status: number): string[] {
  const kept = endToEnd(fields, (name) => name !== 'via' && !isIdentityField(name))
  // A 204 has no Content-Length (RFC 9110 §8.6); of several equal ones the parser has left one meaning.
  const [length] = status === 204 ? [] : valuesOf(fields, 'content-length')
  if (length !== undefined && valuesOf(fields, 'transfer-encoding').length === 0)
    kept.push('content-length', length)
  kept.push('via', viaOf(fields))
  return kept
}

/**
 * One element of x-forwarded-client-cert, as Envoy writes it.
 * @param subject as node:crypto gives it: one attribute a line, most significant first
 */
export function formatXfcc(by: SpiffeId, svid: Svid, subject: string): string {
  const name = subject
    .split('\n')
    .filter((line) => line !== '')
    .reverse()
    .join(',')
    .replace(/[^ -~]/g, '?')
    .replace(/["\\]/g, '\\$&')
  return `By=${by};Hash=${svid.fingerprint};Subject="${name}";URI=${svid.id}`
}

function requestHead(
  { fields, framing, method, host, trace }: Outgoing,
  keep: (name: string) => boolean,
): string[] {
  const head = ['host', host]
  head.push(
    ...endToEnd(
      fields,
      (name) =>
        name !== 'via' && keep(name) && (trace.received || (name !== 'traceparent' && name !== 'tracestate')),
    ),
  )
  if (framing.kind === 'chunked') head.push('transfer-encoding', 'chunked')
  else if (framing.kind === 'length') head.push('content-length', String(framing.bytes))
  else if (EXPECTS_BODY.has(method)) head.push('content-length', '0')
  head.push('via', viaOf(fields))
  if (!trace.received) head.push('traceparent', trace.traceparent)
  return head
}

/** Methods whose absent body is said aloud (RFC 9110 §8.6). */
const EXPECTS_BODY = new Set(['POST', 'PUT', 'PATCH'])

const viaOf = (fields: RawFields): string => [...valuesOf(fields, 'via'), VIA].join(', ')
