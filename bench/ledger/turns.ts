// Calls as a busy sidecar makes them, without the network: in each turn of the event loop some are decided, and end in the turn after their
// decision is committed.

import { systemClock } from '../../host/clock.js'
import type { Party } from '../../mesh/audit-record.js'
import type { Recorder } from '../../sidecar/audit/recorder.js'
import { CallIds } from '../../sidecar/call/call-id.js'
import { Account } from '../../sidecar/call/outcome.js'

export interface Cost {
  /** Microseconds a call, user and system. */
  readonly cpuUs: number
  readonly turnUs: number
  readonly worstTurnUs: number
}

export const SELF: Party = {
  id: 'spiffe://bench.internal/agent/tickets',
  instance: '0a0a0a0a-0000-4000-8000-000000000002',
  serial: '3c4d5e6f708192a3b4c5d6e7f8091a2b',
}
const CALLERS: readonly Party[] = ['planner', 'writer', 'reviewer', 'mailer'].map((name, index) => ({
  id: `spiffe://bench.internal/agent/${name}`,
  instance: `0a0a0a0a-0000-4000-8000-00000000001${index}`,
  serial: `1a2b3c4d5e6f708192a3b4c5d6e7f80${index}`,
}))

/** Makes `calls` calls, `group` in each turn. */
export async function runCalls(
  recorder: Recorder,
  { calls, group }: { calls: number; group: number },
): Promise<Cost> {
  const turns: number[] = []
  const before = process.cpuUsage()
  for (let made = 0; made < calls; made += group) {
    const startedAt = performance.now()
    await oneTurn(recorder, made, group)
    turns.push((performance.now() - startedAt) * 1000)
  }
  const { user, system } = process.cpuUsage(before)
  turns.sort((a, b) => a - b)
  return {
    cpuUs: (user + system) / calls,
    turnUs: turns[turns.length >> 1] ?? 0,
    worstTurnUs: turns.at(-1) ?? 0,
  }
}

function oneTurn(recorder: Recorder, from: number, group: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = group
    for (let index = 0; index < group; index += 1)
      makeCall(recorder, from + index, (error) => {
        left -= 1
        if (error !== undefined) reject(error)
        else if (left === 0) resolve()
      })
  })
}

const ids = new CallIds()

function makeCall(recorder: Recorder, nth: number, done: (error: Error | undefined) => void): void {
  const books = { ledger: recorder, clock: systemClock, count: () => undefined }
  const account = new Account(books, ids.next(systemClock.now()), 'ingress')
  account.decided(
    {
      caller: CALLERS[nth % CALLERS.length] ?? SELF,
      callerKind: 'agent',
      callee: SELF,
      operation: `GET /tickets/${nth % 1000}`,
      scope: 'tickets:read',
      decision: 'permit',
      reason: 'OK',
      rule: 'policy.yaml:14',
      grant: 'policy.yaml:3',
      policyVersion: 3,
      traceparent: `00-0af7651916cd43dd8448eb21${String(nth).padStart(8, '0')}-b7ad6b7169203331-01`,
    },
    (error) => {
      account.ended({ outcome: 'completed', reason: 'OK', status: 200, bytesIn: 0, bytesOut: 512 })
      done(error)
    },
  )
}
