// A database file opened behind the back of its owner, to look into it or to spoil it. Kept alive like all others (host/sqlite.ts): a
// database or statement that is collected ends the whole process on Node 24.

import Database from 'better-sqlite3'
import { keepAlive, type Sqlite } from '../../host/sqlite.js'

export const rawSqlite = (file: string, options: Database.Options = {}): Sqlite =>
  keepAlive(new Database(file, options))
