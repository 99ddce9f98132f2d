// Bounds how often one source address may fail to enrol. Tokens cannot be guessed anyway (256 bits); this keeps a guesser
// from filling the log and the CPU.

import { isIPv6 } from 'node:net'
import type { Clock } from '../host/clock.js'
import { MeshError } from '../mesh/errors.js'

export interface TryLimit {
  /** @throws MeshError JOIN_TOKEN_TRIES */
  check(address: string): void
  failed(address: string): void
}

export interface TryLimitOptions {
  readonly clock: Clock
  /** Failures a minute. */
  readonly max: number
  /** Addresses remembered; beyond it the oldest are forgotten. */
  readonly capacity: number
}

const WINDOW_MS = 60_000

export function openTryLimit({ clock, max, capacity }: TryLimitOptions): TryLimit {
  const windows = new Map<string, { since: number; failures: number }>()
  const current = (source: string): { since: number; failures: number } => {
    const known = windows.get(source)
    const now = clock.monotonic()
    return known !== undefined && now - known.since < WINDOW_MS ? known : { since: now, failures: 0 }
  }
  return {
    check(address) {
      if (current(sourceOf(address)).failures >= max)
        throw new MeshError('JOIN_TOKEN_TRIES', 'too many enrolments from this address failed')
    },
    failed(address) {
      const source = sourceOf(address)
      const { since, failures } = current(source)
      // set again, so that the map stays in the order of the last failure
      windows.delete(source)
      windows.set(source, { since, failures: failures + 1 })
      const [oldest] = windows.keys()
      if (windows.size > capacity && oldest !== undefined) windows.delete(oldest)
    },
  }
}

/** One IPv4 address, or one IPv6 /64: what one host can choose from freely. */
function sourceOf(address: string): string {
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
