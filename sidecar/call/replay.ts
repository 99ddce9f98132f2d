// Call ids may be used once by each caller instance. Memory is bounded, and forgetting never opens a way back: an id that is older
// than the newest forgotten one of its caller is refused, since ids carry their time (UUIDv7).

import { MeshError } from '../../mesh/errors.js'
import { timeOfCallId } from './call-id.js'
import { IdSet } from './id-set.js'

export interface ReplayLimits {
  /** Ids remembered of one caller: at least this many, at most twice; fewer when all callers together have too many. */
  readonly idsPerCaller: number
  readonly callers: number
  /** Ids remembered in all: 16 to 32 bytes each. */
  readonly ids: number
}

export const REPLAY_LIMITS: ReplayLimits = { idsPerCaller: 16_384, callers: 4096, ids: 262_144 }

/** Ids from further ahead are refused: they would push the floor of everybody who is met later. */
const MAX_AHEAD_MS = 600_000

interface Memory {
  recent: IdSet
  older: IdSet
  /** The latest time among the ids in each set. */
  recentTo: number
  olderTo: number
  /** Ids of this time or earlier are refused. */
  floor: number
}

export class ReplayGuard {
  readonly #limits: ReplayLimits
  readonly #seed: number
  /** The one used last stands last. */
  readonly #callers = new Map<string, Memory>()
  #last: Memory | undefined
  #forgottenTo = 0
  #held = 0

  /** @param seed 32 random bits, so that nobody can choose ids that crowd */
  constructor(limits: ReplayLimits, seed: number) {
    this.#limits = limits
    this.#seed = seed
  }

  /**
   * Takes the id for good.
   * @param caller names one instance of one identity
   * @param now ms since epoch
   * @throws MeshError CALL_ID_INVALID when it was used before, or may have been
   */
  use(caller: string, callId: string, now: number): void {
    const memory = this.#memoryOf(caller)
    const at = timeOfCallId(callId)
    if (at > now + MAX_AHEAD_MS)
      throw new MeshError('CALL_ID_INVALID', `call id ${callId} is from the future`)
    if (at <= memory.floor || memory.older.has(callId)) throw usedBefore(callId)
    if (this.#held >= this.#limits.ids) {
      // what ages is looked at before it does
      if (memory.recent.has(callId)) throw usedBefore(callId)
      this.#makeRoom()
    }
    this.#remember(memory, callId)
    memory.recentTo = Math.max(memory.recentTo, at)
  }

  #remember(memory: Memory, callId: string): void {
    const hasRoom = memory.recent.size < this.#limits.idsPerCaller
    let added = hasRoom ? memory.recent.add(callId) : 'full'
    if (added === 'full') {
      if (memory.recent.has(callId)) throw usedBefore(callId)
      this.#age(memory)
      added = memory.recent.add(callId)
    }
    if (added === 'known') throw usedBefore(callId)
    this.#held += 1
  }

  /** The newest ids become the older ones, the older ones are forgotten. */
  #age(memory: Memory): void {
    this.#held -= memory.older.size
    memory.floor = Math.max(memory.floor, memory.olderTo)
    memory.older = memory.recent
    memory.olderTo = memory.recentTo
    memory.recent = new IdSet(this.#seed)
    memory.recentTo = 0
  }

  /** Makes room in the memories unused for longest; an eighth at once, so that it is seldom. */
  #makeRoom(): void {
    const enough = this.#limits.ids * 0.875
    while (this.#held > enough)
      for (const memory of this.#callers.values()) {
        if (this.#held <= enough) return
        if (memory.recent.size + memory.older.size > 0) this.#age(memory)
      }
  }

  #memoryOf(caller: string): Memory {
    const known = this.#callers.get(caller)
    if (known !== undefined && known === this.#last) return known
    const memory = known ?? this.#begin()
    this.#callers.delete(caller)
    this.#callers.set(caller, memory)
    this.#last = memory
    return memory
  }

  #begin(): Memory {
    const [oldest] = this.#callers
    if (oldest !== undefined && this.#callers.size >= this.#limits.callers) {
      const [caller, { recent, older, recentTo, olderTo, floor }] = oldest
      this.#callers.delete(caller)
      this.#held -= recent.size + older.size
      this.#forgottenTo = Math.max(this.#forgottenTo, recentTo, olderTo, floor)
    }
    const seed = this.#seed
    return {
      recent: new IdSet(seed),
      older: new IdSet(seed),
      recentTo: 0,
      olderTo: 0,
      floor: this.#forgottenTo,
    }
  }
}

const usedBefore = (callId: string): MeshError =>
  new MeshError('CALL_ID_INVALID', `call id ${callId} was used before`)
