// The heads that leave: what the sidecar adds (identity, call, path), and what it takes away because somebody else may have written
// it. An app may trust x-troth-* and x-forwarded-client-cert only because nothing from outside ever passes under these names.

import type { SpiffeId } from '../../mesh/spiffe-id.js'
import type { Svid } from '../../mesh/svid.js'
import { foldName, type RawFields } from '../http/message.js'
import type { Trace } from './trace.js'
import { formatClaim, TROTH_CALL } from './troth-call.js'

/** Our name in Via (RFC 9110 §7.6.3). */
const VIA = '1.1 troth'

const IDENTITY: ReadonlySet<string> = new Set([
  TROTH_CALL,
  'x-forwarded-client-cert',
  // RFC 9440
  'client-cert',
  'client-cert-chain',
])
/** Claims about who is at the other end of a hop; the ingress alone knows. */
const FORWARDING: ReadonlySet<string> = new Set([
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
const OVERRIDING: ReadonlySet<string> = new Set([
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
])
/** For this hop alone: what speaks to a proxy, and what the door has answered itself. */
const OF_THIS_HOP: ReadonlySet<string> = new Set([
  'expect',
  'http2-settings',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
])

/** Framing and addressing; their own spellings are the codec's, and any other is somebody's attempt. */
const OF_THE_CODEC: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** True for a field that speaks of identity or of the sidecar, however it is spelled. */
export function isIdentityField(name: string): boolean {
  const folded = foldName(name)
  return IDENTITY.has(folded) || folded.startsWith('x-troth-')
}

/** What becomes of a field: the strictest hop that drops it. */
type Fate = 'passes' | 'referer' | 'not-to-app' | 'dropped'

/** Names are few: what was thought of one is kept, for as many as a head of an attacker cannot fill. */
const MAX_NAMES = 1024

/** Decides about names, and remembers what it decided. One an identity. */
export class FieldRules {
  readonly #known = new Map<string, Fate>()

  fateOf(name: string): Fate {
    const known = this.#known.get(name)
    if (known !== undefined) return known
    const fate = judge(name)
    if (this.#known.size < MAX_NAMES) this.#known.set(name, fate)
    return fate
  }
}

function judge(name: string): Fate {
  if (name === 'referer') return 'referer'
  const folded = foldName(name)
  if (isIdentityField(name) || OF_THIS_HOP.has(folded)) return 'dropped'
  if (folded !== name && OF_THE_CODEC.has(folded)) return 'dropped'
  return FORWARDING.has(folded) || OVERRIDING.has(folded) ? 'not-to-app' : 'passes'
}

/** The fields that the egress sends to the callee's sidecar. */
export function fieldsToMesh(
  rules: FieldRules,
  fields: RawFields,
  trace: Trace,
  claim: { readonly id: string; readonly sentAt: number },
): string[] {
  const out = passedOn(rules, fields, trace, 'to-mesh')
  out.push(TROTH_CALL, formatClaim(claim))
  return out
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

/** The fields that the ingress sends to the app. */
export function fieldsToApp(rules: FieldRules, fields: RawFields, trace: Trace, proven: ForApp): string[] {
  const { caller, callId, scopes, ingressSecret, meshHost } = proven
  const out = passedOn(rules, fields, trace, 'to-app')
  out.push('x-forwarded-host', meshHost)
  out.push('x-forwarded-proto', 'http')
  out.push('x-forwarded-client-cert', caller.xfcc)
  out.push('x-troth-caller', caller.svid.id)
  out.push('x-troth-scopes', scopes.length === 1 ? (scopes[0] ?? '') : scopes.join(' '))
  out.push('x-troth-call-id', callId)
  out.push('x-troth-ingress', ingressSecret)
  return out
}

/** The fields of an answer for the next hop: none of those that only the sidecars may speak. */
export function fieldsOfAnswer(rules: FieldRules, fields: RawFields): string[] {
  const out: string[] = []
  let via = ''
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? ''
    if (name === 'via') via += `${fields[at + 1] ?? ''}, `
    else if (rules.fateOf(name) !== 'dropped') out.push(name, fields[at + 1] ?? '')
  }
  out.push('via', via + VIA)
  return out
}

/**
 * Fields that come beside a head, in interim answers and trailers: nobody adds anything there, so whatever speaks of identity, of a
 * credential or of a hop is somebody's attempt.
 */
export function fieldsBesideHead(rules: FieldRules, fields: RawFields): string[] {
  const out: string[] = []
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? ''
    if (rules.fateOf(name) === 'passes') out.push(name, fields[at + 1] ?? '')
  }
  return out
}

function passedOn(rules: FieldRules, fields: RawFields, trace: Trace, way: Way): string[] {
  const out: string[] = []
  let via = ''
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? ''
    const value = fields[at + 1] ?? ''
    if (name === 'via') via += `${value}, `
    else if (name === 'traceparent' || name === 'tracestate') {
      if (trace.received) out.push(name, value)
    } else if (passes(rules.fateOf(name), value, way)) out.push(name, value)
  }
  out.push('via', via + VIA)
  if (!trace.received) out.push('traceparent', trace.traceparent)
  return out
}

type Way = 'to-mesh' | 'to-app'

/** @param value of a referer: the address of the path form holds the local credential */
function passes(fate: Fate, value: string, way: Way): boolean {
  if (fate === 'referer') return way === 'to-app' || !value.includes('/~')
  return fate === 'passes' || (fate === 'not-to-app' && way === 'to-mesh')
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
