// How a certificate is named on the command line, and the one word for how it stands.

import { InvalidArgumentError } from 'commander'
import type { CertInfo } from '../../../mesh/wire/admin.js'

/** Takes what openssl and browsers print too: upper case, colons. */
export function serialNumber(raw: string): string {
  const serial = raw.replaceAll(':', '').toLowerCase()
  if (!/^[0-9a-f]{1,40}$/.test(serial))
    throw new InvalidArgumentError('It must be at most 40 hexadecimal digits.')
  return serial
}

export function stateOf({ revokedAt, revokedFor, supersededAt, notAfter }: CertInfo, now: number): string {
  if (revokedFor === 'suspended') return 'suspended'
  if (revokedAt !== null) return 'revoked'
  if (notAfter <= now) return 'expired'
  return supersededAt === null ? 'valid' : 'replaced'
}
