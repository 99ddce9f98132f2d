// Long work on many things in the one thread there is: every so many, whatever else waits gets its turn.

import { setImmediate as turn } from 'node:timers/promises'

/** About 5 ms of work on the lines of a revocation list. */
const SLICE = 500

/** `each` of the items, in order; what it throws ends the work. */
export async function inSlices<T>(
  items: readonly T[],
  each: (item: T, index: number) => void,
): Promise<void> {
  for (const [index, item] of items.entries()) {
    if (index % SLICE === SLICE - 1) await turn()
    each(item, index)
  }
}
