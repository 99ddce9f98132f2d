import path from 'node:path'
import { expect, test } from 'vitest'
import { encodeStrictly } from '../../../../host/audit-encode.js'
import { prepareAppend, SIDECAR_TABLE_DDL } from '../../../../host/audit-layout.js'
import { encodeLine } from '../../../../host/audit-lines.js'
import { ANY_RECORD, openLedgerReader } from '../../../../host/audit-table.js'
import { openSqlite } from '../../../../host/sqlite.js'
import type { AuditRecord } from '../../../../mesh/audit-record.js'
import { type LedgerOptions, openLedger } from '../../../../sidecar/audit/ledger.js'
import { copyLedger, decidedCall, endedCall, PLANNER, scratchDir } from '../../../support/audit-records.js'
import { rawSqlite } from '../../../support/raw-sqlite.js'

const open = (dir: string, changes: Partial<LedgerOptions> = {}) =>
  openLedger({ dir, author: PLANNER.id, durability: 'process', maxDiskBytes: 2 ** 26, now: 1000, ...changes })

const decidedLine = (): string => encodeLine({ kind: 'decided', ...decidedCall() })

test('a ledger keeps its id and goes on where it was', async () => {
  using scratch = scratchDir()
  const first = open(scratch.dir)
  first.append([decidedLine(), decidedLine()], 0)
  await first.close(true)
  const second = open(scratch.dir)
  expect(second.ledgerId).toBe(first.ledgerId)
  expect(second.nextSeq(second.ledgerId)).toBe(2)
  await second.close(true)
})

test('a kill leaves the same ledger to go on with', async () => {
  using scratch = scratchDir()
  using copy = scratchDir()
  const first = open(scratch.dir)
  first.append([decidedLine()], 0)
  copyLedger(scratch.dir, copy.dir)
  const second = open(copy.dir)
  expect(second.ledgerIds).toEqual([first.ledgerId])
  expect(second.unended).toHaveLength(1)
  await second.close(true)
  await first.close(true)
})

const pretendOtherBoot = (dir: string): void => {
  const db = rawSqlite(path.join(dir, 'ledger.db'))
  db.prepare("UPDATE run SET boot_id = 'another boot'").run()
  db.close()
}

test('after a power cut without fsync another ledger is begun, for the collector may have more of the old one', async () => {
  using scratch = scratchDir()
  using copy = scratchDir()
  const first = open(scratch.dir)
  first.append([decidedLine()], 0)
  copyLedger(scratch.dir, copy.dir)
  await first.close(true)
  pretendOtherBoot(copy.dir)
  const second = open(copy.dir)
  expect(second.ledgerIds).toEqual([first.ledgerId, second.ledgerId])
  expect(second.ledgerId).not.toBe(first.ledgerId)
  expect(second.nextSeq(second.ledgerId)).toBe(0)
  expect(second.nextSeq(first.ledgerId)).toBe(1)
  await second.close(true)
})

test('with fsync, or after a clean stop, another boot changes nothing', async () => {
  using scratch = scratchDir()
  using copy = scratchDir()
  const first = open(scratch.dir, { durability: 'power' })
  copyLedger(scratch.dir, copy.dir)
  await first.close(true)
  pretendOtherBoot(copy.dir)
  const synced = open(copy.dir, { durability: 'power' })
  expect(synced.ledgerIds).toEqual([first.ledgerId])
  await synced.close(true)
  pretendOtherBoot(copy.dir)
  const clean = open(copy.dir)
  expect(clean.ledgerIds).toEqual([first.ledgerId])
  await clean.close(true)
})

test('a commit is all or nothing', async () => {
  using scratch = scratchDir()
  const ledger = open(scratch.dir, { maxDiskBytes: 1024 * 1024 })
  const large = encodeLine({ kind: 'decided', ...decidedCall({ operation: `GET /${'x'.repeat(15_000)}` }) })
  expect(() =>
    ledger.append(
      Array.from({ length: 200 }, () => large),
      0,
    ),
  ).toThrow(/full/)
  expect(ledger.nextSeq(ledger.ledgerId)).toBe(0)
  expect(ledger.read(ledger.ledgerId, 0, { records: 10, bytes: 1e6 })).toBeUndefined()
  ledger.append([decidedLine()], 0)
  expect(ledger.nextSeq(ledger.ledgerId)).toBe(1)
  await ledger.close(true)
})

