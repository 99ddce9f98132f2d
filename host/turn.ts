// The end of a turn of the event loop, in its two steps: first what must be durable is committed, then what was written leaves. All of
// a process shares one, so that many calls cost one transaction and one write a connection (docs/architecture.md, "A call").

export interface Turn {
  /** Runs at the end of this turn, before any flush. What it begins may still be flushed in the same turn. */
  commit(act: () => void): void
  /** Runs at the end of this turn, behind all commits. */
  flush(act: () => void): void
}

/** @param failed hears what an act threw: a bug; the others run all the same */
export function openTurn(failed: (error: unknown) => void): Turn {
  let commits: (() => void)[] = []
  let flushes: (() => void)[] = []
  let isScheduled = false

  const runAll = (acts: readonly (() => void)[]): void => {
    for (const act of acts) {
      try {
        act()
      } catch (error) {
        failed(error)
      }
    }
  }
  const end = (): void => {
    // What commits and flushes ask for runs in this turn too, but only once around: a flush that asks for another waits for the next.
    const committing = commits
    commits = []
    runAll(committing)
    const flushing = flushes
    flushes = []
    isScheduled = false
    if (commits.length > 0) schedule()
    runAll(flushing)
  }
  const schedule = (): void => {
    if (isScheduled) return
    isScheduled = true
    setImmediate(end)
  }
  return {
    commit(act) {
      commits.push(act)
      schedule()
    },
    flush(act) {
      flushes.push(act)
      schedule()
    },
  }
}
