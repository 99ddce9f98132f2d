import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { openStore } from '../../../collector/store.js'
import { encodeStrictly } from '../../../host/audit-encode.js'
import { encodeLine } from '../../../host/audit-lines.js'
import type { AuditRow } from '../../../host/audit-row.js'
import { ANY_RECORD, openLedgerReader } from '../../../host/audit-table.js'
import type { AuditRecord, Party } from '../../../mesh/audit-record.js'
import type { SpiffeId } from '../../../mesh/spiffe-id.js'
import { openLedger } from '../../../sidecar/audit/ledger.js'
import {
  copyLedger,
  decidedCall,
  endedCall,
  PLANNER,
  scratchDir,
  TICKETS,
} from '../../support/audit-records.js'
import { rawSqlite } from '../../support/raw-sqlite.js'

const T0 = 1_790_000_000_000
const SEARCH: Party = { id: 'spiffe://acme.internal/agent/search', instance: null, serial: null }

const entryOf = (record: AuditRecord) => ({ key: record, encoded: encodeStrictly(record) })

function sidecarLedger(dir: string, records: readonly AuditRecord[]) {
  const ledger = openLedger({
    dir,
    author: PLANNER.id,
    durability: 'process',
    maxDiskBytes: 2 ** 26,
    now: T0,
  })
  ledger.append(records.map(encodeLine), 0)
  return ledger
}

const readerOf = (dir: string) => openLedgerReader(path.join(dir, 'ledger.db'))

function someRecords(): AuditRecord[] {
  const ok = decidedCall({ at: T0 })
  const denied = decidedCall({
    at: T0 + 1000,
    decision: 'deny',
    reason: 'POLICY_SCOPE_MISSING',
    callee: SEARCH,
  })
  const cut = decidedCall({ at: T0 + 2000 })
  const running = decidedCall({ at: T0 + 3000, direction: 'ingress', caller: TICKETS, callee: PLANNER })
  return [
    { kind: 'note', at: T0 - 1, event: 'opened', detail: 'ledger', self: PLANNER },
    { kind: 'decided', ...ok },
    { kind: 'ended', ...endedCall(ok) },
    { kind: 'decided', ...denied },
    {
      kind: 'ended',
      ...endedCall(denied, { outcome: 'failed', status: 403, reason: 'POLICY_SCOPE_MISSING' }),
    },
    { kind: 'decided', ...cut },
    { kind: 'ended', ...endedCall(cut, { outcome: 'cut', status: null, reason: 'PEER_REVOKED' }) },
    { kind: 'decided', ...running },
    {
      kind: 'refusal',
      at: T0 + 4000,
      direction: 'ingress',
      reason: 'PEER_CERT_EXPIRED',
      peer: SEARCH,
      source: '192.0.2.0/24',
      count: 3,
    },
  ]
}

const briefly = ({ kind, reason, outcome }: AuditRow): string => `${kind} ${reason} ${outcome ?? '-'}`

