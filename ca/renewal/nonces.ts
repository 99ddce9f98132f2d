// The numbers that the CA gives for one renewal after expiry each. They carry their own end and a MAC, so that asking for one costs the
// CA no memory; only those that were spent are remembered, and only until they would have ended anyway.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../host/clock.js'
import { MeshError } from '../../mesh/errors.js'

export interface Nonces {
  issue(): string
  /** Of any number of attempts with one nonce one passes. @throws MeshError RENEW_NONCE_INVALID | RENEW_TOO_OFTEN */
  spend(nonce: string): void
}

const LIFE_MS = 60_000
/** Spent within one life, by holders of keys that were ours. */
const SPENT_MAX = 20_000
const END_BYTES = 6
const BODY_BYTES = END_BYTES + 16
const MAC_BYTES = 16

/** Those of another process are not known here: a restart makes members ask again. */
export function openNonces(clock: Clock): Nonces {
  const secret = randomBytes(32)
  const spent = new Map<string, number>()
  const macOf = (body: Buffer): Buffer =>
    createHmac('sha256', secret).update(body).digest().subarray(0, MAC_BYTES)
  return {
    issue() {
      const body = randomBytes(BODY_BYTES)
      // the monotonic clock: no jump of the wall clock makes one live longer
      body.writeUIntBE(Math.floor(clock.monotonic()) + LIFE_MS, 0, END_BYTES)
      return Buffer.concat([body, macOf(body)]).toString('base64url')
    },
    spend(nonce) {
      const bytes = Buffer.from(nonce, 'base64url')
      const body = bytes.subarray(0, BODY_BYTES)
      const isOurs =
        bytes.length === BODY_BYTES + MAC_BYTES && timingSafeEqual(bytes.subarray(BODY_BYTES), macOf(body))
      const now = clock.monotonic()
      const endsAt = isOurs ? body.readUIntBE(0, END_BYTES) : 0
      // the bytes name it: base64url has several spellings of one number
      const name = bytes.toString('hex')
      if (!isOurs || endsAt <= now || spent.has(name))
        throw new MeshError('RENEW_NONCE_INVALID', 'the number for this renewal was spent, or is too old')
      forget(spent, now)
      if (spent.size >= SPENT_MAX)
        throw new MeshError('RENEW_TOO_OFTEN', 'too many members renew after expiry at once')
      spent.set(name, endsAt)
    },
  }
}

/** All live equally long, so the map is nearly in the order of their ends; what is out of order goes a little later. */
function forget(spent: Map<string, number>, now: number): void {
  for (const [name, endsAt] of spent) {
    if (endsAt > now) return
    spent.delete(name)
  }
}
