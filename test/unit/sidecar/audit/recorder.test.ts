import path from 'node:path'
import { expect, test } from 'vitest'
import type { AuditRow } from '../../../../host/audit-row.js'
import { ANY_RECORD, openLedgerReader } from '../../../../host/audit-table.js'
import { openMetrics } from '../../../../host/metrics.js'
import { openSqliteReader } from '../../../../host/sqlite.js'
import { openTurn } from '../../../../host/turn.js'
import { openRecorder, type RecorderOptions } from '../../../../sidecar/audit/recorder.js'
import {
  copyLedger,
  decide,
  decidedCall,
  endedCall,
  PLANNER,
  scratchDir,
  strictTurn,
  TICKETS,
} from '../../../support/audit-records.js'
import { type ManualClock, manualClock } from '../../../support/manual-clock.js'
import { memoryLog } from '../../../support/memory-log.js'
import { rawSqlite } from '../../../support/raw-sqlite.js'

const MIB = 1024 * 1024

function setup(dir: string, changes: Partial<RecorderOptions> = {}) {
  const clock: ManualClock = manualClock()
  const metrics = openMetrics()
  const log = memoryLog()
  const recorder = openRecorder({
    dir,
    self: () => PLANNER,
    clock,
    log,
    metrics,
    turn: strictTurn(),
    durability: 'process',
    onFailure: 'deny',
    maxDiskBytes: 64 * MIB,
    ...changes,
  })
  return { recorder, clock, metrics, log }
}

const rowsIn = (dir: string): AuditRow[] => {
  const reader = openLedgerReader(path.join(dir, 'ledger.db'))
  try {
    return reader.calls({ ...ANY_RECORD, limit: 100_000 })
  } finally {
    reader.close()
  }
}
const callsIn = (dir: string): AuditRow[] => rowsIn(dir).filter(({ kind }) => kind === 'call')

test('a decision is committed, and readable by others, when its promise resolves', async () => {
  using scratch = scratchDir()
  const { recorder } = setup(scratch.dir)
  const call = decidedCall()
  const committed = decide(recorder, call)
  expect(callsIn(scratch.dir)).toEqual([])
  await committed
  expect(callsIn(scratch.dir)).toMatchObject([
    {
      callId: call.callId,
      caller: PLANNER.id,
      callee: TICKETS.id,
      direction: 'egress',
      operation: 'GET /tickets/42',
      scope: 'tickets:read',
      decision: 'permit',
      reason: 'OK',
      outcome: null,
      rule: 'policy.yaml:14',
      grant: 'policy.yaml:3',
      policyVersion: 3,
      calleeInstance: TICKETS.instance,
      calleeSerial: TICKETS.serial,
      author: PLANNER.id,
    },
  ])
  await recorder.close()
})

test('the decisions of one turn of the event loop are one commit', async () => {
  using scratch = scratchDir()
  const { recorder } = setup(scratch.dir)
  let commits = 0
  recorder.ledger.onAppend(() => {
    commits += 1
  })
  await Promise.all(Array.from({ length: 27 }, () => decide(recorder, decidedCall())))
  expect(commits).toBe(1)
  expect(callsIn(scratch.dir)).toHaveLength(27)
  await recorder.close()
})

test('a decision settles once, in the commit step of its turn and before any flush', async () => {
  using scratch = scratchDir()
  const turn = strictTurn()
  const { recorder } = setup(scratch.dir, { turn })
  const heard: string[] = []
  const call = decidedCall()
  recorder.decided(call, () => heard.push('committed'))
  recorder.decided(call, (error) => heard.push(error?.code ?? ''))
  recorder.decided(decidedCall({ at: 0.5 }), (error) => heard.push(error?.code ?? ''))
  heard.push('returned')
  await new Promise<void>((resolve) => {
    turn.flush(() => {
      heard.push('flushed')
      resolve()
    })
  })
  await recorder.close()
  expect(heard[0]).toBe('returned')
  expect(heard.slice(1, 4).sort()).toEqual(['AUDIT_RECORD_INVALID', 'CALL_ID_INVALID', 'committed'])
  expect(heard.slice(4)).toEqual(['flushed'])
})

