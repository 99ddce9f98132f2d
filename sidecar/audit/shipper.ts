// Carries the ledger to the collector over mutual TLS: asks how far it got, continues there, in order, for ever. Idempotent, with
// capped back-off; it never drops a record and never holds more than one batch in memory.

import type { Clock } from '../../host/clock.js'
import type { Log } from '../../host/log.js'
import type { Metrics } from '../../host/metrics.js'
import type { WorldHolder } from '../../member/control/world.js'
import type { Credentials } from '../../member/identity/credentials.js'
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

/** Ships until the signal aborts. */
export declare function shipLedger(options: ShipOptions): Promise<void>