describe('a ledger of a sidecar', () => {
  test.each([
    [
      'everything, newest last',
      {},
      [
        'note opened -',
        'call OK completed',
        'call POLICY_SCOPE_MISSING failed',
        'call PEER_REVOKED cut',
        'call OK -',
        'refusal PEER_CERT_EXPIRED -',
      ],
    ],
    ['the newest two', { limit: 2 }, ['call OK -', 'refusal PEER_CERT_EXPIRED -']],
    [
      'an agent by name, as caller or callee',
      { agent: 'search' },
      ['call POLICY_SCOPE_MISSING failed', 'refusal PEER_CERT_EXPIRED -'],
    ],
    [
      'an agent by its whole id',
      { agent: SEARCH.id },
      ['call POLICY_SCOPE_MISSING failed', 'refusal PEER_CERT_EXPIRED -'],
    ],
    ['no agent whose name only ends alike', { agent: 'earch' }, []],
    ['denials', { decision: 'deny' as const }, ['call POLICY_SCOPE_MISSING failed']],
    ['since an instant', { sinceAt: T0 + 3000 }, ['call OK -', 'refusal PEER_CERT_EXPIRED -']],
    [
      'what is suspicious',
      { suspicious: true },
      ['call POLICY_SCOPE_MISSING failed', 'call PEER_REVOKED cut', 'refusal PEER_CERT_EXPIRED -'],
    ],
    [
      'several conditions at once',
      { suspicious: true, decision: 'permit' as const, agent: 'tickets' },
      ['call PEER_REVOKED cut'],
    ],
  ])('answers with %s', async (_, filter, wanted) => {
    using scratch = scratchDir()
    const ledger = sidecarLedger(scratch.dir, someRecords())
    const reader = readerOf(scratch.dir)
    expect(reader.calls({ ...ANY_RECORD, now: T0 + 60_000, ...filter }).map(briefly)).toEqual(wanted)
    reader.close()
    await ledger.close(true)
  })

  test('a filter is data, never SQL', async () => {
    using scratch = scratchDir()
    const ledger = sidecarLedger(scratch.dir, someRecords())
    const reader = readerOf(scratch.dir)
    for (const agent of ["' OR 1=1 --", '%', '_', '"'])
      expect(reader.calls({ ...ANY_RECORD, agent })).toEqual([])
    expect(reader.record("x' OR 'a'='a")).toEqual([])
    reader.close()
    await ledger.close(true)
  })

  test('is read as it grows, and after its owner was killed', async () => {
    using scratch = scratchDir()
    using crashed = scratchDir()
    const ledger = sidecarLedger(scratch.dir, someRecords())
    const reader = readerOf(scratch.dir)
    const before = reader.calls(ANY_RECORD).length
    ledger.append([encodeLine({ kind: 'decided', ...decidedCall() })], 0)
    expect(reader.calls(ANY_RECORD)).toHaveLength(before + 1)
    copyLedger(scratch.dir, crashed.dir)
    const after = readerOf(crashed.dir)
    expect(after.calls(ANY_RECORD)).toHaveLength(before + 1)
    after.close()
    reader.close()
    await ledger.close(true)
  })

  test('is followed: a call when it is decided, and again when it has ended', async () => {
    using scratch = scratchDir()
    const ledger = sidecarLedger(scratch.dir, someRecords())
    const reader = readerOf(scratch.dir)
    let position = reader.end()
    const next = (): string[] => {
      const news = reader.tail(position)
      position = news.position
      return news.rows.map((row) => `${row.callId ?? row.kind} ${row.outcome ?? '-'}`)
    }
    expect(next()).toEqual([])
    const [slow, quick] = [decidedCall(), decidedCall()]
    ledger.append([encodeLine({ kind: 'decided', ...slow })], 0)
    expect(next()).toEqual([`${slow.callId} -`])
    ledger.append(
      [
        encodeLine({ kind: 'decided', ...quick }),
        encodeLine({ kind: 'ended', ...endedCall(quick) }),
        encodeLine({ kind: 'ended', ...endedCall(slow, { outcome: 'failed', reason: 'APP_UNREACHABLE' }) }),
      ],
      0,
    )
    expect(next().sort()).toEqual([`${quick.callId} completed`, `${slow.callId} failed`].sort())
    expect(next()).toEqual([])
    expect(reader.tail(new Map()).rows.length).toBe(8)
    reader.close()
    await ledger.close(true)
  })

  test('shows both halves of a call to oneself as one', async () => {
    using scratch = scratchDir()
    const egress = decidedCall({ callee: PLANNER })
    const ingress = { ...egress, direction: 'ingress' as const }
    const ledger = sidecarLedger(scratch.dir, [
      { kind: 'decided', ...egress },
      { kind: 'decided', ...ingress },
      { kind: 'ended', ...endedCall(ingress, { status: 201 }) },
      { kind: 'ended', ...endedCall(egress) },
      { kind: 'decided', ...decidedCall() },
    ])
    const reader = readerOf(scratch.dir)
    expect(reader.pairs(ANY_RECORD)).toMatchObject([
      { sides: 'both', egress: { status: 200 }, ingress: { status: 201 } },
      { sides: 'caller', ingress: null },
    ])
    reader.close()
    await ledger.close(true)
  })

  test('tells calls of one id that followed each other apart', async () => {
    using scratch = scratchDir()
    const first = decidedCall({ direction: 'ingress' })
    const second = { ...first, at: T0 + 9 }
    const ledger = sidecarLedger(scratch.dir, [
      { kind: 'decided', ...first },
      { kind: 'ended', ...endedCall(first, { status: 201 }) },
      { kind: 'decided', ...second },
      { kind: 'ended', ...endedCall(second, { status: 202 }) },
      { kind: 'decided', ...second },
    ])
    const reader = readerOf(scratch.dir)
    expect(reader.record(first.callId).map(({ status }) => status)).toEqual([201, 202, null])
    reader.close()
    await ledger.close(true)
  })

  test('its columns are read out of the exact bytes', async () => {
    using scratch = scratchDir()
    const ledger = sidecarLedger(scratch.dir, someRecords())
    const db = rawSqlite(path.join(scratch.dir, 'ledger.db'), { readonly: true })
    expect(
      db
        .prepare(
          'SELECT caller_id, callee_serial, operation, rule, grant_rule, policy_version FROM record WHERE seq = 1',
        )
        .get(),
    ).toEqual({
      caller_id: PLANNER.id,
      callee_serial: TICKETS.serial,
      operation: 'GET /tickets/42',
      rule: 'policy.yaml:14',
      grant_rule: 'policy.yaml:3',
      policy_version: 3,
    })
    expect(db.prepare('SELECT status, outcome, duration_us FROM record WHERE seq = 2').get()).toEqual({
      status: 200,
      outcome: 'completed',
      duration_us: 5000,
    })
    db.close()
    await ledger.close(true)
  })
})

