// The disk of the CA fails between the commit of a change and what follows it: members must hear of the change all the same.

import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { READ_REVOKED } from '../../mesh/wire/admin.js'
import { rawSqlite } from '../support/raw-sqlite.js'
import { answerOf, codeOf, startCa, type TestCa } from '../support/running-ca.js'

/** From now on nothing can be written into that table, as on a full disk. */
function failWrites(ca: TestCa, table: string): void {
  alter(
    ca,
    `CREATE TRIGGER full_disk BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'disk is full'); END`,
  )
}

function alter(ca: TestCa, sql: string): void {
  const db = rawSqlite(path.join(ca.home, 'ca', 'ca.db'))
  db.exec(sql)
  db.close()
}

describe('a change that was committed when the disk failed', () => {
  it('is told to the members as it is, when it is a revocation', async () => {
    await using ca = await startCa()
    await ca.enrol('planner')
    const feed = await ca.feed(await ca.enrol('tickets'))
    feed.send({ type: 'hello', position: null, capabilities: [] })
    await feed.next('snapshot')
    failWrites(ca, 'record')
    const revoked = answerOf(await ca.admin('POST', '/v1/revocations', { name: 'planner' }), READ_REVOKED)
    expect((await feed.next('delta')).changes).toMatchObject([{ kind: 'revoke', ids: revoked.ids }])
    expect((await ca.log.line('ca.audit_failed')).level).toBe('error')
  })

  it('is not made at all when it cannot be recorded, and is no revocation', async () => {
    await using ca = await startCa()
    failWrites(ca, 'record')
    const yaml = 'version: 1\nagents: []\nservices: []\n'
    expect(codeOf(await ca.admin('PUT', '/v1/policy', { yaml }))).toBe('INTERNAL')
    expect(codeOf(await ca.admin('GET', '/v1/policy'))).toBe('POLICY_NONE')
    expect(codeOf(await ca.admin('POST', '/v1/agents', { name: 'planner' }))).toBe('INTERNAL')
    expect(codeOf(await ca.admin('GET', '/v1/agents/planner'))).toBe('AGENT_UNKNOWN')
  })

  it('makes members ask for a snapshot, when nobody can say any more what it was', async () => {
    await using ca = await startCa()
    const feed = await ca.feed(await ca.enrol('tickets'))
    feed.send({ type: 'hello', position: null, capabilities: [] })
    const { position } = await feed.next('snapshot')
    const yaml = 'version: 1\nagents: []\nservices: [{id: agent/tickets, operations: []}]\n'
    alter(ca, 'ALTER TABLE endpoints RENAME TO unreadable')
    expect(codeOf(await ca.admin('PUT', '/v1/policy', { yaml }))).toBe('INTERNAL')
    alter(ca, 'ALTER TABLE unreadable RENAME TO endpoints')
    // the next change finds that the last one was never told
    await ca.admin('POST', '/v1/agents', { name: 'planner' })
    expect((await feed.next('heartbeat')).position.epoch).toBe(position.epoch + 1)
    feed.send({ type: 'resync' })
    const snapshot = await feed.next('snapshot')
    expect(snapshot.position.epoch).toBe(position.epoch + 1)
    expect(snapshot.view.policy.services.map(({ id }) => id)).toEqual(['agent/tickets'])
  })
})
