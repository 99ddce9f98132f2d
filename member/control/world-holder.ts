// The one owner of a member's world: replaced whole, written down, and loaded again at start, so that calls go on while the CA is away.
// A new world is in force before its listeners run, and their cut is done before anybody hears that it was applied.

import type { Clock } from '../../host/clock.js'
import { errorFields, type Log } from '../../host/log.js'
import { MeshError } from '../../mesh/errors.js'
import { integer, nullable, readJson, record, text } from '../../mesh/parse.js'
import { covers, type Revocations, withRestored, withRevoked } from '../../mesh/revocation.js'
import { bundlePem, type TrustBundle } from '../../mesh/trust-bundle.js'
import { type Change, type Position, READ_VIEW, type View } from '../../mesh/wire/feed.js'
import type { Credentials } from '../identity/credentials.js'
import type { StateDir } from '../state-dir.js'
import type { WorldHolder, WorldListener } from './world.js'
import {
  firstWorld,
  type Ground,
  keepingBundles,
  keepingRevocations,
  viewOf,
  type WorldState,
  worldAfter,
  worldOfView,
} from './world-state.js'

/** What a delta of the feed did: applied (with the connections cut for it), known already, or not the next one. */
export type Applied = { readonly cut: number } | 'known' | 'gap'

/** The side of the feed. */
export interface WorldOwner extends WorldHolder {
  /**
   * @param returns the CA was restored and asks: what is known to be withdrawn is kept beside what the view says
   * @returns connections cut
   * @throws MeshError WIRE_MALFORMED (also when it would turn time back) | POLICY_MALFORMED | PEER_CERT_MALFORMED | DEV_ROOT
   */
  replace(view: View, position: Position, returns: boolean): number
  /** @throws as `replace` */
  change(from: number, position: Position, changes: readonly Change[]): Applied
  /** The CA gave a sign of life. */
  heard(): void
  /** Writes the world down when that failed before. @returns whether the next start finds what is in force */
  keep(): boolean
  /** The CA said something critical that this release does not understand: stale until the next snapshot. */
  readonly alarm: () => void
  /** The CA refused this member as revoked before the feed said so. */
  denySelf(): void
  /** The CA gave this member a certificate: its identity is not banned, whatever the last word of the feed was. */
  admitSelf(): void
}

export interface HoldingWorld {
  readonly state: StateDir
  readonly credentials: Credentials
  readonly bundle: TrustBundle
  /** What is known to be withdrawn before the feed's first word. */
  readonly revocations: Revocations
  readonly dev: boolean
  readonly feedMaxStalenessMs: number
  readonly clock: Clock
  readonly log: Log
}

/** world.json. `heardAt`: the CA's last frame that changed it, ms since epoch. */
const READ_WORLD = record({
  version: integer(1, 1),
  heardAt: integer(0),
  position: nullable(record({ generation: text(36), epoch: integer(0) })),
  view: READ_VIEW,
})

/**
 * The last world of this member, or a first one.
 * @throws MeshError STATE_UNREADABLE
 */
