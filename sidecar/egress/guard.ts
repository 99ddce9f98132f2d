// Who may speak at the plaintext door: no browser page, nobody who reached it under another name (DNS rebinding), and only who knows
// the local credential. `Authorization` belongs to the callee's app: it is never read here.

import { createHash, timingSafeEqual } from 'node:crypto'
import { MeshError } from '../../mesh/errors.js'
import { type RawFields, valuesOf } from '../http1/fields.js'
import type { RequestHead } from '../http1/head.js'

/** Fields that a browser adds and a page's script cannot leave out. */
const BROWSER_FIELDS = ['origin', 'sec-fetch-site']

/**
 * @param port the port of the door that the request came through
 * @throws MeshError BROWSER_REFUSED | LOCAL_HOST_INVALID
 */
export function checkLocal(head: RequestHead, port: number): void {
  const field = BROWSER_FIELDS.find((name) => valuesOf(head.fields, name).length > 0)
  if (field !== undefined)
    throw new MeshError('BROWSER_REFUSED', `requests with ${field} come from web pages and are refused`)
  if (head.authority !== null) return
  const { host } = head
  if (host !== `127.0.0.1:${port}` && host !== `localhost:${port}` && host !== `[::1]:${port}`)
    throw new MeshError('LOCAL_HOST_INVALID', 'Host does not name this door', {
      hint: `use http://127.0.0.1:${port}`,
    })
}

export type CredentialCheck = (fields: RawFields, fromPath: string | null) => void

/**
 * A check against one credential, in constant time.
 * @returns a function that throws MeshError LOCAL_CREDENTIAL_REQUIRED
 */
export function credentialCheck(credential: string): CredentialCheck {
  const wanted = digest(credential)
  return (fields, fromPath) => {
    let isKnown = false
    for (const given of offered(fields, fromPath)) if (timingSafeEqual(digest(given), wanted)) isKnown = true
    if (!isKnown)
      throw new MeshError('LOCAL_CREDENTIAL_REQUIRED', 'the request carries no valid local credential')
  }
}

/** Everything that may be the credential; at most a few are looked at. */
function offered(fields: RawFields, fromPath: string | null): string[] {
  const found = fromPath === null ? [] : [fromPath]
  found.push(...valuesOf(fields, 'x-troth-local-credential'))
  for (const value of valuesOf(fields, 'proxy-authorization')) {
    const [, scheme = '', rest = ''] = /^(\S+) +(\S+)$/.exec(value.trim()) ?? []
    if (scheme.toLowerCase() === 'bearer') found.push(rest)
    if (scheme.toLowerCase() === 'basic') {
      const pair = Buffer.from(rest, 'base64').toString('utf8')
      found.push(pair.slice(pair.indexOf(':') + 1))
    }
  }
  return found.slice(0, 8)
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
