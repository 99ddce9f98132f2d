// A ledger that keeps nothing: what calls cost without one. Only benches have it; no setting of a sidecar leads here.

import type { Turn } from '../../host/turn.js'
import type { Recorder } from '../../sidecar/audit/recorder.js'

type Settle = Parameters<Recorder['decided']>[1]

/** Settles each decision in the commit step of its turn, as the ledger does, and forgets it. */
export function openNullRecorder(turn: Turn): Recorder {
  let waiting: Settle[] = []
  const settleAll = (): void => {
    const settled = waiting
    waiting = []
    for (const settle of settled) settle(undefined)
  }
  const nothing = (): void => undefined
  return {
    healthy: true,
    decided(_record, settle) {
      if (waiting.length === 0) turn.commit(settleAll)
      waiting.push(settle)
    },
    ended: nothing,
    refused: nothing,
    note: nothing,
    close: () => Promise.resolve(),
  }
}
