// kill -9 at a moment nobody chose: whatever was let go on is in the ledger.

import { once } from 'node:events'
import path from 'node:path'
import { expect, test } from 'vitest'
import { ANY_RECORD, openLedgerReader } from '../../host/audit-table.js'
import { openMetrics } from '../../host/metrics.js'
import { openRecorder } from '../../sidecar/audit/recorder.js'
import { PLANNER, scratchDir, strictTurn } from '../support/audit-records.js'
import { manualClock } from '../support/manual-clock.js'
import { memoryLog } from '../support/memory-log.js'
import { runTranspiled } from '../support/run-transpiled.js'

test.each([1, 700, 2500])(
  'every call that went on before the kill is there (killed after %i)',
  async (after) => {
    using program = scratchDir()
    using state = scratchDir()
    const child = runTranspiled('test/support/recording-child.ts', program.dir, [state.dir])
    const went: string[] = []
    let rest = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      went.push(...lines)
      if (went.length >= after) child.kill('SIGKILL')
    })
    const [, signal] = (await once(child, 'close')) as [number | null, string]
    expect(signal).toBe('SIGKILL')
    expect(went.length).toBeGreaterThanOrEqual(after)

    // Before its owner starts again.
    const file = path.join(state.dir, 'ledger.db')
    const reader = openLedgerReader(file)
    const all = { ...ANY_RECORD, limit: 1_000_000 }
    const recorded = new Set(reader.calls(all).map(({ callId }) => callId))
    expect(went.filter((callId) => !recorded.has(callId))).toEqual([])
    reader.close()

    const clock = manualClock()
    const recorder = openRecorder({
      dir: state.dir,
      self: () => PLANNER,
      clock,
      log: memoryLog(),
      metrics: openMetrics(),
      turn: strictTurn(),
      durability: 'process',
      onFailure: 'deny',
      maxDiskBytes: 2 ** 28,
    })
    clock.advance(25)
    const closed = openLedgerReader(file)
    const calls = closed.calls(all).filter(({ kind }) => kind === 'call')
    expect(calls.filter(({ outcome }) => outcome === null)).toEqual([])
    expect(calls.filter(({ outcome }) => outcome === 'unknown').length).toBeGreaterThan(0)
    expect(calls).toHaveLength(recorded.size - 1)
    closed.close()
    await recorder.close()
  },
)
