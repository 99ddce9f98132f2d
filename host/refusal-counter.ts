// Keeps those who were turned away from filling a ledger, a sidecar's or the CA's: refusals are counted per reason and source, denials
// beyond fifty a second per caller too. Its memory is bounded whatever they do. It writes nothing itself.

import { isIPv4, isIPv6 } from 'node:net'
import { type Direction, NOBODY, type Party, type Refusal } from '../mesh/audit-record.js'
import type { Clock, Timer } from './clock.js'

const WINDOW_MS = 10_000
const MAX_GROUPS = 1000
const DENIALS_PER_SECOND = 50
const MAX_CALLERS = 4096

export interface Turned {
  readonly direction: Direction
  readonly reason: string
  readonly peer: Party
  readonly source: string
}

export interface RefusalCounter {
  /** `per` separates further; it must be something authenticated, or empty. */
  count(turned: Turned, per: string): void
  /** Emits what is counted and not yet emitted; nothing is counted afterwards. */
  close(): void
}

interface Group extends Turned {
  /** The peer that all of them claimed to be; nobody when they differ. */
  peer: Party
  count: number
  timer: Timer
}

/** Emits the first of each kind at once, then one record each ten seconds for as long as more come. */
export function openRefusalCounter(clock: Clock, emit: (refusal: Refusal) => void): RefusalCounter {
  const groups = new Map<string, Group>()

  const publish = ({ direction, reason, peer, source }: Turned, count: number): void =>
    emit({ kind: 'refusal', at: clock.now(), direction, reason, peer, source, count })

  const due = (key: string, group: Group): void => {
    if (group.count === 0) {
      groups.delete(key)
      return
    }
    publish(group, group.count)
    group.count = 0
    group.timer = clock.after(WINDOW_MS, () => due(key, group))
  }

  const countIn = (key: string, turned: Turned): void => {
    const known = groups.get(key)
    if (known !== undefined) {
      if (known.count === 0) known.peer = turned.peer
      else if (known.peer.serial !== turned.peer.serial) known.peer = NOBODY
      known.count += 1
      return
    }
    publish(turned, 1)
    const group: Group = { ...turned, count: 0, timer: clock.after(WINDOW_MS, () => due(key, group)) }
    groups.set(key, group)
  }

  return {
    count(turned, per) {
      const { direction, reason, source } = turned
      const key = `${direction} ${reason} ${source} ${per}`
      if (groups.has(key) || groups.size < MAX_GROUPS) countIn(key, turned)
      else countIn(`${direction} ${reason}`, { direction, reason, peer: NOBODY, source: 'others' })
    },
    close() {
      for (const group of groups.values()) {
        group.timer.cancel()
        if (group.count > 0) publish(group, group.count)
      }
      groups.clear()
    },
  }
}

/** @returns a function that is false for a caller's denials beyond fifty in the same second */
export function openDenialLimit(clock: Clock): (callerId: string | null) => boolean {
  let second = Number.NEGATIVE_INFINITY
  const counts = new Map<string, number>()
  return (callerId) => {
    const now = Math.floor(clock.monotonic() / 1000)
    if (now !== second) {
      second = now
      counts.clear()
    }
    const key = callerId !== null && (counts.has(callerId) || counts.size < MAX_CALLERS) ? callerId : ''
    const count = (counts.get(key) ?? 0) + 1
    counts.set(key, count)
    return count <= DENIALS_PER_SECOND
  }
}

/**
 * What a source is counted by: /24 of IPv4 (mapped addresses too), /48 of IPv6, `local` for a Unix socket.
 * @see RFC 4291 §2.2
 */
export function sourcePrefix(address: string | null): string {
  if (address === null) return 'local'
  const bare = address.split('%')[0] ?? ''
  const v4 = /^(?:::ffff:)?(\d+\.\d+\.\d+)\.\d+$/i.exec(bare)
  if (v4?.[1] !== undefined && isIPv4(`${v4[1]}.0`)) return `${v4[1]}.0/24`
  if (!isIPv6(bare)) return 'local'
  const [head = '', tail] = bare.split('::')
  const front = head === '' ? [] : head.split(':')
  const back = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : 8 - front.length - back.length
  const groups = [...front, ...Array.from({ length: Math.max(0, zeros) }, () => '0'), ...back].slice(0, 3)
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/48`
}
