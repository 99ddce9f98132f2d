import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CA_ITSELF, LOCAL_ADMIN, tokenBearer } from '../../../ca/actor.js'
import { openRefusals } from '../../../ca/refusals.js'
import { actionOf } from '../../../ca/store/audit.js'
import { MIGRATIONS } from '../../../ca/store/migrations.js'
import type { CaStore } from '../../../ca/store/model.js'
import { createCaStore, openCaStore } from '../../../ca/store.js'
import type { AuditRow } from '../../../host/audit-row.js'
import { ANY_RECORD, openLedgerReader } from '../../../host/audit-table.js'
import { NOBODY, type Refusal } from '../../../mesh/audit-record.js'
import { parseAgentName, parseTrustDomain } from '../../../mesh/spiffe-id.js'
import { scratchDir } from '../../support/audit-records.js'
import { manualClock } from '../../support/manual-clock.js'
import { rawSqlite } from '../../support/raw-sqlite.js'

const trustDomain = parseTrustDomain('acme.internal')
const NOW = 1_790_000_000_000
const PLANNER = { kind: 'agent' as const, name: parseAgentName('planner') }
const UNSET = { ttlSeconds: null, address: null, graceSeconds: null, onClone: null }

let scratch: ReturnType<typeof scratchDir>
let file: string
let store: CaStore

beforeEach(() => {
  scratch = scratchDir()
  file = path.join(scratch.dir, 'ca.db')
  createCaStore(file, { trustDomain, address: '127.0.0.1' })
  store = openCaStore(file)
})
afterEach(async () => {
  await store.close()
  scratch[Symbol.dispose]()
})

const rowsOf = (of = file): AuditRow[] => {
  const reader = openLedgerReader(of)
  try {
    return reader.calls(ANY_RECORD)
  } finally {
    reader.close()
  }
}
const done = (operation: string, object = 'x'): ReturnType<typeof actionOf> =>
  actionOf(LOCAL_ADMIN, { at: NOW, operation, object, detail: null, reason: 'OK' })

