// Call ids may be used once by each caller instance. Memory is bounded, and forgetting never opens a way back: an id that is older
// than the newest forgotten one of its caller is refused, since ids carry their time (UUIDv7).

import { MeshError } from '../../mesh/errors.js'
import { timeOfCallId } from './call-id.js'

export interface ReplayLimits {
  /** Ids remembered of one caller: at least this many, at most twice; fewer when all callers together have too many. */
  readonly idsPerCaller: number
  readonly callers: number
  /** Ids remembered in all: some 130 bytes each. */
  readonly ids: number
}

export const REPLAY_LIMITS: ReplayLimits = { idsPerCaller: 16_384, callers: 4096, ids: 262_144 }

/** Ids from further ahead are refused: they would push the floor of everybody who is met later. */
const MAX_AHEAD_MS = 600_000

interface Memory {
  recent: Set<string>
  older: Set<string>
  /** The latest time among the ids in each set. */
  recentTo: number
  olderTo: number
  /** Ids of this time or earlier are refused. */
  floor: number
}

export interface ReplayGuard {
  /**
   * Takes the id for good.
   * @param caller names one instance of one identity
   * @param now ms since epoch
   * @throws MeshError CALL_ID_INVALID when it was used before, or may have been
   */
  use(caller: string, callId: string, now: number): void
}

export function openReplayGuard(limits: ReplayLimits): ReplayGuard {
  const callers = new Map<string, Memory>()
  let forgottenTo = 0
  let held = 0

  /** The newest ids become the older ones, the older ones are forgotten. */
  const age = (memory: Memory): void => {
    held -= memory.older.size
    memory.floor = Math.max(memory.floor, memory.olderTo)
    memory.older = memory.recent
    memory.olderTo = memory.recentTo
    memory.recent = new Set()
    memory.recentTo = 0
  }

  /** Makes room in the memories unused for longest; an eighth at once, so that it is seldom. */
  const makeRoom = (): void => {
    while (held > limits.ids * 0.875)
      for (const memory of callers.values()) {
        if (held <= limits.ids * 0.875) return
        if (memory.recent.size + memory.older.size > 0) age(memory)
      }
  }

  const memoryOf = (caller: string): Memory => {
    const known = callers.get(caller)
    if (known !== undefined) {
      // Moved to the end: the first of the map is the one unused for longest.
      callers.delete(caller)
      callers.set(caller, known)
      return known
    }
    const [oldest] = callers
    if (oldest !== undefined && callers.size >= limits.callers) {
      callers.delete(oldest[0])
      held -= oldest[1].recent.size + oldest[1].older.size
      forgottenTo = Math.max(forgottenTo, oldest[1].recentTo, oldest[1].olderTo, oldest[1].floor)
    }
    const fresh = emptyMemory(forgottenTo)
    callers.set(caller, fresh)
    return fresh
  }

  /** @throws MeshError CALL_ID_INVALID: what ages is looked at before it does */
  const makeRoomFor = (memory: Memory, callId: string): void => {
    if (memory.recent.has(callId)) throw usedBefore(callId)
    if (memory.recent.size >= limits.idsPerCaller) age(memory)
    if (held >= limits.ids) makeRoom()
  }

  return {
    use(caller, callId, now) {
      const memory = memoryOf(caller)
      const at = timeOfCallId(callId)
      if (at > now + MAX_AHEAD_MS)
        throw new MeshError('CALL_ID_INVALID', `call id ${callId} is from the future`)
      if (at <= memory.floor || memory.older.has(callId)) throw usedBefore(callId)
      if (memory.recent.size >= limits.idsPerCaller || held >= limits.ids) makeRoomFor(memory, callId)
      // one look-up, not two: it was there when nothing was added
      const { size } = memory.recent
      memory.recent.add(callId)
      if (memory.recent.size === size) throw usedBefore(callId)
      held += 1
      memory.recentTo = Math.max(memory.recentTo, at)
    },
  }
}

const emptyMemory = (floor: number): Memory => ({
  recent: new Set<string>(),
  older: new Set<string>(),
  recentTo: 0,
  olderTo: 0,
  floor,
})

const usedBefore = (callId: string): MeshError =>
  new MeshError('CALL_ID_INVALID', `call id ${callId} was used before`)