test('who throws when its decision settles keeps no other from hearing of its own', async () => {
  using scratch = scratchDir()
  const bugs: unknown[] = []
  const { recorder } = setup(scratch.dir, { turn: openTurn((error) => bugs.push(error)) })
  recorder.decided(decidedCall(), () => {
    throw new Error('a bug')
  })
  await decide(recorder, decidedCall())
  await new Promise((resolve) => setImmediate(resolve))
  expect(bugs).toHaveLength(1)
  expect(callsIn(scratch.dir)).toHaveLength(2)
  await recorder.close()
})

test('a decision that is pending when the recorder closes is committed and settles', async () => {
  using scratch = scratchDir()
  const { recorder } = setup(scratch.dir)
  const committed = decide(recorder, decidedCall())
  await recorder.close()
  await committed
  expect(callsIn(scratch.dir)).toMatchObject([{ outcome: 'unknown' }])
})

test('an end is written within 25 ms and merged with its decision', async () => {
  using scratch = scratchDir()
  const { recorder, clock } = setup(scratch.dir)
  const call = decidedCall()
  await decide(recorder, call)
  recorder.ended(endedCall(call, { status: 404, bytesIn: 3, bytesOut: 7, durationUs: 1234 }))
  expect(callsIn(scratch.dir)).toMatchObject([{ outcome: null }])
  clock.advance(25)
  expect(callsIn(scratch.dir)).toMatchObject([
    { outcome: 'completed', status: 404, bytesIn: 3, bytesOut: 7, durationUs: 1234, seq: 1 },
  ])
  await recorder.close()
})

test('sequence numbers have no gaps', async () => {
  using scratch = scratchDir()
  const { recorder, clock } = setup(scratch.dir)
  for (let turn = 0; turn < 20; turn += 1) {
    const calls = [decidedCall(), decidedCall()]
    await Promise.all(calls.map((call) => decide(recorder, call)))
    for (const call of calls) recorder.ended(endedCall(call))
    clock.advance(10)
  }
  await recorder.close()
  const db = openSqliteReader(path.join(scratch.dir, 'ledger.db'))
  const seqs = db.prepare<unknown[], { seq: number }>('SELECT seq FROM record ORDER BY seq').all()
  db.close()
  expect(seqs.map(({ seq }) => seq)).toEqual(seqs.map((_, index) => index))
})

test('an id of a running call is refused, so that no caller can end the call of another', async () => {
  using scratch = scratchDir()
  const { recorder } = setup(scratch.dir)
  const call = decidedCall({ direction: 'ingress' })
  await decide(recorder, call)
  await expect(decide(recorder, { ...call, caller: TICKETS })).rejects.toMatchObject({
    code: 'CALL_ID_INVALID',
  })
  recorder.ended(endedCall(call))
  await decide(recorder, { ...call, caller: TICKETS })
  await recorder.close()
  expect(callsIn(scratch.dir)).toMatchObject([
    { caller: PLANNER.id, outcome: 'completed' },
    { caller: TICKETS.id, outcome: 'unknown' },
  ])
})

test('a call that runs on is still known after thousands came and went', async () => {
  using scratch = scratchDir()
  const { recorder } = setup(scratch.dir)
  const long = decidedCall({ direction: 'ingress' })
  await decide(recorder, long)
  for (let turn = 0; turn < 60; turn += 1) {
    const calls = Array.from({ length: 50 }, () => decidedCall({ direction: 'ingress' }))
    await Promise.all(calls.map((call) => decide(recorder, call)))
    for (const call of calls) recorder.ended(endedCall(call))
  }
  await expect(decide(recorder, long)).rejects.toMatchObject({ code: 'CALL_ID_INVALID' })
  recorder.ended(endedCall(long, { status: 204 }))
  await recorder.close()
  expect(callsIn(scratch.dir).filter(({ outcome }) => outcome !== 'completed')).toEqual([])
})

test('the two halves of a call to oneself share an id and are kept apart', async () => {
  using scratch = scratchDir()
  const { recorder } = setup(scratch.dir)
  const egress = decidedCall({ callee: PLANNER })
  const ingress = { ...egress, direction: 'ingress' as const }
  await decide(recorder, egress)
  await decide(recorder, ingress)
  recorder.ended(endedCall(ingress, { status: 201 }))
  recorder.ended(endedCall(egress, { outcome: 'aborted', status: null, reason: 'CALL_CUT' }))
  await recorder.close()
  expect(callsIn(scratch.dir)).toMatchObject([
    { direction: 'egress', outcome: 'aborted' },
    { direction: 'ingress', outcome: 'completed', status: 201 },
  ])
})

