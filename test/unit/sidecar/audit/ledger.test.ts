import path from 'node:path'
import { expect, test } from 'vitest'
import { encodeStrictly } from '../../../../host/audit-encode.js'
import { type Entry, type LedgerOptions, openLedger } from '../../../../sidecar/audit/ledger.js'
import { copyLedger, decidedCall, endedCall, PLANNER, scratchDir } from '../../../support/audit-records.js'
import { rawSqlite } from '../../../support/raw-sqlite.js'

const open = (dir: string, changes: Partial<LedgerOptions> = {}) =>
  openLedger({ dir, author: PLANNER.id, durability: 'process', maxDiskBytes: 2 ** 26, now: 1000, ...changes })

const entryOf = (record: Entry['record']): Entry => ({ record, encoded: encodeStrictly(record) })
const decidedEntry = (): Entry => entryOf({ kind: 'decided', ...decidedCall() })

test('a ledger keeps its id and goes on where it was', async () => {
  using scratch = scratchDir()
  const first = open(scratch.dir)
  first.append([decidedEntry(), decidedEntry()], 0)
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
  first.append([decidedEntry()], 0)
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
  first.append([decidedEntry()], 0)
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
  const large = entryOf({ kind: 'decided', ...decidedCall({ operation: `GET /${'x'.repeat(15_000)}` }) })
  expect(() =>
    ledger.append(
      Array.from({ length: 200 }, () => large),
      0,
    ),
  ).toThrow(/full/)
  expect(ledger.nextSeq(ledger.ledgerId)).toBe(0)
  expect(ledger.read(ledger.ledgerId, 0, { records: 10, bytes: 1e6 })).toEqual([])
  ledger.append([decidedEntry()], 0)
  expect(ledger.nextSeq(ledger.ledgerId)).toBe(1)
  await ledger.close(true)
})

test('read is bounded in records and in bytes, and gives at least one', async () => {
  using scratch = scratchDir()
  const ledger = open(scratch.dir)
  const entries = Array.from({ length: 10 }, decidedEntry)
  ledger.append(entries, 0)
  const { ledgerId } = ledger
  expect(ledger.read(ledgerId, 4, { records: 3, bytes: 1e6 }).map(({ bytes }) => bytes)).toEqual(
    entries.slice(4, 7).map(({ encoded }) => encoded.bytes),
  )
  expect(ledger.read(ledgerId, 0, { records: 10, bytes: 1 })).toHaveLength(1)
  expect(ledger.read(ledgerId, 0, { records: 10, bytes: 1500 }).length).toBeLessThan(4)
  expect(ledger.read(ledgerId, 10, { records: 10, bytes: 1e6 })).toEqual([])
  await ledger.close(true)
})

test('open calls are found although thousands of settled records lie after the last mark', async () => {
  using scratch = scratchDir()
  using copy = scratchDir()
  const ledger = open(scratch.dir)
  const long = decidedEntry()
  ledger.append([long], 0)
  for (let turn = 0; turn < 50; turn += 1) {
    const call = decidedCall()
    const entries = [entryOf({ kind: 'decided', ...call }), entryOf({ kind: 'ended', ...endedCall(call) })]
    ledger.append(Array.from({ length: 20 }, () => entries).flat(), 0)
  }
  const stray = decidedEntry()
  ledger.append([stray], 0)
  copyLedger(scratch.dir, copy.dir)
  await ledger.close(true)
  const next = open(copy.dir)
  expect(next.unended.map(({ callId }) => callId)).toEqual(
    [long, stray].map(({ record }) => (record.kind === 'decided' ? record.callId : '')),
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
