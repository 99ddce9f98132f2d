// Keeps calls alive past the leaf they began under: while calls run to a callee instance whose leaf, or our own on their connection, is
// about to end, one more connection is held that shows what both ends use now. The tables of both sides then find the newer proof.
// At most one for each callee instance, and one more while it is replaced.

import type { TLSSocket } from 'node:tls'
import type { Timer } from '../../host/clock.js'
import { errorFields } from '../../host/log.js'
import { MeshError } from '../../mesh/errors.js'
import type { Svid } from '../../mesh/svid.js'
import type { Endpoint } from '../../mesh/wire/feed.js'
import { WITNESS_ADMITTED } from '../../mesh/wire/witness.js'
import { instanceKey } from '../connections.js'
import type { Parts } from '../parts.js'

/** A judged connection and what we showed on it. */
export interface Dialled {
  readonly socket: TLSSocket
  readonly place: Endpoint
  readonly own: Svid
}

/** The calls of one connection: all that counts is whether there are any. */
export interface Followed {
  /** There are, from now on. */
  enter(): void
  /** There are none any more. */
  leave(): void
}

export interface Witnesses {
  /** Once a connection; nothing is done for it before `enter`. */
  follow(by: Dialled, peer: Svid): Followed
  /** Our own leaf was renewed. */
  renewed(): void
  close(): void
}

const MINUTE = 60_000
/** Before the end of a leaf: at most this long, or the share of its life, is left when a newer proof is sought. */
const SEEK_BEFORE_MS = 15 * MINUTE
const LEAVE_BEFORE_MS = 2 * MINUTE
const SHARE = 10
const SHORTEST_RETRY_MS = 1000

const lifeOf = ({ notBefore, notAfter }: Svid): number => notAfter - notBefore
const seekingMs = (leaf: Svid): number => Math.min(SEEK_BEFORE_MS, lifeOf(leaf) / SHARE)
/** ms since epoch from which a newer leaf is sought. */
const seekFrom = (leaf: Svid): number => leaf.notAfter - seekingMs(leaf)

/** ms since epoch from which no new call begins on a connection with this leaf: most calls end before the leaf does. */
export function staleFrom(leaf: Svid): number {
  return leaf.notAfter - Math.min(LEAVE_BEFORE_MS, lifeOf(leaf) / SHARE)
}

/** @param dialWitness makes a judged connection with what we show now */
export function openWitnesses(parts: Parts, dialWitness: (place: Endpoint) => Promise<Dialled>): Witnesses {
  return new Keeper(parts, dialWitness)
}

type Leaves = readonly [own: Svid, peer: Svid]

/** The connections to one callee instance that carry calls, and the witness for them. */
interface Watch {
  readonly busy: Set<Line>
  place: Endpoint
  witness: { readonly socket: TLSSocket; readonly leaves: Leaves } | undefined
  isSeeking: boolean
  /** Not sought again before. */
  retryAt: number
}

class Keeper implements Witnesses {
  private readonly parts: Parts
  private readonly dialWitness: (place: Endpoint) => Promise<Dialled>
  private readonly watches = new Map<string, Watch>()
  private isClosed = false
  private next: { readonly at: number; readonly timer: Timer } | undefined

  constructor(parts: Parts, dialWitness: (place: Endpoint) => Promise<Dialled>) {
    this.parts = parts
    this.dialWitness = dialWitness
  }

  follow({ place, own }: Dialled, peer: Svid): Followed {
    return new Line(this, instanceKey(peer), place, [own, peer])
  }

  /** Not for users: a line calls it. */
  enter(line: Line): void {
    const watch = this.watches.get(line.key) ?? newWatch(line.place)
    this.watches.set(line.key, watch)
    watch.place = line.place
    watch.busy.add(line)
    this.lookAt(line.seekFrom)
  }

  /** Not for users: a line calls it. */
  leave(line: Line): void {
    const watch = this.watches.get(line.key)
    if (watch === undefined || !watch.busy.delete(line) || watch.busy.size > 0) return
    // The watch stays until the next look: where calls come one by one, each would make another.
    watch.witness?.socket.destroy()
    watch.witness = undefined
  }

  renewed(): void {
    for (const watch of this.watches.values()) watch.retryAt = 0
    this.look()
  }

  close(): void {
    this.isClosed = true
    this.next?.timer.cancel()
    for (const { witness } of this.watches.values()) witness?.socket.destroy()
    this.watches.clear()
  }

