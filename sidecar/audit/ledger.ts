// One sidecar's ledger: `<dir>/ledger.db`, append only, synchronous. It owns ledgerId and sequence numbers, and nothing else may
// write the file. It never decides what to record, and never deletes.

import type { EncodedRecord } from '../../host/audit-table.js'

export interface Ledger {
  /** The ledger that is being written; a UUID. */
  readonly ledgerId: string
  /** Every ledger in the file, oldest first; the last is `ledgerId`. */
  readonly ledgerIds: readonly string[]
  /** The sequence number the next record of that ledger gets. */
  nextSeq(ledgerId: string): number
  /** Stored records in order, from `fromSeq`, at most so many and so many bytes (but at least one when there is one). */
  read(ledgerId: string, fromSeq: number, max: { records: number; bytes: number }): EncodedRecord[]
  /** Runs after each commit. */
  onAppend(listener: () => void): void
}
