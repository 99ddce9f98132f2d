import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { expect, test } from 'vitest'
import { type Delivery, openStore } from '../../../collector/store.js'
import { encodeStrictly } from '../../../host/audit-encode.js'
import { COLLECTOR_TABLE_DDL, prepareAppend } from '../../../host/audit-layout.js'
import { openSqlite } from '../../../host/sqlite.js'
import type { AuditRecord } from '../../../mesh/audit-record.js'
import type { SpiffeId } from '../../../mesh/spiffe-id.js'
import {
  copyLedger,
  decidedCall,
  endedCall,
  PLANNER,
  scratchDir,
  TICKETS,
} from '../../support/audit-records.js'
import { rawSqlite } from '../../support/raw-sqlite.js'

const AUTHOR = PLANNER.id as SpiffeId
const OTHER = TICKETS.id as SpiffeId
const LEDGER = randomUUID()

const some = (count: number): Delivery['records'] =>
  Array.from({ length: count }, () => {
    const key = { kind: 'decided', ...decidedCall() } as const
    return { key, encoded: encodeStrictly(key) }
  })

const delivery = (firstSeq: number, records: Delivery['records'], author = AUTHOR): Delivery => ({
  ledgerId: LEDGER,
  author,
  firstSeq,
  records,
  now: 1000,
})

const storeIn = (dir: string) => openStore(path.join(dir, 'ledger.db'))

test('a ledger begins at zero and grows', async () => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  expect(await store.nextSeq(LEDGER, AUTHOR)).toBe(0)
  expect(await store.appendShipment(delivery(0, some(3)))).toEqual({ appended: 3, nextSeq: 3 })
  expect(await store.appendShipment(delivery(3, some(2)))).toEqual({ appended: 2, nextSeq: 5 })
  expect(await store.nextSeq(LEDGER, AUTHOR)).toBe(5)
  await store.close()
})

test('the same records again change nothing, also when they overlap what is new', async () => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  const records = some(4)
  await store.appendShipment(delivery(0, records.slice(0, 3)))
  expect(await store.appendShipment(delivery(0, records.slice(0, 3)))).toEqual({ appended: 0, nextSeq: 3 })
  expect(await store.appendShipment(delivery(1, records.slice(1)))).toEqual({ appended: 1, nextSeq: 4 })
  await store.close()
})

test.each([1, 31, 32, 33, 100])('of %i records each stands in its place', async (count) => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  const records = some(count + 1)
  await store.appendShipment(delivery(0, records.slice(0, 1)))
  expect(await store.appendShipment(delivery(0, records))).toEqual({ appended: count, nextSeq: count + 1 })
  expect(rowsIn(scratch.dir)).toMatchObject(
    records.map(({ key, encoded }, seq) => ({ ledger_id: LEDGER, seq, call_id: key.callId, ...encoded })),
  )
  await store.close()
})

test('a gap is refused and names the sequence number that is wanted', async () => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  await store.appendShipment(delivery(0, some(2)))
  await expect(store.appendShipment(delivery(3, some(1)))).rejects.toMatchObject({
    code: 'AUDIT_SEQUENCE',
    message: expect.stringContaining('continues at 2') as string,
  })
  expect(await store.nextSeq(LEDGER, AUTHOR)).toBe(2)
  await store.close()
})

test('other bytes for a record that is held are refused whole', async () => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  const records = some(2)
  await store.appendShipment(delivery(0, records))
  await expect(store.appendShipment(delivery(0, [...records.slice(0, 1), ...some(2)]))).rejects.toMatchObject(
    {
      code: 'AUDIT_SEQUENCE',
    },
  )
  expect(await store.nextSeq(LEDGER, AUTHOR)).toBe(2)
  await store.close()
})

test('a ledger belongs to its first author', async () => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  await store.appendShipment(delivery(0, some(1)))
  await expect(store.appendShipment(delivery(1, some(1), OTHER))).rejects.toMatchObject({
    code: 'AUDIT_FOREIGN',
  })
  await expect(store.nextSeq(LEDGER, OTHER)).rejects.toMatchObject({ code: 'AUDIT_FOREIGN' })
  await store.close()
})

test('an empty shipment claims nothing', async () => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  expect(await store.appendShipment(delivery(0, []))).toEqual({ appended: 0, nextSeq: 0 })
  expect(await store.appendShipment(delivery(0, some(1), OTHER))).toEqual({ appended: 1, nextSeq: 1 })
  await store.close()
})

