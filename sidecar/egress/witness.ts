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

export interface Witnesses {
  /** A call begins on the connection to that peer. @returns what ends it; to be called once */
  enter(by: Dialled, peer: Svid): () => void
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

/** The calls that run to one callee instance, by connection, and the witness for them. */
interface Watch {
  readonly calls: Map<TLSSocket, { readonly leaves: readonly [own: Svid, peer: Svid]; count: number }>
  place: Endpoint
  witness: { readonly socket: TLSSocket; readonly leaves: readonly [own: Svid, peer: Svid] } | undefined
  isSeeking: boolean
  /** Not sought again before. */
  retryAt: number
}

class Keeper implements Witnesses {
  private readonly parts: Parts
  private readonly dialWitness: (place: Endpoint) => Promise<Dialled>
  private readonly watches = new Map<string, Watch>()
  private next: { readonly at: number; readonly timer: Timer } | undefined

  constructor(parts: Parts, dialWitness: (place: Endpoint) => Promise<Dialled>) {
    this.parts = parts
    this.dialWitness = dialWitness
  }

  enter({ socket, place, own }: Dialled, peer: Svid): () => void {
    const key = instanceKey(peer)
    const watch = this.watches.get(key) ?? newWatch(place)
    this.watches.set(key, watch)
    watch.place = place
    const call = watch.calls.get(socket) ?? { leaves: [own, peer], count: 0 }
    call.count += 1
    watch.calls.set(socket, call)
    this.lookAt(Math.min(seekFrom(own), seekFrom(peer)))
    return () => {
      call.count -= 1
      if (call.count > 0) return
      watch.calls.delete(socket)
      if (watch.calls.size > 0 || this.watches.get(key) !== watch) return
      this.watches.delete(key)
      watch.witness?.socket.destroy()
    }
  }

  renewed(): void {
    for (const watch of this.watches.values()) watch.retryAt = 0
    this.look()
  }

  close(): void {
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
    for (const { leaves } of watch.calls.values()) {
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
        const pauses = [...watch.calls.values()].flatMap(({ leaves }) => leaves.map(seekingMs))
        watch.retryAt = clock.now() + Math.max(SHORTEST_RETRY_MS, Math.min(...pauses) / SHARE)
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
    if (peer === undefined || instanceKey(peer) !== key || this.watches.get(key) !== watch) {
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

function newWatch(place: Endpoint): Watch {
  return { calls: new Map(), place, witness: undefined, isSeeking: false, retryAt: 0 }
}

/** Of each end, the leaf that lasts longest. */
function latest(
  [own, peer]: readonly [Svid, Svid],
  [otherOwn, otherPeer]: readonly [Svid, Svid] = [own, peer],
): readonly [own: Svid, peer: Svid] {
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
