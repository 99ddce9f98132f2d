// Who may speak at the plaintext door: no browser page, nobody who reached it under another name (DNS rebinding), and only who knows
// the local credential. `Authorization` belongs to the callee's app: it is never read here.

import { createHash, timingSafeEqual } from 'node:crypto'
import { MeshError } from '../../mesh/errors.js'
import { firstOf, type RawFields, valuesOf } from '../http/message.js'

/** Fields that a browser adds and a page's script cannot leave out. */
const BROWSER_FIELDS = ['origin', 'sec-fetch-site']

/**
 * @param authority the host that the request names, lower case
 * @param isAbsolute it is named beside the connection: it may be a host of the mesh
 * @param door its own names, and its port
 * @returns the host when it is another one than this door, null when it is this door
 * @throws MeshError BROWSER_REFUSED | LOCAL_HOST_INVALID
 */
export function checkLocal(
  fields: RawFields,
  authority: string,
  isAbsolute: boolean,
  { names, port }: DoorNames,
): string | null {
  for (const field of BROWSER_FIELDS)
    if (firstOf(fields, field) !== undefined)
      throw new MeshError('BROWSER_REFUSED', `requests with ${field} come from web pages and are refused`)
  if (names.includes(authority)) return null
  if (isAbsolute) return authority
  throw new MeshError('LOCAL_HOST_INVALID', 'Host does not name this door', {
    hint: `use http://127.0.0.1:${port}`,
  })
}

/** How a door may be called. */
export interface DoorNames {
  readonly port: number
  /** `host:port`, lower case. */
  readonly names: readonly string[]
}

export const namesOfDoor = (port: number): DoorNames => ({
  port,
  names: [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`],
})

/**
 * @param proven what this connection has shown before: who shows it again is not hashed again
 * @returns what was shown now
 * @throws MeshError LOCAL_CREDENTIAL_REQUIRED
 */
export type CredentialCheck = (fields: RawFields, fromPath: string | null, proven: string | null) => string

/** A check against one credential, in constant time. */
export function credentialCheck(credential: string): CredentialCheck {
  const wanted = digest(credential)
  return (fields, fromPath, proven) => {
    if (fromPath !== null && fromPath === proven) return proven
    let shown: string | undefined
    for (const given of offered(fields, fromPath)) if (timingSafeEqual(digest(given), wanted)) shown = given
    if (shown === undefined)
      throw new MeshError('LOCAL_CREDENTIAL_REQUIRED', 'the request carries no valid local credential')
    return shown
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