describe('the audit of the CA', () => {
  it('is read like every ledger, in the order of the actions', async () => {
    await store.record(done('one'))
    await store.record(
      actionOf(tokenBearer('10.0.0.7'), {
        at: NOW + 1,
        operation: 'enrol',
        object: 'spiffe://acme.internal/agent/planner',
        detail: 'spent',
        reason: 'JOIN_TOKEN_SPENT',
      }),
    )
    expect(rowsOf()).toMatchObject([
      {
        kind: 'action',
        seq: 0,
        who: 'local-admin',
        operation: 'one',
        decision: 'permit',
        reason: 'OK',
        source: null,
      },
      {
        seq: 1,
        who: 'join-token',
        source: '10.0.0.7',
        decision: 'deny',
        reason: 'JOIN_TOKEN_SPENT',
        outcome: 'failed',
      },
    ])
    expect(new Set(rowsOf().map(({ ledgerId, author }) => `${ledgerId} ${author}`))).toEqual(
      new Set([`${(await store.mesh()).position.generation} spiffe://acme.internal/ca`]),
    )
  })

  it('is written in the transaction of what it tells of: both or neither', async () => {
    const { member } = await store.audited(
      () => done('agent.add'),
      (on) => on.register({ ...PLANNER, ...UNSET }, NOW),
    )
    expect(member.name).toBe('planner')
    await expect(
      store.audited(
        () => {
          throw new Error('the disk is full')
        },
        (on) => on.configure({ ...PLANNER, ...UNSET, ttlSeconds: 900 }),
      ),
    ).rejects.toThrow('the disk is full')
    expect((await store.findMember(PLANNER))?.ttlSeconds).toBeNull()
    await expect(
      store.audited(
        () => done('agent.add'),
        (on) => on.register({ ...PLANNER, ...UNSET }, NOW),
      ),
    ).rejects.toMatchObject({ code: 'AGENT_EXISTS' })
    expect(rowsOf().map(({ operation }) => operation)).toEqual(['agent.add'])
  })

  it('stores whatever a stranger wrote, on one line and not too long', async () => {
    const object = `a\u0000b\nc\ud800${'x'.repeat(9000)}`
    await store.record(done('odd', object))
    const [row] = rowsOf()
    expect(row?.object).toHaveLength(2048)
    expect(row?.object).toMatch(/^a b c x/)
  })

  it('finds what was done to somebody', async () => {
    await store.record(done('agent.add', 'spiffe://acme.internal/agent/planner'))
    await store.record(done('agent.add', 'spiffe://acme.internal/agent/tickets'))
    const reader = openLedgerReader(file)
    expect(reader.calls({ ...ANY_RECORD, agent: 'tickets' }).map(({ object }) => object)).toEqual([
      'spiffe://acme.internal/agent/tickets',
    ])
    reader.close()
  })

  it.each([
    ['a row is changed', `UPDATE record SET at = 0`],
    ['a row is taken out', `DELETE FROM record WHERE seq = 0`],
    [
      'a row is replaced',
      `INSERT OR REPLACE INTO record SELECT ledger_id, seq, kind, 0, call_id, encoding, bytes FROM record WHERE seq = 0`,
    ],
    [
      'a gap is left',
      `INSERT INTO record SELECT ledger_id, seq + 9, kind, at, call_id, encoding, bytes FROM record WHERE seq = 1`,
    ],
    ['a ledger is taken out', `DELETE FROM ledger`],
    ['a ledger is given to another', `UPDATE ledger SET author = 'me'`],
    [
      'a ledger is begun again',
      `INSERT OR REPLACE INTO ledger SELECT ledger_id, 'me', created_at FROM ledger`,
    ],
  ])('refuses it when %s', async (_what, sql) => {
    await store.record(done('one'))
    await store.record(done('two'))
    const before = rowsOf()
    const db = rawSqlite(file)
    // the columns that are generated cannot be named
    expect(() =>
      db.exec(
        sql.replace(
          'INTO record SELECT',
          'INTO record (ledger_id, seq, kind, at, call_id, encoding, bytes) SELECT',
        ),
      ),
    ).toThrow(/the audit/)
    db.close()
    expect(rowsOf()).toEqual(before)
  })

  it('takes over the actions of an older release', async () => {
    const old = path.join(scratch.dir, 'old.db')
    const db = rawSqlite(old)
    const audit = MIGRATIONS.findIndex((sql) => sql.includes('DROP TABLE actions'))
    for (const sql of MIGRATIONS.slice(0, audit)) db.exec(sql)
    db.pragma(`user_version = ${audit}`)
    db.exec(`INSERT INTO mesh VALUES (1, 'acme.internal', '127.0.0.1', 'c0ffee00-0000-4000-8000-000000000000', 3);
      INSERT INTO actions VALUES
        (1, ${NOW}, 'admin', 'agent.add', 'spiffe://acme.internal/agent/planner', 'OK'),
        (2, ${NOW + 1}, 'token from 10.0.0.7', 'enrol', 'agent/planner', 'JOIN_TOKEN_SPENT'),
        (3, ${NOW + 2}, 'spiffe://acme.internal/agent/planner', 'renew', 'a "quoted" object', 'OK');`)
    db.close()
    const opened = openCaStore(old)
    await opened.record(
      actionOf(CA_ITSELF, { at: NOW + 3, operation: 'next', object: 'x', detail: null, reason: 'OK' }),
    )
    expect(rowsOf(old)).toMatchObject([
      { seq: 0, at: NOW, who: 'local-admin', caller: null, operation: 'agent.add', decision: 'permit' },
      { seq: 1, who: 'join-token', source: '10.0.0.7', decision: 'deny', reason: 'JOIN_TOKEN_SPENT' },
      { seq: 2, caller: 'spiffe://acme.internal/agent/planner', object: 'a "quoted" object' },
      { seq: 3, who: 'ca', operation: 'next' },
    ])
    await opened.close()
  })
})

describe('refusals of strangers', () => {
  const turned = (source: string) => ({ code: 'JOIN_TOKEN_INVALID' as const, peer: NOBODY, source })

  it('are one row of a kind each ten seconds', () => {
    const clock = manualClock()
    const rows: Refusal[] = []
    const refusals = openRefusals(clock, (row) => rows.push(row))
    for (let each = 0; each < 1000; each += 1) refusals.count(turned(`10.0.0.${each % 250}`))
    clock.advance(10_000)
    expect(rows.map(({ source, count }) => [source, count])).toEqual([
      ['10.0.0.0/24', 1],
      ['10.0.0.0/24', 999],
    ])
    refusals.close()
  })

  it('are bounded an hour, however many addresses they come from, and none is lost from the count', () => {
    const clock = manualClock()
    const rows: Refusal[] = []
    const refusals = openRefusals(clock, (row) => rows.push(row))
    let sent = 0
    for (let tick = 0; tick < 350; tick += 1) {
      for (let net = 0; net < 100; net += 1) {
        refusals.count(turned(`10.${tick % 250}.${net}.1`))
        sent += 1
      }
      clock.advance(10_000)
    }
    expect(rows.length).toBeLessThanOrEqual(3600)
    clock.advance(3_600_000)
    refusals.close()
    expect(rows.reduce((sum, { count }) => sum + count, 0)).toBe(sent)
    expect(rows.length).toBeLessThanOrEqual(7201)
  })
})
