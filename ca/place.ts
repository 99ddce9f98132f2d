// Hosts and ports as people write them.

import { isIP } from 'node:net'
import { MeshError } from '../mesh/errors.js'

/** `host:port`, an IPv6 address in brackets. */
export function formatPlace(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Labels of a host name; the last is not a number, which would be part of an address (RFC 1123 §2.1). */
const NAME = /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*(?![0-9]+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i

/** @throws MeshError CONFIG_INVALID */
export function parseHost(text: string): string {
  const host = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text
  if (isIP(host) === 0 && (host.length > 253 || !NAME.test(host)))
    throw new MeshError(
      'CONFIG_INVALID',
      `${JSON.stringify(text.slice(0, 80))} is not a host name or address`,
    )
  return host
}