test('a record that would not read back is refused and not stored', async () => {
  using scratch = scratchDir()
  const { recorder } = setup(scratch.dir)
  for (const bad of [
    { operation: 'GET /a\nb' },
    { operation: 'GET /\u007f' },
    { operation: `GET /${'x'.repeat(20_000)}` },
    { scope: 's'.repeat(300) },
    { at: 1.5 },
    { caller: { ...PLANNER, serial: 'f'.repeat(65) } },
  ])
    await expect(decide(recorder, decidedCall(bad))).rejects.toMatchObject({ code: 'AUDIT_RECORD_INVALID' })
  const call = decidedCall()
  await decide(recorder, call)
  recorder.ended(endedCall(call, { durationUs: 0.5 }))
  await recorder.close()
  expect(callsIn(scratch.dir)).toMatchObject([{ callId: call.callId, outcome: null }])
})

test('members that are no part of a record never reach the ledger', async () => {
  using scratch = scratchDir()
  const { recorder } = setup(scratch.dir)
  const party = { ...PLANNER, keyPem: 'SECRET' }
  await decide(recorder, { ...decidedCall({ caller: party }), ...{ note: 'SECRET' } })
  const { ledger } = recorder
  const stored = ledger.read(ledger.ledgerId, 0, { records: 10, bytes: 1e6 })
  expect(stored?.lines.toString()).toContain('decided')
  expect(stored?.lines.toString()).not.toContain('SECRET')
  await recorder.close()
})

test('refusals are counted per reason and source: one record at once, then one each ten seconds', async () => {
  using scratch = scratchDir()
  const { recorder, clock } = setup(scratch.dir)
  const refuse = (remoteAddress: string, serial: string): void =>
    recorder.refused({
      direction: 'ingress',
      reason: 'PEER_CHAIN_UNTRUSTED',
      peer: { id: `spiffe://evil.example/agent/a${serial}`, instance: null, serial },
      remoteAddress,
    })
  for (let n = 0; n < 1000; n += 1) refuse(`192.0.2.${n % 256}`, String(n))
  expect(rowsIn(scratch.dir).filter(({ kind }) => kind === 'refusal')).toMatchObject([
    {
      count: 1,
      source: '192.0.2.0/24',
      reason: 'PEER_CHAIN_UNTRUSTED',
      caller: 'spiffe://evil.example/agent/a0',
    },
  ])
  clock.advance(10_000)
  clock.advance(10_000)
  expect(rowsIn(scratch.dir).filter(({ kind }) => kind === 'refusal')).toMatchObject([
    { count: 1 },
    { count: 999, caller: null },
  ])
  refuse('192.0.2.1', '7')
  await recorder.close()
  expect(rowsIn(scratch.dir).filter(({ kind }) => kind === 'refusal')).toHaveLength(3)
})

test('refusals from everywhere stay within bounds', async () => {
  using scratch = scratchDir()
  const { recorder, clock } = setup(scratch.dir)
  for (let n = 0; n < 5000; n += 1)
    recorder.refused({
      direction: 'ingress',
      reason: 'PEER_NO_CERTIFICATE',
      peer: { id: null, instance: null, serial: null },
      remoteAddress: `10.${n >> 8}.${n & 255}.1`,
    })
  clock.advance(10_000)
  const refusals = rowsIn(scratch.dir).filter(({ kind }) => kind === 'refusal')
  expect(refusals.length).toBe(1002)
  expect(refusals.reduce((sum, { count }) => sum + (count ?? 0), 0)).toBe(5000)
  await recorder.close()
})

test('refusals use at most a fifth of the disk and leave calls alone', async () => {
  using scratch = scratchDir()
  const { recorder, clock, metrics } = setup(scratch.dir, { maxDiskBytes: MIB })
  for (let n = 0; n < 20; n += 1) {
    for (let source = 0; source < 200; source += 1)
      recorder.refused({
        direction: 'ingress',
        reason: 'PEER_NO_CERTIFICATE',
        peer: { id: null, instance: null, serial: null },
        remoteAddress: `10.0.${source}.1`,
      })
    clock.advance(10_000)
    clock.advance(10_000)
  }
  expect(recorder.healthy).toBe(true)
  await decide(recorder, decidedCall())
  expect(rowsIn(scratch.dir).filter(({ kind }) => kind === 'refusal').length).toBeLessThan(1000)
  expect(metrics.text()).toMatch(/troth_audit_refusals_dropped_total [1-9]/)
  await recorder.close()
})

