// Call ids: UUIDv7 (RFC 9562 §5.7), made by the caller's sidecar, the same in both ledgers.

import { randomBytes } from 'node:crypto'
import { MeshError } from '../../mesh/errors.js'

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** @param now ms since epoch */
export function newCallId(now: number): string {
  const bytes = randomBytes(16)
  bytes.writeUIntBE(now, 0, 6)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** @throws MeshError CALL_ID_INVALID */
export function parseCallId(text: string): string {
  if (!UUID_V7.test(text)) throw new MeshError('CALL_ID_INVALID', 'the call id is not a UUIDv7')
  return text
}

/** When the id was made, ms since epoch, by its maker's clock. */
export function timeOfCallId(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
}
