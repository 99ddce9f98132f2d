// Bounds how often one source address may fail to enrol, and one instance may renew. Tokens cannot be guessed anyway (256 bits); this keeps
// a guesser from filling the log and the CPU, and a member from filling the store.

import { isIPv6 } from 'node:net'
import type { Clock } from '../host/clock.js'
import type { MeshError } from '../mesh/errors.js'

export interface TryLimit {
  /** @throws the `refusal` */
  check(who: string): void
  count(who: string): void
  /**
   * Counts a try before its outcome is known, so that any number at once is no more than one after the other.
   * @returns what takes it back
   * @throws the `refusal`
   */
  take(who: string): () => void
}

export interface TryLimitOptions {
  readonly clock: Clock
  /** Tries in `windowMs`. */
  readonly max: number
  readonly windowMs: number
  /** Sources remembered; beyond it the oldest are forgotten. */
  readonly capacity: number
  /** @param retryAfterMs until it is let in again */
  readonly refusal: (retryAfterMs: number) => MeshError
}

/** A source is an address (an IPv6 one stands for its /64) or an instance. */
export function openTryLimit({ clock, max, windowMs, capacity, refusal }: TryLimitOptions): TryLimit {
  const windows = new Map<string, { since: number; tries: number }>()
  const current = (source: string): { since: number; tries: number } => {
    const known = windows.get(source)
    const now = clock.monotonic()
    return known !== undefined && now - known.since < windowMs ? known : { since: now, tries: 0 }
  }
  const check = (who: string): void => {
    const { since, tries } = current(networkOf(who))
    if (tries >= max) throw refusal(since + windowMs - clock.monotonic())
  }
  const count = (who: string): void => {
    const source = networkOf(who)
    const { since, tries } = current(source)
    // set again, so that the map stays in the order of the last try
    windows.delete(source)
    windows.set(source, { since, tries: tries + 1 })
    const [oldest] = windows.keys()
    if (windows.size > capacity && oldest !== undefined) windows.delete(oldest)
  }
  return {
    check,
    count,
    take(who) {
      check(who)
      count(who)
      const source = networkOf(who)
      const taken = windows.get(source)?.since
      return () => {
        const now = windows.get(source)
        if (now !== undefined && now.since === taken)
          windows.set(source, { ...now, tries: Math.max(0, now.tries - 1) })
      }
    },
  }
}

/** One IPv4 address, or one IPv6 /64: what one host can choose from freely. */
export function networkOf(address: string): string {
  const plain = plainAddress(address)
  if (!isIPv6(plain)) return plain
  const [head = '', tail = ''] = plain.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === '' ? [] : tail.split(':')
  const missing = plain.includes('::') ? Math.max(0, 8 - left.length - right.length) : 0
  return [...left, ...Array<string>(missing).fill('0'), ...right].slice(0, 4).join(':')
}

/** An IPv4 address that a dual-stack socket wrote as `::ffff:a.b.c.d`, without that; others as they are. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address
}
