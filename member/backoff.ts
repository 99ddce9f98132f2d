// Waits between attempts: doubled each time up to a cap, each shortened by a random part of up to a half, so that members of a
// mesh that lost its CA do not come back all at once.

import { randomInt } from 'node:crypto'

export interface Backoff {
  /** The next wait, ms. */
  next(): number
  /** After a success: begin with the shortest wait again. */
  reset(): void
}

export function openBackoff({ firstMs, capMs }: { firstMs: number; capMs: number }): Backoff {
  let ceiling = firstMs
  return {
    next() {
      const wait = ceiling
      ceiling = Math.min(ceiling * 2, capMs)
      return wait - randomInt(Math.floor(wait / 2) + 1)
    },
    reset() {
      ceiling = firstMs
    },
  }
}