/** What is read, a record a line; where it begins is checked too. */
function linesRead(
  ledger: ReturnType<typeof open>,
  fromSeq: number,
  max: { records: number; bytes: number },
): string[] {
  const stretch = ledger.read(ledger.ledgerId, fromSeq, max)
  if (stretch === undefined) return []
  expect(stretch).toMatchObject({ firstSeq: fromSeq, encoding: 1 })
  return stretch.lines.toString().split('\n')
}

test('read is bounded in records and in bytes of whole commits, wherever it begins, and gives at least one', async () => {
  using scratch = scratchDir()
  const ledger = open(scratch.dir)
  const entries = Array.from({ length: 30 }, decidedLine)
  // commits of 1, 2, 3, 4, 20 records
  for (const [from, to] of [
    [0, 1],
    [1, 3],
    [3, 6],
    [6, 10],
    [10, 30],
  ])
    ledger.append(entries.slice(from, to), 0)
  for (let seq = 0; seq <= 30; seq++)
    for (const records of [1, 2, 3, 7, 30, 100])
      expect(linesRead(ledger, seq, { records, bytes: 1e6 })).toEqual(entries.slice(seq, seq + records))
  expect(linesRead(ledger, 0, { records: 100, bytes: 1 })).toEqual(entries.slice(0, 1))
  expect(linesRead(ledger, 4, { records: 100, bytes: 1 })).toEqual(entries.slice(4, 6))
  const threeCommits = entries.slice(0, 6).join('\n').length
  expect(linesRead(ledger, 0, { records: 100, bytes: threeCommits })).toEqual(entries.slice(0, 6))
  await ledger.close(true)
})

test('a ledger that somebody took a commit out of is not read on as if nothing was missing', async () => {
  using scratch = scratchDir()
  const ledger = open(scratch.dir)
  const entries = Array.from({ length: 4 }, decidedLine)
  for (const line of entries) ledger.append([line], 0)
  const db = rawSqlite(path.join(scratch.dir, 'ledger.db'))
  db.exec('DELETE FROM segment WHERE place % (1 << 40) = 1')
  db.close()
  const all = { records: 100, bytes: 1e6 }
  expect(linesRead(ledger, 0, all)).toEqual(entries.slice(0, 1))
  // what is behind it keeps its numbers: the collector sees the gap
  expect(ledger.read(ledger.ledgerId, 1, all)?.firstSeq).toBe(2)
  await ledger.close(true)
})

test('open calls are found although thousands of settled records lie after the last mark', async () => {
  using scratch = scratchDir()
  using copy = scratchDir()
  const ledger = open(scratch.dir)
  const long = decidedLine()
  ledger.append([long], 0)
  for (let turn = 0; turn < 50; turn += 1) {
    const call = decidedCall()
    const entries = [
      encodeLine({ kind: 'decided', ...call }),
      encodeLine({ kind: 'ended', ...endedCall(call) }),
    ]
    ledger.append(Array.from({ length: 20 }, () => entries).flat(), 0)
  }
  const stray = decidedLine()
  ledger.append([stray], 0)
  copyLedger(scratch.dir, copy.dir)
  await ledger.close(true)
  const next = open(copy.dir)
  expect(next.unended.map(({ callId }) => callId)).toEqual(
    [long, stray].map((line) => (JSON.parse(line) as { callId: string }).callId),
  )
  await next.close(true)
})

test('a file that is no ledger is refused and left as it was', () => {
  using scratch = scratchDir()
  const db = rawSqlite(path.join(scratch.dir, 'ledger.db'))
  db.exec('CREATE TABLE mine (a); PRAGMA user_version = 99')
  db.close()
  expect(() => open(scratch.dir)).toThrow(expect.objectContaining({ code: 'STATE_UNREADABLE' }))
})

test('a crowd is cut into segments of bounded size, in one commit, and reads back as one row of records', async () => {
  using scratch = scratchDir()
  const ledger = open(scratch.dir)
  const lines = Array.from({ length: 60 }, (_, nth) =>
    encodeLine({ kind: 'decided', ...decidedCall({ operation: `GET /${'x'.repeat(10_000 + nth)}` }) }),
  )
  ledger.append([decidedLine()], 0)
  ledger.append(lines, 0)
  const { ledgerId } = ledger
  expect(ledger.nextSeq(ledgerId)).toBe(61)
  expect(linesRead(ledger, 1, { records: 100, bytes: 1e7 })).toEqual(lines)
  expect(linesRead(ledger, 37, { records: 1, bytes: 1e7 })).toEqual([lines[36]])
  const db = rawSqlite(path.join(scratch.dir, 'ledger.db'), { readonly: true })
  const longest = db
    .prepare<unknown[], { longest: number }>('SELECT max(length(lines)) AS longest FROM segment')
    .get()
  expect(longest?.longest).toBeLessThanOrEqual(256 * 1024)
  db.close()
  await ledger.close(true)
})

