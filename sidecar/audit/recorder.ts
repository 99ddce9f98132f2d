// What the call path tells the ledger: decisions before a call is forwarded, ends after it, refusals counted, notes. It groups,
// bounds and, when the ledger cannot be written, refuses; it never decides about a call and never reads the ledger.

import type { Clock } from '../../host/clock.js'
import type { Log } from '../../host/log.js'
import type { Metrics } from '../../host/metrics.js'
import { openDenialLimit, openRefusalCounter, sourcePrefix } from '../../host/refusal-counter.js'
import type { Turn } from '../../host/turn.js'
import type { Decided, Direction, Ended, Party } from '../../mesh/audit-record.js'
import type { MeshErrorCode } from '../../mesh/errors.js'
import { type Ledger, openLedger } from './ledger.js'
import { openWriter, type Settle } from './writer.js'

export interface Refused {
  readonly direction: Direction
  readonly reason: MeshErrorCode
  readonly peer: Party
  /** As the socket names it; null for a Unix socket. */
  readonly remoteAddress: string | null
}

export interface Recorder {
  /**
   * Settles when the decision is committed: all decisions of one event-loop turn share one transaction. Every decision,
   * denials too, is followed by exactly one `ended` of the same direction and call id. Never throws.
   * @param settle with AUDIT_UNAVAILABLE when it cannot be written (with onFailure `allow`: without, and it is counted as lost);
   * CALL_ID_INVALID when a call of that direction and id is still running; AUDIT_RECORD_INVALID when it would not read back
   */
  decided(record: Omit<Decided, 'kind'>, settle: Settle): void
  /** Written within 25 ms, or with the next decision. Never throws. */
  ended(record: Omit<Ended, 'kind'>): void
  /** Counted per reason and source prefix: one record each ten seconds. Never throws. */
  refused(refused: Refused): void
  /** Something that happened to the identity or the ledger: `rotated`, `self-revoked`, ... Never throws. */
  note(event: string, detail: string): void
  /** False while the last write failed. */
  readonly healthy: boolean
  /** Writes what is pending, ends open calls as `unknown`, lets the shipper send it (two seconds at most) and closes the ledger. */
  close(): Promise<void>
}

export interface RecorderOptions {
  /** State directory of the sidecar; the ledger is `ledger.db` in it. */
  readonly dir: string
  /** The identity that writes, at this moment. */
  readonly self: () => Party
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** Whose commit step writes the decisions of a turn. */
  readonly turn: Turn
  readonly durability: 'power' | 'process'
  readonly onFailure: 'deny' | 'allow'
  readonly maxDiskBytes: number
}

/** @throws MeshError STATE_UNREADABLE | AUDIT_UNAVAILABLE */
export function openRecorder(options: RecorderOptions): Recorder & { readonly ledger: Ledger } {
  const { dir, self, clock, durability, maxDiskBytes } = options
  const ledger = openLedger({ dir, author: self().id, durability, maxDiskBytes, now: clock.now() })
  const writer = openWriter({ ...options, ledger })
  const isBelowDenialLimit = openDenialLimit(clock)
  const refusals = openRefusalCounter(clock, (refusal) => writer.refusal(refusal))

  const note = (event: string, detail: string): void =>
    writer.note({ kind: 'note', at: clock.now(), event, detail: printable(detail), self: self() })

  for (const { callId, direction } of ledger.unended)
    writer.endLost(lostEnd({ callId, direction }, clock.now()))
  note('opened', `ledger ${ledger.ledgerId}`)

  return {
    ledger,
    get healthy() {
      return writer.healthy
    },
    decided(decided, settle) {
      const { caller, decision, direction, reason } = decided
      if (decision === 'deny' && !isBelowDenialLimit(caller.id)) {
        refusals.count({ direction, reason, peer: caller, source: 'denied calls' }, caller.id ?? '')
        writer.settleOnly(settle)
      } else writer.begin(decided, settle)
    },
    ended: (ended) => writer.end(ended),
    refused: ({ direction, reason, peer, remoteAddress }) =>
      refusals.count({ direction, reason, peer, source: sourcePrefix(remoteAddress) }, ''),
    note,
    close() {
      refusals.close()
      for (const call of writer.running()) writer.end(lostEnd(call, clock.now()))
      note('closed', `ledger ${ledger.ledgerId}`)
      return writer.close()
    },
  }
}

/** The end of a call that nobody saw. */
function lostEnd(
  { callId, direction }: Pick<Ended, 'callId' | 'direction'>,
  at: number,
): Omit<Ended, 'kind'> {
  const nothing = { status: null, bytesIn: 0, bytesOut: 0, durationUs: 0 }
  return { at, callId, direction, outcome: 'unknown', reason: 'CALL_CUT', ...nothing }
}

/** Text that a record may hold. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it replaces
  return text.replace(/[\u0000-\u001f\u007f]/g, ' ').slice(0, 1024)
}
