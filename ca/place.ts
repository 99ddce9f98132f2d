// Hosts and ports as people write them.

import { MeshError } from '../mesh/errors.js'

/** `host:port`, an IPv6 address in brackets. */
export function formatPlace(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** @throws MeshError CONFIG_INVALID */
export function parseHost(text: string): string {
  const host = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text
  if (!/^[A-Za-z0-9.-]{1,253}$/.test(host) && !/^[0-9a-fA-F:.]{2,45}$/.test(host))
    throw new MeshError(
      'CONFIG_INVALID',
      `${JSON.stringify(text.slice(0, 80))} is not a host name or address`,
    )
  return host
}
