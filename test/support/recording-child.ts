// A process that only records: it names each call on stdout as soon as its decision is committed, until somebody kills it.

import { randomUUID } from 'node:crypto'
import { writeSync } from 'node:fs'
import { systemClock } from '../../host/clock.js'
import { openLog } from '../../host/log.js'
import { openMetrics } from '../../host/metrics.js'
import { openRecorder } from '../../sidecar/audit/recorder.js'
import { decide, decidedCall, endedCall, PLANNER, strictTurn } from './audit-records.js'

const recorder = openRecorder({
  dir: process.argv[2] ?? '',
  self: () => PLANNER,
  clock: systemClock,
  log: openLog({
    clock: systemClock,
    level: 'error',
    write: (line) => void process.stderr.write(`${line}\n`),
  }),
  metrics: openMetrics(),
  turn: strictTurn(),
  durability: 'process',
  onFailure: 'deny',
  maxDiskBytes: 2 ** 28,
})

async function call(isEnded: boolean): Promise<void> {
  const decided = decidedCall({ at: systemClock.now(), callId: randomUUID() })
  await decide(recorder, decided)
  writeSync(1, `${decided.callId}\n`)
  if (isEnded) recorder.ended(endedCall(decided))
}

for (;;) await Promise.all(Array.from({ length: 8 }, (_, index) => call(index % 2 === 0)))