test('what was acknowledged is there after a kill', async () => {
  using scratch = scratchDir()
  using copy = scratchDir()
  const store = storeIn(scratch.dir)
  await store.appendShipment(delivery(0, some(50)))
  copyLedger(scratch.dir, copy.dir)
  const again = storeIn(copy.dir)
  expect(await again.nextSeq(LEDGER, AUTHOR)).toBe(50)
  await again.close()
  await store.close()
})

const CALL = decidedCall({ operation: 'GET /\u00fc"\\' })
const OF_EVERY_KIND: readonly AuditRecord[] = [
  { kind: 'decided', ...CALL },
  { kind: 'ended', ...endedCall(CALL) },
  {
    kind: 'decided',
    ...decidedCall({
      scope: null,
      decision: 'deny',
      rule: null,
      grant: null,
      policyVersion: null,
      traceparent: null,
    }),
  },
  { kind: 'ended', ...endedCall(CALL, { outcome: 'unknown', status: null }) },
  {
    kind: 'refusal',
    at: 3,
    direction: 'ingress',
    reason: 'PEER_SAN_INVALID',
    peer: TICKETS,
    source: 'local',
    count: 2,
  },
  { kind: 'note', at: 4, event: 'opened', detail: 'x', self: PLANNER },
]

/** A store as builds before the view wrote it: a generated column for each member. */
function earlierStore(dir: string): void {
  const db = openSqlite({
    file: path.join(dir, 'ledger.db'),
    migrations: [`${COLLECTOR_TABLE_DDL}CREATE INDEX ledger_author ON ledger (author);`],
    durability: 'process',
  })
  db.prepare('INSERT INTO ledger (ledger_id, author, created_at) VALUES (?, ?, ?)').run(LEDGER, AUTHOR, 1)
  const records = OF_EVERY_KIND.map((key) => ({ key, encoded: encodeStrictly(key) }))
  prepareAppend(db, 'record')(LEDGER, 0, records)
  db.close()
}

function rowsIn(dir: string): unknown[] {
  const db = rawSqlite(path.join(dir, 'ledger.db'), { readonly: true })
  const rows = db.prepare('SELECT * FROM record ORDER BY seq').all()
  db.close()
  return rows
}

test('a store of an earlier build opens, shows the same columns, and goes on', async () => {
  using scratch = scratchDir()
  earlierStore(scratch.dir)
  const before = rowsIn(scratch.dir)
  const store = storeIn(scratch.dir)
  expect(before).toHaveLength(OF_EVERY_KIND.length)
  expect(rowsIn(scratch.dir)).toEqual(before)
  const held = OF_EVERY_KIND.map((key) => ({ key, encoded: encodeStrictly(key) }))
  expect(await store.appendShipment(delivery(0, [...held, ...some(1)]))).toEqual({
    appended: 1,
    nextSeq: OF_EVERY_KIND.length + 1,
  })
  await store.close()
})

test('a new store shows the columns that earlier builds showed', async () => {
  using scratch = scratchDir()
  using earlier = scratchDir()
  earlierStore(earlier.dir)
  const store = storeIn(scratch.dir)
  await store.appendShipment(
    delivery(
      0,
      OF_EVERY_KIND.map((key) => ({ key, encoded: encodeStrictly(key) })),
    ),
  )
  await store.close()
  expect(rowsIn(scratch.dir)).toEqual(rowsIn(earlier.dir))
})

test.each([
  ["SELECT operation FROM record WHERE call_id = 'c' AND direction = 'egress'", 'record_call'],
  ["SELECT caller_id FROM record WHERE at > 5 AND decision = 'deny' ORDER BY at DESC LIMIT 9", 'record_at'],
  ["SELECT status FROM record WHERE ledger_id = 'l' AND seq >= 7 ORDER BY seq", 'sqlite_autoindex'],
  [
    `SELECT d.seq FROM record d JOIN ledger l ON l.ledger_id = d.ledger_id WHERE d.at > 1 AND NOT EXISTS (SELECT 1 FROM record o
     WHERE o.call_id = d.call_id AND o.caller_id = d.caller_id) ORDER BY d.at DESC, d.ledger_id DESC, d.seq DESC LIMIT 9`,
    'record_call',
  ],
])('the view of records lets an index answer: %s', async (sql, index) => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  const db = rawSqlite(path.join(scratch.dir, 'ledger.db'), { readonly: true })
  const plan = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all() as { detail: string }[]
  const steps = plan.map(({ detail }) => detail).join('\n')
  expect(steps).toContain(index)
  expect(steps).not.toMatch(/SCAN|MATERIALIZE|CO-ROUTINE/)
  db.close()
  await store.close()
})