export function holdWorld(holding: HoldingWorld): WorldOwner {
  const { state, credentials, bundle, dev, clock, log } = holding
  const ground = { trustDomain: bundle.trustDomain, dev }
  const stored = loadWorld(state, ground)
  const listeners: WorldListener[] = []
  let current = stored?.world ?? firstKnowing(bundle, holding.revocations)
  let heard = { wall: stored?.heardAt ?? clock.now(), monotonic: clock.monotonic() }
  let alarmed = false
  const paper = openPaper(holding)

  const put = (next: WorldState): number => {
    const previous = current
    current = next
    const cut = listeners.reduce((sum, listener) => sum + listener(next.world, previous.world), 0)
    paper.write(next, heard.wall)
    return cut
  }
  const isRevoked = (): boolean => covers(current.world.revocations, credentials.current().svid)

  return {
    current: () => current.world,
    isStale: () =>
      alarmed ||
      Math.max(clock.monotonic() - heard.monotonic, clock.now() - heard.wall) > holding.feedMaxStalenessMs,
    get selfRevoked() {
      return isRevoked()
    },
    onChange: (listener) => void listeners.push(listener),
    replace(view, position, returns) {
      const at = current.world.position
      checkForward(at, position)
      const next = keepingBundles(worldOfView(view, position, ground), current)
      // another generation is a CA restored from a backup: it may have forgotten revocations, and they hold all the same
      const keeps = returns || (at !== null && at.generation !== position.generation)
      alarmed = false
      return put(keeps ? keepingRevocations(next, current) : next)
    },
    change(from, position, changes) {
      const at = current.world.position
      if (at === null || at.generation !== position.generation || from > at.epoch) return 'gap'
      if (position.epoch <= at.epoch) return 'known'
      if (from !== at.epoch) return 'gap'
      return { cut: put(worldAfter(current, changes, position, ground)) }
    },
    heard() {
      heard = { wall: clock.now(), monotonic: clock.monotonic() }
    },
    keep: () => paper.isTrue() || paper.write(current, heard.wall),
    alarm() {
      alarmed = true
      log.error('feed.not-understood')
    },
    denySelf() {
      if (isRevoked()) return
      const { id, issuer, serial, notAfter } = credentials.current().svid
      log.error('identity.revoked', { id, serial })
      const { world, policy } = current
      const own = { id, issuer, serial, expiresAt: notAfter }
      put({ policy, world: { ...world, revocations: withRevoked(world.revocations, [], [own]) } })
    },
    admitSelf() {
      const { world, policy } = current
      const { id } = credentials.current().svid
      if (world.revocations.ids.has(id))
        put({ policy, world: { ...world, revocations: withRestored(world.revocations, id) } })
    },
  }
}

function firstKnowing(bundle: TrustBundle, revocations: Revocations): WorldState {
  const first = firstWorld(bundle)
  return { ...first, world: { ...first.world, revocations } }
}

/** Within one generation epochs only grow. @throws MeshError WIRE_MALFORMED */
function checkForward(at: Position | null, next: Position): void {
  if (at !== null && at.generation === next.generation && next.epoch < at.epoch)
    throw new MeshError('WIRE_MALFORMED', `the feed went back from epoch ${at.epoch} to ${next.epoch}`)
}

function loadWorld(state: StateDir, ground: Ground): { world: WorldState; heardAt: number } | undefined {
  const json = state.read('world.json')
  if (json === undefined) return undefined
  try {
    const { view, position, heardAt } = readJson(json, READ_WORLD, 'world.json')
    return { world: worldOfView(view, position, ground), heardAt }
  } catch (error) {
    throw new MeshError('STATE_UNREADABLE', `world.json in ${state.dir} cannot be used`, {
      cause: error,
      hint: 'remove it while the CA is reachable: the CA sends it again',
    })
  }
}

interface Paper {
  /** @returns whether it was written */
  write(next: WorldState, heardAt: number): boolean
  /** Whether the last world that was to be written was. */
  isTrue(): boolean
}

/**
 * bundle.pem and world.json. A world that cannot be written down is in force all the same; what is lost is only the next start without a
 * CA, and nobody is told that it was kept. The bundle comes first: an identity of a new root is asked for only by a world that is here, and
 * must find its root at the next start.
 */
function openPaper({ state, bundle, log }: HoldingWorld): Paper {
  let bundleSaved = bundlePem(bundle)
  let isTrue = true
  return {
    isTrue: () => isTrue,
    write(next, heardAt) {
      const { position, bundles, trustDomain } = next.world
      const own = bundles.get(trustDomain)
      try {
        const wanted = own === undefined ? bundleSaved : bundlePem(own)
        if (wanted !== bundleSaved) state.write('bundle.pem', wanted)
        bundleSaved = wanted
        state.write('world.json', JSON.stringify({ version: 1, heardAt, position, view: viewOf(next) }))
        isTrue = true
      } catch (error) {
        log.error('world.not-saved', errorFields(error))
        isTrue = false
      }
      return isTrue
    },
  }
}
