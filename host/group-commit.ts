// Group commit: what is asked of a database within one turn of the event loop shares one transaction, and so one fsync. Each piece of
// work keeps its own outcome: what one throws undoes that one alone. Nobody hears of an outcome before all of it is on disk.

/** Runs `work`, which is synchronous, as a transaction; what it throws undoes it and rejects. In the order asked. */
export type GroupCommit = <T>(work: () => T) => Promise<T>

/** What of a database is needed here. */
interface Transactions {
  readonly inTransaction: boolean
  prepare(sql: string): { run(): unknown }
}

/** Bounds how long the event loop stands still; the rest of a crowd comes in its next turn. */
const MOST_AT_ONCE = 256

interface Piece {
  readonly work: () => unknown
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

export function openGroupCommit(db: Transactions): GroupCommit {
  let waiting: Piece[] = []
  const run = (): void => {
    const group = waiting.slice(0, MOST_AT_ONCE)
    waiting = waiting.slice(MOST_AT_ONCE)
    if (waiting.length > 0) setImmediate(run)
    commit(db, group)
  }
  return <T>(work: () => T) =>
    new Promise<T>((resolve, reject) => {
      waiting.push({ work, resolve: resolve as Piece['resolve'], reject })
      if (waiting.length === 1) setImmediate(run)
    })
}

function commit(db: Transactions, group: readonly Piece[]): void {
  const settle: (() => void)[] = []
  try {
    db.prepare('BEGIN IMMEDIATE').run()
    for (const piece of group) settle.push(attempt(db, piece))
    db.prepare('COMMIT').run()
  } catch (error) {
    if (db.inTransaction) db.prepare('ROLLBACK').run()
    // also those that were refused: what they were refused for may never have happened
    for (const { reject } of group) reject(asError(error))
    return
  }
  for (const tell of settle) tell()
}

/** @throws what SQLite throws when it has given up the whole transaction, as on a full disk */
function attempt(db: Transactions, { work, resolve, reject }: Piece): () => void {
  db.prepare('SAVEPOINT piece').run()
  try {
    const value = work()
    db.prepare('RELEASE piece').run()
    return () => resolve(value)
  } catch (error) {
    if (!db.inTransaction) throw error
    db.prepare('ROLLBACK TO piece').run()
    db.prepare('RELEASE piece').run()
    return () => reject(asError(error))
  }
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))
