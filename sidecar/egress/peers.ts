// The judged connections of one identity to its callees: for each call the one to use, at once where one stands. Owns what we show, and
// which places there are; a connection never outlives a rotation for new calls, and never serves two identities.

import { randomInt } from 'node:crypto'
import type { World } from '../../member/control/world.js'
import { asMeshError, MeshError } from '../../mesh/errors.js'
import type { SpiffeId } from '../../mesh/spiffe-id.js'
import type { Endpoint } from '../../mesh/wire/feed.js'
import { WITNESS_ALPN } from '../../mesh/wire/witness.js'
import type { Parts } from '../parts.js'
import { dial, type Shown, shownBy } from './dial.js'
import type { PeerConnection } from './peer-connection.js'
import { type Ground, Place } from './place.js'
import { placesOf } from './resolve.js'
import { openWitnesses, type Witnesses } from './witness.js'

export interface Peers {
  /**
   * @param not another than this one: it has just failed the call
   * @returns the connection at once when one that may take a new call stands; else a promise, which rejects with a MeshError of dialling
   *   (CALLEE_UNREACHABLE, CALLEE_REFUSED, PEER_*) or CALLEE_BUSY
   * @throws MeshError PEER_REVOKED | CALLEE_OFFLINE | CALLEE_UNKNOWN
   */
  take(callee: SpiffeId, not: PeerConnection | null): PeerConnection | Promise<PeerConnection>
  close(): void
}

/** @returns a whole number from 0 up to, not including, `below` */
export type Random = (below: number) => number

/** @param random spreads load, nothing more */
export function openPeers(parts: Parts, random: Random = openRandom()): Peers {
  return new Table(parts, random)
}

/** xorshift32: good enough to spread load, and free on the call path. */
export function openRandom(): Random {
  let state = randomInt(1, 2 ** 32)
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

/** The places of one callee, as the world names them. */
interface Callee {
  readonly endpoints: readonly Endpoint[]
  readonly places: readonly Place[]
}

const keyOf = ({ id, instanceId, host, port }: Endpoint): string => `${id} ${instanceId} ${host} ${port}`

class Table implements Peers, Ground {
  readonly parts: Parts
  readonly witnesses: Witnesses
  readonly #random: Random
  readonly #places = new Map<string, Place>()
  readonly #callees = new Map<SpiffeId, Callee>()
  #shown: Shown
  #isClosed = false

  constructor(parts: Parts, random: Random) {
    this.parts = parts
    this.#random = random
    this.#shown = shownBy(parts.credentials.current(), parts.world.current().bundles)
    this.witnesses = openWitnesses(parts, async (place) => {
      const shown = this.#shown
      return { socket: await dial(parts, { place, shown, protocol: WITNESS_ALPN }), place, own: shown.svid }
    })
    parts.credentials.onRotate(() => this.#renew())
    parts.world.onChange((world, previous) => {
      if (world.endpoints !== previous.endpoints) this.#prune(world)
      if (world.bundles !== previous.bundles) this.#renew()
      return 0
    })
  }

  shown(): Shown {
    return this.#shown
  }

  take(callee: SpiffeId, not: PeerConnection | null): PeerConnection | Promise<PeerConnection> {
    const endpoints = placesOf(this.parts.world.current(), this.parts.id, callee)
    let known = this.#callees.get(callee)
    if (known?.endpoints !== endpoints) known = this.#learn(callee, endpoints)
    const { places } = known
    const standing = places.length === 1 ? places[0]?.take(not) : this.#choose(places, not)
    return standing ?? this.#connect(places, not)
  }

  close(): void {
    this.#isClosed = true
    this.witnesses.close()
    const error = new MeshError('DRAINING', 'this sidecar is stopping')
    for (const place of this.#places.values()) place.close(error)
    this.#places.clear()
    this.#callees.clear()
  }

  #learn(callee: SpiffeId, endpoints: readonly Endpoint[]): Callee {
    const places = endpoints.map((endpoint) => {
      const key = keyOf(endpoint)
      const place = this.#places.get(key) ?? new Place(this, endpoint)
      this.#places.set(key, place)
      return place
    })
    const known = { endpoints, places }
    this.#callees.set(callee, known)
    return known
  }

  /** Of two random instances the one with fewer calls; whichever stands, when the others do not: they are dialled meanwhile. */
  #choose(places: readonly Place[], not: PeerConnection | null): PeerConnection | undefined {
    const first = this.#random(places.length)
    const second = (first + 1 + this.#random(places.length - 1)) % places.length
    const [one, other] = [places[first], places[second]]
    const byOne = one?.take(not)
    const byOther = other?.take(not)
    if (one !== undefined && other !== undefined && byOne !== undefined && byOther !== undefined)
      return other.outstanding < one.outstanding ? byOther : byOne
    let standing = byOne ?? byOther
    for (const place of standing === undefined ? places : []) standing ??= place.take(not)
    if (standing === undefined) return undefined
    one?.warm()
    other?.warm()
    return standing
  }

  /** One place after the other, those that failed of late last. @throws the last failure */
  async #connect(places: readonly Place[], not: PeerConnection | null): Promise<PeerConnection> {
    const { sweep } = this.parts
    let failure = new MeshError('DRAINING', 'this sidecar is stopping')
    for (const place of this.#isClosed ? [] : this.#inOrder(places)) {
      if (place.failure !== undefined && place.isFresh(sweep.now())) {
        failure = place.failure.error
        continue
      }
      try {
        return await place.connect(not)
      } catch (error) {
        failure = asMeshError(error)
        if (failure.code === 'CALLEE_BUSY') break
      }
    }
    throw failure
  }

  #inOrder(places: readonly Place[]): readonly Place[] {
    const now = this.parts.sweep.now()
    const first = this.#random(places.length)
    const turned = [...places.slice(first), ...places.slice(0, first)]
    return [
      ...turned.filter((place) => !place.isAvoided(now)),
      ...turned.filter((place) => place.isAvoided(now)),
    ]
  }

  #renew(): void {
    const { credentials, world } = this.parts
    this.#shown = shownBy(credentials.current(), world.current().bundles)
    for (const place of this.#places.values()) place.renew()
    this.witnesses.renewed()
  }

  #prune(world: World): void {
    const present = new Set([...world.endpoints.values()].flat().map(keyOf))
    this.#callees.clear()
    for (const [key, place] of this.#places) {
      if (present.has(key)) continue
      this.#places.delete(key)
      place.withdraw()
    }
  }
}
