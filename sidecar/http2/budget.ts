// What a peer may do for nothing. Frames that bring no call forward are cheap to send and cost us work; each kind has a purse that fills
// with time, and an empty one ends the connection (ENHANCE_YOUR_CALM). Owns counters only.

import { flood } from './errors.js'

export interface Allowance {
  /** How many at once. */
  readonly burst: number
  readonly perSecond: number
}

export class Budget {
  readonly #what: string
  readonly #allowance: Allowance
  readonly #now: () => number
  #left: number
  #filledAt: number

  /**
   * @param what is spent, for the error
   * @param now ms on a clock that never goes back
   */
  constructor(what: string, allowance: Allowance, now: () => number) {
    this.#what = what
    this.#allowance = allowance
    this.#now = now
    this.#left = allowance.burst
    this.#filledAt = now()
  }

  /** @throws StreamError HTTP2_FLOOD when it is spent */
  spend(): void {
    this.#left -= 1
    // The clock is read only when the purse is empty.
    if (this.#left >= 0) return
    const now = this.#now()
    const { burst, perSecond } = this.#allowance
    this.#left = Math.min(burst, this.#left + ((now - this.#filledAt) / 1000) * perSecond)
    this.#filledAt = now
    if (this.#left < 0) throw flood(`too many ${this.#what}`)
  }

  /** What a peer does in answer to us costs it nothing. */
  earn(count: number): void {
    this.#left = Math.min(this.#allowance.burst, this.#left + count)
  }
}
