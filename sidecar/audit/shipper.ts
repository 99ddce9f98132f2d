// Carries the ledger to the collector: asks how far it got, continues there, in order, for ever. Idempotent, with capped back-off;
// it never drops a record and never holds more than one batch in memory.

import { type Clock, pause } from '../../host/clock.js'
import { errorFields, type Log } from '../../host/log.js'
import type { Metrics } from '../../host/metrics.js'
import type { WorldHolder } from '../../member/control/world.js'
import type { Credentials } from '../../member/identity/credentials.js'
import { asMeshError, ERRORS, MeshError } from '../../mesh/errors.js'
import { SHIP_MAX_BYTES, SHIP_MAX_RECORDS } from '../../mesh/wire/audit.js'
import { type CollectorClient, openCollectorClient } from './collector-client.js'
import type { Ledger } from './ledger.js'

export interface ShipOptions {
  readonly ledger: Ledger
  readonly credentials: Credentials
  readonly world: WorldHolder
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly signal: AbortSignal
}

/** Records of a moment go together; the collector stays near live. */
const LINGER_MS = 250
/** Whole segments are read, and one may be as large as this. */
const BATCH_BYTES = SHIP_MAX_BYTES / 2
const FIRST_BACKOFF_MS = 250
const MAX_BACKOFF_MS = 15_000
/** Where trying again without a change elsewhere cannot help. */
const STUCK_BACKOFF_MS = 60_000
const LAST_ROUND_MS = 2000
/** Nothing rings for longer than this: look all the same. */
const LOOK_MS = 30_000

/**
 * Ships until the signal aborts; when the ledger is closed, what is left is sent in one last round of at most two seconds.
 * Errors are logged and tried again, never thrown.
 */
export async function shipLedger(options: ShipOptions): Promise<void> {
  const { ledger, world, clock, log } = options
  const closing = new AbortController()
  const signal = AbortSignal.any([options.signal, closing.signal])
  const client = openCollectorClient(options)
  const shipment = openShipment(ledger, client)
  const appended = openBell(clock, signal)
  const changed = openBell(clock, signal)
  ledger.onAppend(() => appended.ring())
  ledger.beforeClose(() => {
    closing.abort()
    return lastRound(options, client, shipment)
  })
  world.onChange(() => {
    changed.ring()
    return 0
  })
  options.metrics.gauge('troth_audit_unshipped_records', 'Records the collector does not have yet', () =>
    shipment.depth(),
  )
  let failures = 0
  let lastCode = ''
  while (!signal.aborted) {
    if (!client.isKnown()) {
      await changed.wait(LOOK_MS)
      continue
    }
    try {
      await shipment.catchUp('nearly all', () => signal.aborted)
      if (failures > 0) log.info('audit.shipping_resumed')
      failures = 0
      lastCode = ''
      await appended.wait(LOOK_MS)
      await pause(clock, LINGER_MS, signal)
    } catch (error) {
      // the last round has taken over, and closed what this one was waiting on
      if (closing.signal.aborted) return
      const { code } = asMeshError(error)
      failures += 1
      if (code !== lastCode) log.warn('audit.shipping_failed', errorFields(error))
      lastCode = code
      await changed.wait(backoffMs(failures, ERRORS[code].retryable))
    }
  }
}

const backoffMs = (failures: number, retryable: boolean): number =>
  retryable ? Math.min(FIRST_BACKOFF_MS * 2 ** (failures - 1), MAX_BACKOFF_MS) : STUCK_BACKOFF_MS

async function lastRound(
  { clock, log }: ShipOptions,
  client: CollectorClient,
  shipment: Shipping,
): Promise<void> {
  let isLate = false
  const deadline = clock.after(LAST_ROUND_MS, () => {
    isLate = true
    client.close()
  })
  try {
    if (client.isKnown()) await shipment.catchUp('all', () => isLate)
  } catch (error) {
    log.info('audit.left_for_later', { records: shipment.depth(), ...errorFields(error) })
  } finally {
    deadline.cancel()
    client.close()
  }
}

type Extent = 'all' | 'nearly all'

interface Shipping {
  /** Ships until the collector has everything, but perhaps for what came last, or `stop` says so. */
  catchUp(extent: Extent, stop: () => boolean): Promise<void>
  /** Records not acknowledged. */
  depth(): number
}

/** Where each ledger of the file stands at the collector. */
function openShipment(ledger: Ledger, client: CollectorClient): Shipping {
  const acknowledged = new Map<string, number>()
  /** Ledgers whose position was asked for since the last error. */
  const asked = new Set<string>()

  /** A few that were written meanwhile go with what the next moment brings: a request costs as much as a hundred records. */
  const mayWait = (ledgerId: string, next: number): boolean =>
    ledgerId === ledger.ledgerId && ledger.nextSeq(ledgerId) - next < SHIP_MAX_RECORDS

  const catchUpOne = async (ledgerId: string, extent: Extent, stop: () => boolean): Promise<void> => {
    const known = asked.has(ledgerId) ? acknowledged.get(ledgerId) : undefined
    let next = known ?? (await client.nextSeq(ledgerId))
    // An earlier ledger ended with a power cut: the collector may have more of it than was left here.
    if (next > ledger.nextSeq(ledgerId) && ledgerId === ledger.ledgerId)
      throw new MeshError(
        'AUDIT_SEQUENCE',
        `the collector has ${next} records of ledger ${ledgerId}, more than are here`,
        { hint: 'the ledger was replaced by an older copy: move it away; a new one is begun at start' },
      )
    acknowledged.set(ledgerId, next)
    asked.add(ledgerId)
    while (!stop()) {
      const stretch = ledger.read(ledgerId, next, { records: SHIP_MAX_RECORDS, bytes: BATCH_BYTES })
      if (stretch === undefined) return
      next = await client.ship(ledgerId, stretch)
      acknowledged.set(ledgerId, next)
      if (extent === 'nearly all' && mayWait(ledgerId, next)) return
    }
  }

  return {
    async catchUp(extent, stop) {
      try {
        for (const ledgerId of ledger.ledgerIds) await catchUpOne(ledgerId, extent, stop)
      } catch (error) {
        // The collector may have been set back, or have taken what it could not acknowledge: ask again.
        asked.clear()
        throw error
      }
    },
    depth: () =>
      ledger.ledgerIds.reduce(
        (sum, ledgerId) => sum + Math.max(0, ledger.nextSeq(ledgerId) - (acknowledged.get(ledgerId) ?? 0)),
        0,
      ),
  }
}

interface Bell {
  ring(): void
  /** Until it rings (also if it rang since the last wait), `ms` passed or the signal aborted. */
  wait(ms: number): Promise<void>
}

function openBell(clock: Clock, signal: AbortSignal): Bell {
  let rung = false
  let wake: (() => void) | undefined
  return {
    ring() {
      rung = true
      wake?.()
    },
    async wait(ms) {
      if (!rung) {
        const woken = new AbortController()
        wake = () => woken.abort()
        await pause(clock, ms, AbortSignal.any([signal, woken.signal]))
        wake = undefined
      }
      rung = false
    },
  }
}