  /** One timer for all, set by whoever is due first. */
  private lookAt(at: number): void {
    if (at === Number.POSITIVE_INFINITY || (this.next !== undefined && this.next.at <= at)) return
    this.next?.timer.cancel()
    const timer = this.parts.clock.after(at - this.parts.clock.now(), () => {
      this.next = undefined
      this.look()
    })
    this.next = { at, timer }
  }

  private look(): void {
    const now = this.parts.clock.now()
    for (const [key, watch] of this.watches) {
      if (watch.busy.size === 0 && !watch.isSeeking) this.watches.delete(key)
      const at = this.nextSeekOf(watch)
      if (at > now) this.lookAt(at)
      else this.seek(key, watch)
    }
  }

  /** ms since epoch; Infinity while only a renewal of our own leaf, or the search under way, could help. */
  private nextSeekOf(watch: Watch): number {
    if (watch.isSeeking) return Number.POSITIVE_INFINITY
    const { notAfter: renewedUntil } = this.parts.credentials.current().svid
    let at = Number.POSITIVE_INFINITY
    for (const { leaves } of watch.busy) {
      const [own, peer] = latest(leaves, watch.witness?.leaves)
      if (renewedUntil > own.notAfter) at = Math.min(at, seekFrom(own))
      at = Math.min(at, seekFrom(peer))
    }
    return Math.max(at, watch.retryAt)
  }

  private seek(key: string, watch: Watch): void {
    const { clock, log } = this.parts
    watch.isSeeking = true
    this.find(key, watch)
      .catch((error: unknown) =>
        log.info('egress.witness-failed', { callee: watch.place.id, ...errorFields(error) }),
      )
      .finally(() => {
        watch.isSeeking = false
        const pauses = [...watch.busy].flatMap(({ leaves }) => leaves.map(seekingMs))
        watch.retryAt = clock.now() + Math.max(SHORTEST_RETRY_MS, Math.min(SEEK_BEFORE_MS, ...pauses) / SHARE)
        this.look()
      })
  }

  /** @throws MeshError of dialling, CALLEE_REFUSED */
  private async find(key: string, watch: Watch): Promise<void> {
    const { clock, connections, limits, log } = this.parts
    const { socket, own, place } = await this.dialWitness(watch.place)
    const deadline = clock.after(limits.connectTimeoutMs, () => socket.destroy())
    try {
      await admission(socket)
    } finally {
      deadline.cancel()
    }
    const peer = connections.of(socket)?.svid
    if (peer === undefined || instanceKey(peer) !== key || watch.busy.size === 0 || this.isClosed) {
      socket.destroy()
      return
    }
    // the old one goes when the new one is admitted at both ends: no moment is without proof
    const old = watch.witness
    const witness = { socket, leaves: [own, peer] as const }
    watch.witness = witness
    old?.socket.destroy()
    socket.once('close', () => {
      if (watch.witness !== witness) return
      watch.witness = undefined
      this.look()
    })
    log.debug('egress.witness', { callee: place.id, own: own.serial, peer: peer.serial })
  }
}

/** A connection that is followed. */
class Line implements Followed {
  readonly key: string
  readonly place: Endpoint
  readonly leaves: Leaves
  /** ms since epoch from which a newer leaf of either end is sought. */
  readonly seekFrom: number
  private readonly keeper: Keeper

  constructor(keeper: Keeper, key: string, place: Endpoint, leaves: Leaves) {
    this.keeper = keeper
    this.key = key
    this.place = place
    this.leaves = leaves
    this.seekFrom = Math.min(seekFrom(leaves[0]), seekFrom(leaves[1]))
  }

  enter(): void {
    this.keeper.enter(this)
  }

  leave(): void {
    this.keeper.leave(this)
  }
}

function newWatch(place: Endpoint): Watch {
  return { busy: new Set(), place, witness: undefined, isSeeking: false, retryAt: 0 }
}

/** Of each end, the leaf that lasts longest. */
function latest([own, peer]: Leaves, [otherOwn, otherPeer]: Leaves = [own, peer]): Leaves {
  return [longer(own, otherOwn), longer(peer, otherPeer)]
}

const longer = (one: Svid, other: Svid): Svid => (other.notAfter > one.notAfter ? other : one)

/** Waits for the callee's word: our handshake ends before the callee has judged us. */
function admission(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = ''
    const refuse = (): void => {
      socket.destroy()
      reject(new MeshError('CALLEE_REFUSED', 'the witness connection was refused'))
    }
    socket.once('close', refuse)
    socket.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1')
      if (said === WITNESS_ADMITTED) resolve()
      else if (!WITNESS_ADMITTED.startsWith(said)) refuse()
    })
  })
}
