import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { openSqlite, type Sqlite } from '../../../host/sqlite.js'
import { rawSqlite } from '../../support/raw-sqlite.js'

const MIGRATIONS = ['CREATE TABLE things (name TEXT NOT NULL PRIMARY KEY) STRICT']

function openThings() {
  const dir = mkdtempSync(path.join(tmpdir(), 'group-'))
  const file = path.join(dir, 'things.db')
  const db = openSqlite({ file, migrations: MIGRATIONS, durability: 'process' })
  return {
    file,
    db,
    [Symbol.dispose]: () => {
      db.close()
      rmSync(dir, { recursive: true })
    },
  }
}

const add = (db: Sqlite, name: string): void =>
  void db.prepare('INSERT INTO things (name) VALUES (?)').run(name)
const names = (file: string): unknown[] => {
  const other = rawSqlite(file, { readonly: true })
  const rows = other.prepare('SELECT name FROM things ORDER BY rowid').pluck().all()
  other.close()
  return rows
}
const outcomes = (results: PromiseSettledResult<unknown>[]): string[] => results.map(({ status }) => status)

describe('work on a database within one turn of the event loop', () => {
  it('shares one commit, which another connection sees whole or not at all', async () => {
    using things = openThings()
    const { db, file } = things
    const seen: unknown[][] = []
    const each = ['a', 'b', 'c'].map((name) =>
      db.transact(() => add(db, name)).then(() => seen.push(names(file))),
    )
    expect(names(file)).toEqual([])
    await Promise.all(each)
    expect(seen).toEqual([
      ['a', 'b', 'c'],
      ['a', 'b', 'c'],
      ['a', 'b', 'c'],
    ])
  })

  it('undoes what one refuses, all of it, and nothing of the others', async () => {
    using things = openThings()
    const { db, file } = things
    const refusal = new Error('refused')
    const results = await Promise.allSettled([
      db.transact(() => add(db, 'a')),
      db.transact(() => {
        add(db, 'half')
        throw refusal
      }),
      db.transact(() => add(db, 'a')),
      db.transact(() => names(file).length),
      db.transact(() => add(db, 'b')),
    ])
    expect(outcomes(results)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled', 'fulfilled'])
    expect(results[1]).toMatchObject({ reason: refusal })
    // the constraint of the database, against a row of the same group
    expect(results[2]).toMatchObject({ reason: { code: 'SQLITE_CONSTRAINT_PRIMARYKEY' } })
    expect(names(file)).toEqual(['a', 'b'])
  })

  it('is refused together when the commit fails, whatever each had been told inside', async () => {
    using things = openThings()
    const { db, file } = things
    const results = await Promise.allSettled([
      db.transact(() => add(db, 'a')),
      // as SQLite does by itself when the disk is full
      db.transact(() => {
        db.exec('ROLLBACK')
        throw new Error('disk is full')
      }),
      db.transact(() => add(db, 'b')),
    ])
    expect(outcomes(results)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(names(file)).toEqual([])
    await db.transact(() => add(db, 'c'))
    expect(names(file)).toEqual(['c'])
  })

  it('is done in the order asked, also when it is more than one turn can take', async () => {
    using things = openThings()
    const { db, file } = things
    const wanted = Array.from({ length: 700 }, (_, index) => `thing ${index}`)
    await Promise.all(wanted.map((name) => db.transact(() => add(db, name))))
    expect(names(file)).toEqual(wanted)
  })

  it('is refused after the database was closed, and done before', async () => {
    using things = openThings()
    const { db, file } = things
    const added = db.transact(() => add(db, 'a'))
    const closed = db.transact(() => undefined).finally(() => db.close())
    await Promise.all([added, closed])
    expect(names(file)).toEqual(['a'])
    await expect(db.transact(() => add(db, 'b'))).rejects.toThrow()
  })
})