test('denials of one caller beyond fifty a second are counted, those of others are not', async () => {
  using scratch = scratchDir()
  const { recorder, clock } = setup(scratch.dir)
  const denial = { direction: 'ingress', decision: 'deny', reason: 'POLICY_SCOPE_MISSING' } as const
  for (let n = 0; n < 80; n += 1) {
    const call = decidedCall(denial)
    await decide(recorder, call)
    recorder.ended(endedCall(call, { outcome: 'failed', status: 403, reason: 'POLICY_SCOPE_MISSING' }))
  }
  await decide(recorder, decidedCall({ ...denial, caller: TICKETS }))
  clock.advance(1000)
  await decide(recorder, decidedCall(denial))
  await recorder.close()
  const rows = rowsIn(scratch.dir)
  expect(rows.filter(({ decision }) => decision === 'deny')).toHaveLength(52)
  const counted = rows.filter(({ kind }) => kind === 'refusal')
  expect(counted.reduce((sum, { count }) => sum + (count ?? 0), 0)).toBe(30)
  expect(counted[0]).toMatchObject({
    caller: PLANNER.id,
    reason: 'POLICY_SCOPE_MISSING',
    direction: 'ingress',
  })
})

async function fill(recorder: ReturnType<typeof openRecorder>): Promise<number> {
  for (let written = 0; written < 100_000; written += 1) {
    const call = decidedCall({ operation: `GET /${'x'.repeat(900)}` })
    try {
      await decide(recorder, call)
    } catch (error) {
      expect(error).toMatchObject({ code: 'AUDIT_UNAVAILABLE' })
      return written
    }
    recorder.ended(endedCall(call))
  }
  throw new Error('the disk never filled')
}

test('a full ledger refuses calls, says so once, and loses nothing that was decided', async () => {
  using scratch = scratchDir()
  const { recorder, log, metrics } = setup(scratch.dir, { maxDiskBytes: MIB })
  const written = await fill(recorder)
  expect(recorder.healthy).toBe(false)
  for (let n = 0; n < 10; n += 1)
    await expect(decide(recorder, decidedCall())).rejects.toMatchObject({ code: 'AUDIT_UNAVAILABLE' })
  expect(log.lines.filter(({ event }) => event === 'audit.unavailable')).toHaveLength(1)
  expect(metrics.text()).toContain('troth_audit_healthy 0')
  expect(callsIn(scratch.dir)).toHaveLength(written)
  await recorder.close()
})

test('with onFailure allow a full ledger lets calls through and counts them', async () => {
  using scratch = scratchDir()
  const { recorder, metrics } = setup(scratch.dir, { maxDiskBytes: MIB, onFailure: 'allow' })
  while (recorder.healthy) {
    const call = decidedCall({ operation: `GET /${'x'.repeat(900)}` })
    await decide(recorder, call)
    recorder.ended(endedCall(call))
  }
  const call = decidedCall()
  await decide(recorder, call)
  recorder.ended(endedCall(call))
  expect(metrics.text()).toMatch(/troth_audit_lost_total 2\n/)
  await recorder.close()
})

test('when there is room again it recovers by itself, without a call, and writes down the gap', async () => {
  using scratch = scratchDir()
  const { recorder, clock, log } = setup(scratch.dir, { maxDiskBytes: MIB })
  const written = await fill(recorder)
  for (let n = 0; n < 3; n += 1)
    await expect(decide(recorder, decidedCall())).rejects.toMatchObject({ code: 'AUDIT_UNAVAILABLE' })
  // Somebody else makes room in the file.
  const other = rawSqlite(path.join(scratch.dir, 'ledger.db'))
  other
    .prepare('DELETE FROM segment WHERE place IN (SELECT place FROM segment ORDER BY place LIMIT 400)')
    .run()
  other.close()
  clock.advance(1000)
  expect(recorder.healthy).toBe(true)
  expect(log.lines.filter(({ event }) => event === 'audit.recovered')).toHaveLength(1)
  expect(rowsIn(scratch.dir).filter(({ reason }) => reason === 'gap')).toMatchObject([
    { kind: 'note', detail: '4 records were lost while the ledger could not be written' },
  ])
  await decide(recorder, decidedCall())
  await recorder.close()
  expect(written).toBeGreaterThan(200)
})

