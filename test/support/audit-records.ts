// Records as the call path writes them, for tests: one right call, of which each test changes what it is about.

import { randomUUID } from 'node:crypto'
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { openTurn, type Turn } from '../../host/turn.js'
import type { Decided, Ended, Party } from '../../mesh/audit-record.js'
import type { Recorder } from '../../sidecar/audit/recorder.js'

export const PLANNER: Party = {
  id: 'spiffe://acme.internal/agent/planner',
  instance: '0a0a0a0a-0000-4000-8000-000000000001',
  serial: '1a2b',
}
export const TICKETS: Party = {
  id: 'spiffe://acme.internal/agent/tickets',
  instance: '0a0a0a0a-0000-4000-8000-000000000002',
  serial: '3c4d',
}

export function decidedCall(changes: Partial<Omit<Decided, 'kind'>> = {}): Omit<Decided, 'kind'> {
  return {
    at: 1_790_000_000_000,
    callId: randomUUID(),
    direction: 'egress',
    caller: PLANNER,
    callerKind: 'agent',
    callee: TICKETS,
    operation: 'GET /tickets/42',
    scope: 'tickets:read',
    decision: 'permit',
    reason: 'OK',
    rule: 'policy.yaml:14',
    grant: 'policy.yaml:3',
    policyVersion: 3,
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    ...changes,
  }
}

export function endedCall(
  decided: Pick<Decided, 'callId' | 'direction' | 'at'>,
  changes: Partial<Omit<Ended, 'kind'>> = {},
): Omit<Ended, 'kind'> {
  return {
    at: decided.at + 5,
    callId: decided.callId,
    direction: decided.direction,
    outcome: 'completed',
    reason: 'OK',
    status: 200,
    bytesIn: 0,
    bytesOut: 512,
    durationUs: 5000,
    ...changes,
  }
}

/** Resolves when the decision is committed, rejects with what it is settled with. */
export function decide(
  recorder: Pick<Recorder, 'decided'>,
  record: Parameters<Recorder['decided']>[0],
): Promise<void> {
  return new Promise((resolve, reject) => {
    recorder.decided(record, (error) => {
      if (error === undefined) resolve()
      else reject(error)
    })
  })
}

/** The turn of a process in which a bug ends the process. */
export function strictTurn(): Turn {
  return openTurn((error) => {
    throw error
  })
}

/** A directory that is gone when the scope ends. */
export function scratchDir(): { readonly dir: string } & Disposable {
  const dir = mkdtempSync(path.join(tmpdir(), 'troth-'))
  return { dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) }
}

/** The files of a ledger as a crash at this moment would leave them (its owner may be running). */
export function copyLedger(from: string, to: string): void {
  for (const name of ['ledger.db', 'ledger.db-wal']) {
    const file = path.join(from, name)
    if (existsSync(file)) copyFileSync(file, path.join(to, name))
  }
}
