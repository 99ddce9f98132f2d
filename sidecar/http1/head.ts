// What Node's own parser lets through and a proxy must refuse (RFC 9112 §2.3, §3.2, §6.1; RFC 9110 §7.6.1, §7.8): judged on the raw
// head, once, before anything else looks at it. Pure. It refuses, it never repairs.

import { MeshError } from '../../mesh/errors.js'
import { foldName, type RawFields, tokensOf, valuesOf } from './fields.js'

/** A head as it was received. */
export interface RawHead {
  readonly method: string
  readonly target: string
  /** `1.1`, as node:http names it. */
  readonly version: string
  readonly fields: RawFields
}

export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | {
      readonly kind: 'chunked'
    }

export interface RequestHead {
  readonly method: string
  /** The authority of an absolute-form target, lower case; null for origin form. */
  readonly authority: string | null
  /** Path and query as they came: not yet canonical. */
  readonly originForm: string
  /** Lower case; null where HTTP/1.0 sent none. */
  readonly host: string | null
  readonly framing: Framing
  readonly fields: RawFields
}

export const HEAD_MAX_BYTES = 64 * 1024
export const HEAD_MAX_FIELDS = 200

const AUTHORITY = /^(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/
const ABSOLUTE = /^http:\/\/([^/?#]*)([/?#].*)?$/i
/** Fields that Connection must not take away from the next hop. */
const NOT_TO_NOMINATE = new Set([
  'authorization',
  'content-length',
  'content-type',
  'cookie',
  'host',
  'transfer-encoding',
])

/**
 * Reads the head of a request.
 *
 * @param isIdentity true for the folded names of fields that speak of identity: Connection may not nominate them
 * @throws MeshError CALL_MALFORMED | CALL_VERSION_UNSUPPORTED | CALL_CODING_UNSUPPORTED | CALL_HEAD_TOO_LARGE | CALL_UPGRADE_REFUSED
 */
export function readHead(raw: RawHead, isIdentity: (name: string) => boolean): RequestHead {
  const { method, target, version, fields } = raw
  if (version !== '1.1' && version !== '1.0')
    throw new MeshError('CALL_VERSION_UNSUPPORTED', `HTTP/${version} is not served`)
  if (fields.length > HEAD_MAX_FIELDS * 2)
    throw new MeshError('CALL_HEAD_TOO_LARGE', `the head has more than ${HEAD_MAX_FIELDS} fields`)
  // TRACE would show the caller what only the app may see: the secrets and the identity that the last hop adds.
  if (method === 'TRACE' || method === 'CONNECT') throw malformed(`${method} is not served`)
  if (valuesOf(fields, 'upgrade').length > 0)
    throw new MeshError('CALL_UPGRADE_REFUSED', 'protocol upgrades are not served')
  checkNominations(fields, isIdentity)
  const framing = readFraming(fields, version)
  const host = readHost(fields, version)
  const { authority, originForm } = readTarget(target)
  if (authority !== null && host !== null && plainAuthority(host) !== plainAuthority(authority))
    throw malformed('Host and target name two different hosts')
  return { method, authority, originForm, host, framing, fields }
}

function readTarget(target: string): Pick<RequestHead, 'authority' | 'originForm'> {
  if (target.startsWith('/')) return { authority: null, originForm: target }
  const absolute = ABSOLUTE.exec(target)
  if (absolute === null) throw malformed('the target is neither a path nor an http:// URL')
  const [, authority = '', rest = '/'] = absolute
  if (!AUTHORITY.test(authority)) throw malformed('the host of the target is not host[:port]')
  return { authority: authority.toLowerCase(), originForm: rest.startsWith('?') ? `/${rest}` : rest }
}

function readHost(fields: RawFields, version: string): string | null {
  const hosts = valuesOf(fields, 'host')
  const [host] = hosts
  if (hosts.length > 1) throw malformed('the head has more than one Host')
  if (host === undefined) {
    if (version === '1.0') return null
    throw malformed('the head has no Host')
  }
  if (!AUTHORITY.test(host)) throw malformed('Host is not host[:port]')
  return host.toLowerCase()
}

function readFraming(fields: RawFields, version: string): Framing {
  const lengths = valuesOf(fields, 'content-length')
  const codings = valuesOf(fields, 'transfer-encoding')
  if (codings.length > 0) {
    if (version !== '1.1') throw malformed('HTTP/1.0 has no Transfer-Encoding')
    if (lengths.length > 0) throw malformed('the head has Content-Length and Transfer-Encoding')
    if (codings.length > 1 || codings[0]?.toLowerCase() !== 'chunked')
      throw new MeshError('CALL_CODING_UNSUPPORTED', 'only the transfer coding chunked is served')
    return { kind: 'chunked' }
  }
  const [length] = lengths
  if (length === undefined) return { kind: 'none' }
  if (lengths.length > 1 || !/^\d{1,15}$/.test(length)) throw malformed('Content-Length is not one number')
  return { kind: 'length', bytes: Number(length) }
}

function checkNominations(fields: RawFields, isIdentity: (name: string) => boolean): void {
  for (const token of tokensOf(fields, 'connection')) {
    const name = foldName(token)
    if (NOT_TO_NOMINATE.has(name) || isIdentity(name))
      throw malformed(`Connection nominates ${JSON.stringify(name.slice(0, 40))}`)
  }
}

const plainAuthority = (authority: string): string => authority.replace(/:80$/, '')

const malformed = (why: string): MeshError => new MeshError('CALL_MALFORMED', why)