describe('the collector', () => {
  const CALL = decidedCall({ at: T0 })

  async function collected(
    dir: string,
    ledgers: readonly [author: Party, records: readonly AuditRecord[]][],
  ) {
    const store = openStore(path.join(dir, 'ledger.db'))
    for (const [author, records] of ledgers)
      await store.appendShipment({
        ledgerId: randomUUID(),
        author: author.id as SpiffeId,
        firstSeq: 0,
        records: records.map(entryOf),
        now: T0,
      })
    await store.close()
    return readerOf(dir)
  }

  const half = (direction: 'egress' | 'ingress', changes = {}): AuditRecord => ({
    kind: 'decided',
    ...CALL,
    direction,
    ...changes,
  })
  const LATER = { ...ANY_RECORD, now: T0 + 60_000 }

  test('pairs the two halves of a call', async () => {
    using scratch = scratchDir()
    const reader = await collected(scratch.dir, [
      [PLANNER, [half('egress'), { kind: 'ended', ...endedCall(CALL) }]],
      [TICKETS, [half('ingress'), { kind: 'ended', ...endedCall({ ...CALL, direction: 'ingress' }) }]],
    ])
    expect(reader.pairs(LATER)).toMatchObject([
      {
        callId: CALL.callId,
        sides: 'both',
        foreign: false,
        egress: { outcome: 'completed', author: PLANNER.id },
        ingress: { author: TICKETS.id },
      },
    ])
    expect(reader.calls({ ...LATER, suspicious: true })).toEqual([])
    expect(reader.record(CALL.callId)).toHaveLength(2)
    reader.close()
  })

  test('finds a call that only one side recorded, once the other has had its time', async () => {
    using scratch = scratchDir()
    const reader = await collected(scratch.dir, [[TICKETS, [half('ingress')]]])
    expect(reader.pairs(LATER)).toMatchObject([{ sides: 'callee', egress: null }])
    expect(reader.calls({ ...LATER, suspicious: true })).toHaveLength(1)
    expect(reader.calls({ ...LATER, suspicious: true, now: T0 + 5000 })).toEqual([])
    reader.close()
  })

  test('a foreign caller keeps no ledger: its calls are whole with one half', async () => {
    using scratch = scratchDir()
    const reader = await collected(scratch.dir, [[TICKETS, [half('ingress', { callerKind: 'foreign' })]]])
    expect(reader.pairs(LATER)).toMatchObject([{ sides: 'callee', foreign: true }])
    expect(reader.calls({ ...LATER, suspicious: true })).toEqual([])
    reader.close()
  })

  test('nobody can write the half of another: it is no pair, and suspicious', async () => {
    using scratch = scratchDir()
    const reader = await collected(scratch.dir, [
      [TICKETS, [half('ingress')]],
      [SEARCH, [half('egress')]],
    ])
    expect(reader.pairs(LATER)).toMatchObject([{ sides: 'callee', egress: null }])
    expect(
      reader
        .calls({ ...LATER, suspicious: true })
        .map(({ author }) => author)
        .sort(),
    ).toEqual([SEARCH.id, TICKETS.id])
    expect(reader.record(CALL.callId).map(({ author }) => author)).toEqual([TICKETS.id])
    reader.close()
  })

  test('nobody buries the records of others below some of the future', async () => {
    using scratch = scratchDir()
    const ahead = half('egress', { caller: SEARCH, at: T0 + 3_600_000, callId: randomUUID() })
    const reader = await collected(scratch.dir, [
      [PLANNER, [half('egress')]],
      [SEARCH, [ahead]],
    ])
    expect(reader.calls({ ...LATER, limit: 1 }).map(({ author }) => author)).toEqual([PLANNER.id])
    expect(reader.calls({ ...LATER, suspicious: true }).map(({ author }) => author)).toContain(SEARCH.id)
    reader.close()
  })

  test('the same id between others is another call', async () => {
    using scratch = scratchDir()
    const reader = await collected(scratch.dir, [
      [PLANNER, [half('egress')]],
      [TICKETS, [half('ingress'), half('egress', { caller: TICKETS, callee: SEARCH, at: T0 + 1 })]],
      [SEARCH, [half('ingress', { caller: TICKETS, callee: SEARCH, at: T0 + 2 })]],
    ])
    expect(reader.pairs(LATER).map(({ sides, egress }) => [sides, egress?.callee])).toEqual([
      ['both', TICKETS.id],
      ['both', SEARCH.id],
    ])
    reader.close()
  })
})

describe('what is no ledger', () => {
  test('a missing file is LEDGER_MISSING', () => {
    expect(() => openLedgerReader('/nowhere/ledger.db')).toThrow(
      expect.objectContaining({ code: 'LEDGER_MISSING' }),
    )
  })

  test.each([
    [
      'text',
      (file: string) => writeFileSync(file, 'this is not a database, and long enough to tell'.repeat(50)),
    ],
    ['another database', (file: string) => void rawSqlite(file).exec('CREATE TABLE a (b)').close()],
    ['an empty file', (file: string) => writeFileSync(file, '')],
  ])('%s is STATE_UNREADABLE', (_, make) => {
    using scratch = scratchDir()
    const file = path.join(scratch.dir, 'ledger.db')
    make(file)
    expect(() => openLedgerReader(file)).toThrow(expect.objectContaining({ code: 'STATE_UNREADABLE' }))
  })
})
