// The admin wire of a CA that was restored from a backup: what it waits for, and the end of the waiting.

import { flag, integer, listOf, nullable, type Read, record, text, withDefault, word } from '../parse.js'
import { parseAgentName, parseSpiffeId } from '../spiffe-id.js'

const id = word(parseSpiffeId)

/** What members say was withdrawn in the lost time; `serial` null: the identity itself. */
const claim = record({ id, serial: nullable(text(40)), by: listOf(id, 100_000), inForce: flag })

/**
 * GET /v1/recovery[?after=NEXT], a page; the answer of POST /v1/recovery/confirm, the first page. Null: this CA never was restored.
 * Instants in ms since epoch.
 */
export const READ_RECOVERY = record({
  recovery: nullable(
    record({
      takenAt: integer(0),
      restoredAt: integer(0),
      /** Null: it waits, and issues nothing. */
      endedAt: nullable(integer(0)),
      endedBy: nullable(text(2100)),
      /** Instances that had a living leaf when the backup was taken. */
      awaited: integer(0),
      /** Those of them that have not told yet: of this page. */
      missing: listOf(record({ id, instanceId: text(36) }), 5000),
      claims: listOf(claim, 5000),
      /** What the next page comes after; null: this is the last. */
      next: nullable(text(2200)),
    }),
  ),
})
export type RecoveryShown = Read<typeof READ_RECOVERY>

/** POST /v1/recovery/confirm: `disbelieve` names agents whose word alone revokes nothing. */
export const READ_RECOVERY_CONFIRM = record({
  disbelieve: withDefault(listOf(word(parseAgentName, 63), 1000), []),
})
