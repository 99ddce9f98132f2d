// The one door to SQLite: opens a database in WAL mode and brings its schema up to date. Migrations are numbered from 1 and
// never edited; a database of a newer release is refused and left alone.

import { chmodSync, existsSync } from 'node:fs'
import Database from 'better-sqlite3'
import { MeshError } from '../mesh/errors.js'
import { type GroupCommit, openGroupCommit } from './group-commit.js'

/** `transact` is the one way for asynchronous stores: see group-commit.ts. */
export type Sqlite = Database.Database & { readonly transact: GroupCommit }
export type Statement = Database.Statement

export interface SqliteOptions {
  readonly file: string
  /** SQL of migration 1, 2, ...; each runs once, in a transaction of its own. */
  readonly migrations: readonly string[]
  /** `power` survives a power cut (fsync at each commit); `process` survives kill -9. */
  readonly durability: 'power' | 'process'
}

/**
 * @throws MeshError STATE_UNREADABLE when the file is no database, is damaged, or is of a newer release
 */
export function openSqlite({ file, migrations, durability }: SqliteOptions): Sqlite {
  let db: Sqlite | undefined
  try {
    db = keepAlive(new Database(file, { timeout: 5000 }))
    refuseNewer(db, file, migrations)
    if (file !== ':memory:') chmodSync(file, 0o600)
    db.pragma('journal_mode = WAL')
    db.pragma(`synchronous = ${durability === 'power' ? 'FULL' : 'NORMAL'}`)
    db.pragma('foreign_keys = ON')
    migrate(db, migrations)
    // what a savepoint keeps aside of each page: in files, a tenth of the cost of a certificate
    db.pragma('temp_store = MEMORY')
    return db
  } catch (error) {
    db?.close()
    throw error instanceof MeshError ? error : openError(file, error)
  }
}

/** What is wrong with the disk is not mended by a backup. */
function openError(file: string, cause: unknown): MeshError {
  const { code = '' } = cause as { code?: string }
  return /^SQLITE_(FULL|IOERR|READONLY|CANTOPEN)/.test(code)
    ? new MeshError('STATE_UNREADABLE', `${file} cannot be opened for writing (${code})`, {
        cause,
        hint: 'see that its disk has room, and that this user may write there; the file is as it was',
      })
    : new MeshError('STATE_UNREADABLE', `${file} is not a readable database`, { cause })
}

/**
 * Opens a database that another process may be writing, for reading only.
 * @throws MeshError LEDGER_MISSING | STATE_UNREADABLE
 */
export function openSqliteReader(file: string): Sqlite {
  if (!existsSync(file)) throw new MeshError('LEDGER_MISSING', `there is no ledger ${file}`)
  let db: Sqlite | undefined
  try {
    db = keepAlive(new Database(file, { readonly: true, fileMustExist: true, timeout: 5000 }))
    db.pragma('schema_version')
    return db
  } catch (error) {
    db?.close()
    if ((error as { code?: string }).code === 'SQLITE_CANTOPEN')
      throw new MeshError('LEDGER_MISSING', `${file} cannot be opened`, { cause: error })
    throw new MeshError('STATE_UNREADABLE', `${file} is not a readable database`, { cause: error })
  }
}

/**
 * Copies a database, as of one moment, while another process may be writing it.
 * @param copy must not be there
 * @throws MeshError LEDGER_MISSING | STATE_UNREADABLE
 */
export function copySqlite(file: string, copy: string): void {
  const db = openSqliteReader(file)
  try {
    // not the online backup: its object cannot be kept alive (see below), and a writer makes it begin again
    db.prepare('VACUUM INTO ?').run(copy)
    chmodSync(copy, 0o600)
  } catch (error) {
    throw openError(file, error)
  } finally {
    db.close()
  }
}

/**
 * better-sqlite3 12 builds on node::ObjectWrap, which since Node 24.19 aborts the whole process when an object is collected outside of
 * JavaScript (WiseLibs/better-sqlite3#1515). So none is ever collected: a database prepares each SQL text once and keeps the
 * statement, and databases are kept here, closed ones as empty shells. This is the one module-level state of the project; it goes
 * with better-sqlite3 13, which needs Node 22.
 */
const kept = new Set<Sqlite>()

export function keepAlive(db: Database.Database): Sqlite {
  const statements = new Map<string, Statement>()
  const prepare = db.prepare.bind(db)
  const prepareOnce = (sql: string): Statement => {
    const known = statements.get(sql)
    if (known !== undefined) return known
    const statement = prepare(sql)
    statements.set(sql, statement)
    return statement
  }
  const pragma: Sqlite['pragma'] = (source, { simple = false } = {}) => {
    const statement = prepareOnce(`PRAGMA ${source}`)
    if (!statement.reader) return statement.run()
    const rows = statement.all() as Record<string, unknown>[]
    return simple ? Object.values(rows[0] ?? {})[0] : rows
  }
  const whole = Object.assign(db, { prepare: prepareOnce, pragma, transact: openGroupCommit(db) })
  kept.add(whole)
  return whole
}

const versionOf = (db: Sqlite): number => db.pragma('user_version', { simple: true }) as number

function refuseNewer(db: Sqlite, file: string, migrations: readonly string[]): void {
  const at = versionOf(db)
  if (at > migrations.length) {
    throw new MeshError('STATE_UNREADABLE', `${file} was written by a newer release (schema ${at})`, {
      hint: 'run that release, or a newer one',
    })
  }
}

function migrate(db: Sqlite, migrations: readonly string[]): void {
  const at = versionOf(db)
  migrations.slice(at).forEach((sql, index) => {
    db.transaction(() => {
      db.exec(sql)
      db.pragma(`user_version = ${at + index + 1}`)
    })()
  })
}
