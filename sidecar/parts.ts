// The parts of one identity that both doors share. Everything of an identity hangs on one such object; there is no module state, so
// that one process can serve several.

import type { Clock } from '../host/clock.js'
import type { Log } from '../host/log.js'
import type { Sweep } from '../host/sweep.js'
import type { Turn } from '../host/turn.js'
import type { WorldHolder } from '../member/control/world.js'
import type { Credentials } from '../member/identity/credentials.js'
import type { SpiffeId } from '../mesh/spiffe-id.js'
import type { Recorder } from './audit/recorder.js'
import type { Standing } from './call/authorize.js'
import type { CallIds } from './call/call-id.js'
import type { ExchangeLimits } from './call/exchange-contract.js'
import type { FieldRules } from './call/headers.js'
import type { Books } from './call/outcome.js'
import type { Unread } from './call/unread.js'
import type { Connections } from './connections.js'
import { DEFAULT_LIMITS, type Limits } from './http2/contract.js'

export interface Parts {
  readonly id: SpiffeId
  readonly credentials: Credentials
  readonly world: WorldHolder
  readonly recorder: Recorder
  readonly connections: Connections
  readonly clock: Clock
  /** One a process, whatever identities it serves. */
  readonly turn: Turn
  /** Deadlines of calls and connections. */
  readonly sweep: Sweep
  /** Where reads from peers land, one after the other. */
  readonly reads: Buffer
  readonly log: Log
  readonly limits: ExchangeLimits & { readonly connectTimeoutMs: number }
  readonly doors: DoorLimits
  /** Where its calls are accounted for. */
  readonly books: Books
  readonly rules: FieldRules
  readonly ids: CallIds
  readonly inFlight: InFlight
  /** Of all that local processes asked for. */
  readonly unread: Unread
  /** How this side stands now. */
  standing(): Standing
}

/** What a door bears before anybody has proved anything. */
export interface DoorLimits {
  /** Until the head of a request is whole. */
  readonly headMs: number
  /** Connections of one door at once; one more is closed unread. */
  readonly maxConnections: number
  /** Of one identity at the ingress; one more is turned away with its reason. */
  readonly maxConnectionsOfPeer: number
  /** Calls that one identity has at the ingress at once, over all its connections; one more is refused unread. */
  readonly maxCallsOfPeer: number
}

export const DOOR_LIMITS: DoorLimits = {
  headMs: 10_000,
  maxConnections: 4096,
  maxConnectionsOfPeer: 256,
  maxCallsOfPeer: 8192,
}

/**
 * Of connections between sidecars, at both ends. The window of a connection is that of 64 streams: so many may stand still, because nobody
 * reads them, before the others do.
 */
export const MESH_LIMITS: Limits = {
  ...DEFAULT_LIMITS,
  maxConcurrentStreams: 1024,
  streamWindowBytes: 256 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
}

/** The calls that run, so that a drain can wait for them. */
export interface InFlight {
  readonly count: number
  begin(): void
  /** Once for each `begin`. */
  end(): void
  /** Resolves when no call runs, at once when none does. */
  idle(): Promise<void>
}

export function openInFlight(): InFlight {
  const waiting = new Set<() => void>()
  let count = 0
  return {
    get count() {
      return count
    },
    begin() {
      count += 1
    },
    end() {
      count -= 1
      if (count > 0) return
      for (const resolve of waiting) resolve()
      waiting.clear()
    },
    idle: () => (count === 0 ? Promise.resolve() : new Promise((resolve) => void waiting.add(resolve))),
  }
}
