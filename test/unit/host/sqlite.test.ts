import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openSqlite, openSqliteReader } from '../../../host/sqlite.js'
import type { MeshError } from '../../../mesh/errors.js'

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'th-'))
  file = path.join(dir, 'db')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const FIRST = 'CREATE TABLE a (x INTEGER NOT NULL) STRICT'
const SECOND = 'ALTER TABLE a ADD COLUMN y INTEGER'
const open = (migrations: string[]) => openSqlite({ file, migrations, durability: 'process' })
const refusal = (code: string): MeshError => expect.objectContaining({ code }) as MeshError

describe('a database', () => {
  it('is made with the whole schema, for its owner alone, and keeps its rows', () => {
    const db = open([FIRST, SECOND])
    db.prepare('INSERT INTO a (x, y) VALUES (1, 2)').run()
    db.close()
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const again = open([FIRST, SECOND])
    expect(again.prepare('SELECT x, y FROM a').all()).toEqual([{ x: 1, y: 2 }])
    again.close()
  })

  it('of an older release is brought up to date, its rows kept', () => {
    const old = open([FIRST])
    old.prepare('INSERT INTO a (x) VALUES (1)').run()
    old.close()
    const db = open([FIRST, SECOND])
    expect(db.prepare('SELECT x, y FROM a').all()).toEqual([{ x: 1, y: null }])
    db.close()
  })

  it('of a newer release is refused and left as it was', () => {
    open([FIRST, SECOND]).close()
    const before = readFileSync(file)
    expect(() => open([FIRST])).toThrow(refusal('STATE_UNREADABLE'))
    expect(readFileSync(file).equals(before)).toBe(true)
  })

  it('whose migration fails stays at the schema before it', () => {
    open([FIRST]).close()
    expect(() => open([FIRST, `${SECOND}; NONSENSE`])).toThrow(refusal('STATE_UNREADABLE'))
    const db = open([FIRST])
    expect(db.prepare('SELECT * FROM a').all()).toEqual([])
    db.close()
  })

  it('that is another file is refused and left as it was', () => {
    writeFileSync(file, 'no database, but long enough to be taken for the head of one '.repeat(20))
    const before = readFileSync(file)
    expect(() => open([FIRST])).toThrow(refusal('STATE_UNREADABLE'))
    expect(readFileSync(file).equals(before)).toBe(true)
  })

  it('that the disk does not let be written is told from a damaged one', () => {
    mkdirSync(file)
    const hintOf = (): string => {
      try {
        open([FIRST])
      } catch (error) {
        const { code, hint } = error as MeshError
        return `${code} ${hint}`
      }
      return 'opened'
    }
    expect(hintOf()).toMatch(/^STATE_UNREADABLE .*room/)
  })

  it('in a directory that is not there is refused', () => {
    const away = path.join(dir, 'none', 'db')
    expect(() => openSqlite({ file: away, migrations: [], durability: 'power' })).toThrow(
      refusal('STATE_UNREADABLE'),
    )
  })

  it.each([
    ['power', 2],
    ['process', 1],
  ] as const)('survives a loss of %s', (durability, synchronous) => {
    const db = openSqlite({ file, migrations: [FIRST], durability })
    expect(db.pragma('synchronous', { simple: true })).toBe(synchronous)
    expect(db.pragma('journal_mode', { simple: true })).toBe('wal')
    db.close()
  })
})

describe('a reader', () => {
  it('sees what another connection commits, and cannot write', () => {
    const writer = open([FIRST])
    const reader = openSqliteReader(file)
    writer.prepare('INSERT INTO a (x) VALUES (7)').run()
    expect(reader.prepare('SELECT x FROM a').all()).toEqual([{ x: 7 }])
    expect(() => reader.prepare('INSERT INTO a (x) VALUES (8)').run()).toThrow()
    reader.close()
    writer.close()
  })

  it('of a ledger that is not there says so, and makes none', () => {
    expect(() => openSqliteReader(file)).toThrow(refusal('LEDGER_MISSING'))
    expect(() => statSync(file)).toThrow()
  })

  it('of another file is refused', () => {
    writeFileSync(file, 'no database, but long enough to be taken for the head of one '.repeat(20))
    expect(() => openSqliteReader(file)).toThrow(refusal('STATE_UNREADABLE'))
  })
})
