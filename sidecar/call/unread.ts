// What callers leave unread of their answers, counted together: each answer is held within its windows, but many are many. One for
// each caller at the ingress, and one for all local processes at the egress.

/** So many answers that stand still with full windows: more than an app over HTTP/1.1 gives at once. */
const MAX_UNREAD_BYTES = 64 * 1024 * 1024

export class Unread {
  readonly #limit: number
  #bytes = 0

  constructor(limit: number = MAX_UNREAD_BYTES) {
    this.#limit = limit
  }

  /** @returns false when that is more than callers may leave */
  hold(bytes: number): boolean {
    this.#bytes += bytes
    return this.#bytes <= this.#limit
  }

  /** They were read, or are wanted no more. */
  release(bytes: number): void {
    this.#bytes -= bytes
  }
}