test('a larger limit at the next start lets the same ledger go on', async () => {
  using scratch = scratchDir()
  const first = setup(scratch.dir, { maxDiskBytes: MIB })
  const written = await fill(first.recorder)
  await expect(decide(first.recorder, decidedCall())).rejects.toMatchObject({ code: 'AUDIT_UNAVAILABLE' })
  await first.recorder.close()
  // The operator gives it more room: the same ledger goes on, and closes what it could not.
  const second = setup(scratch.dir, { maxDiskBytes: 8 * MIB })
  await decide(second.recorder, decidedCall())
  expect(second.recorder.ledger.ledgerId).toBe(first.recorder.ledger.ledgerId)
  await second.recorder.close()
  const calls = callsIn(scratch.dir)
  expect(calls).toHaveLength(written + 1)
  expect(calls.filter(({ outcome }) => outcome === null)).toEqual([])
})

test('calls that an earlier run left open are closed as unknown', async () => {
  using scratch = scratchDir()
  using copy = scratchDir()
  const { recorder, clock } = setup(scratch.dir)
  const [running, done] = [decidedCall(), decidedCall()]
  await decide(recorder, running)
  await decide(recorder, done)
  recorder.ended(endedCall(done))
  clock.advance(25)
  copyLedger(scratch.dir, copy.dir)
  const next = setup(copy.dir)
  next.clock.advance(25)
  expect(callsIn(copy.dir)).toMatchObject([
    { callId: running.callId, outcome: 'unknown', reason: 'CALL_CUT' },
    { callId: done.callId, outcome: 'completed' },
  ])
  await next.recorder.close()
  await recorder.close()
})

test('after close nothing is recorded and nothing thrown but AUDIT_UNAVAILABLE', async () => {
  using scratch = scratchDir()
  const { recorder } = setup(scratch.dir)
  await recorder.close()
  await recorder.close()
  recorder.note('rotated', 'late')
  await expect(decide(recorder, decidedCall())).rejects.toMatchObject({ code: 'AUDIT_UNAVAILABLE' })
})

test('a long call is closed after a crash although thousands came and went since', async () => {
  using scratch = scratchDir()
  using copy = scratchDir()
  const { recorder, clock } = setup(scratch.dir)
  const long = decidedCall()
  await decide(recorder, long)
  for (let turn = 0; turn < 40; turn += 1) {
    const calls = Array.from({ length: 30 }, () => decidedCall())
    await Promise.all(calls.map((call) => decide(recorder, call)))
    for (const call of calls) recorder.ended(endedCall(call))
  }
  clock.advance(25)
  copyLedger(scratch.dir, copy.dir)
  await recorder.close()
  const next = setup(copy.dir)
  next.clock.advance(25)
  const unknown = callsIn(copy.dir).filter(({ outcome }) => outcome === 'unknown')
  expect(unknown.map(({ callId }) => callId)).toEqual([long.callId])
  await next.recorder.close()
})

test('a start reads only what came after the last call that was open', async () => {
  using scratch = scratchDir()
  using copy = scratchDir()
  const { recorder, clock } = setup(scratch.dir)
  for (let turn = 0; turn < 40; turn += 1) {
    const calls = Array.from({ length: 30 }, () => decidedCall())
    await Promise.all(calls.map((call) => decide(recorder, call)))
    for (const call of calls) recorder.ended(endedCall(call))
  }
  clock.advance(25)
  copyLedger(scratch.dir, copy.dir)
  await recorder.close()
  const db = rawSqlite(path.join(copy.dir, 'ledger.db'), { readonly: true })
  const { settled_seq: settled } = db.prepare('SELECT settled_seq FROM run').get() as { settled_seq: number }
  const { length } = db.prepare('SELECT count(*) AS length FROM record').get() as { length: number }
  db.close()
  expect(settled).toBeLessThanOrEqual(length)
  expect(length - settled).toBeLessThan(1200)
})
