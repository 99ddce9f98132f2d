// Join tokens as the CA makes them: 256 random bits, single use, ten minutes, stored only as a hash.

import { createHash, randomBytes } from 'node:crypto'

export const TOKEN_LIFE_MS = 600_000

/** The secret part of a new token. */
export function newSecret(): string {
  return randomBytes(32).toString('base64url')
}

/** SHA-256, lower-case hex. The secret has full entropy, so no slow hash is needed; look-up by hash leaks no timing of the secret. */
export function hashOfSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}