/** A ledger as builds before the segments wrote it: a row a record. Two ledgers, for there was a power cut. */
function earlierLedger(dir: string): { file: string; records: readonly AuditRecord[] } {
  const file = path.join(dir, 'ledger.db')
  const run = `CREATE TABLE run (one INTEGER PRIMARY KEY CHECK (one = 1), boot_id TEXT NOT NULL, clean INTEGER NOT NULL,
    settled_seq INTEGER NOT NULL, refusal_bytes INTEGER NOT NULL) STRICT;
    INSERT INTO run (one, boot_id, clean, settled_seq, refusal_bytes) VALUES (1, 'b', 1, 0, 0);`
  const db = openSqlite({ file, migrations: [`${SIDECAR_TABLE_DDL}${run}`], durability: 'process' })
  const [done, running] = [decidedCall(), decidedCall({ operation: 'GET /\u00fc"\\' })]
  const records: AuditRecord[] = [
    { kind: 'decided', ...done },
    { kind: 'decided', ...running },
    { kind: 'ended', ...endedCall(done) },
  ]
  const begin = db.prepare('INSERT INTO ledger (ledger_id, author, created_at) VALUES (?, ?, ?)')
  begin.run(LATER, PLANNER.id, 7)
  begin.run(EARLIER, PLANNER.id, 5)
  const append = prepareAppend(db, 'record')
  const stored = records.map((key) => ({ key, encoded: encodeStrictly(key) }))
  append(EARLIER, 0, stored.slice(0, 1))
  append(LATER, 0, stored)
  db.close()
  return { file, records }
}

const EARLIER = '0a0a0a0a-0000-4000-8000-00000000000f'
const LATER = '0a0a0a0a-0000-4000-8000-00000000000a'

test('a ledger of an earlier build opens, keeps every byte in its place, and goes on', async () => {
  using scratch = scratchDir()
  const { records } = earlierLedger(scratch.dir)
  const ledger = open(scratch.dir)
  expect(ledger.ledgerIds).toEqual([EARLIER, LATER])
  expect(ledger.nextSeq(EARLIER)).toBe(1)
  expect(ledger.nextSeq(LATER)).toBe(3)
  expect(linesRead(ledger, 0, { records: 10, bytes: 1e6 })).toEqual(
    records.map((record) => encodeStrictly(record).bytes.toString()),
  )
  expect(ledger.unended).toMatchObject([{ operation: 'GET /\u00fc"\\' }])
  ledger.append([decidedLine()], 0)
  expect(ledger.nextSeq(LATER)).toBe(4)
  await ledger.close(true)
})

test('a ledger of an earlier build is read without being changed', () => {
  using scratch = scratchDir()
  const { file } = earlierLedger(scratch.dir)
  const reader = openLedgerReader(file)
  expect(reader.calls(ANY_RECORD).map(({ outcome }) => outcome)).toEqual([null, 'completed', null])
  reader.close()
})

test('SQL finds the records of every ledger in the view of them', async () => {
  using scratch = scratchDir()
  earlierLedger(scratch.dir)
  const ledger = open(scratch.dir)
  const call = decidedCall({ operation: 'GET /new' })
  ledger.append(
    [encodeLine({ kind: 'decided', ...call }), encodeLine({ kind: 'ended', ...endedCall(call) })],
    0,
  )
  const db = rawSqlite(path.join(scratch.dir, 'ledger.db'), { readonly: true })
  expect(
    db
      .prepare('SELECT ledger_id, seq, kind, operation, status FROM record WHERE call_id = ?')
      .all(call.callId),
  ).toEqual([
    { ledger_id: LATER, seq: 3, kind: 'decided', operation: 'GET /new', status: null },
    { ledger_id: LATER, seq: 4, kind: 'ended', operation: null, status: 200 },
  ])
  expect(db.prepare('SELECT seq FROM record WHERE ledger_id = ?').all(EARLIER)).toEqual([{ seq: 0 }])
  db.close()
  await ledger.close(true)
})
