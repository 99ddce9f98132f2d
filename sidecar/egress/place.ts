// The connections to one place of a callee: at most a few, dialled by need, one dial shared by all calls that wait for it; and how long
// it is left alone after it could not be reached. Which place a call goes to is decided above.

import { type Swept, UNWATCHED } from '../../host/sweep.js'
import { type Backoff, openBackoff } from '../../member/backoff.js'
import { asMeshError, MeshError } from '../../mesh/errors.js'
import type { Endpoint } from '../../mesh/wire/feed.js'
import type { Parts } from '../parts.js'
import { dial, type Shown } from './dial.js'
import { JudgedConnection, type Owner, type PeerConnection } from './peer-connection.js'
import type { Witnesses } from './witness.js'

/** What the places of one identity share. */
export interface Ground {
  readonly parts: Parts
  readonly witnesses: Witnesses
  /** What we show now. */
  shown(): Shown
}

/** More than one only while long streams take all that a connection may carry. */
const MAX_CONNECTIONS = 4
/** Calls that come closer behind a failure share it. */
const SHORTEST_RETRY_MS = 100
const LONGEST_RETRY_MS = 10_000

interface Waiting {
  readonly not: PeerConnection | null
  /** ms, monotonic */
  readonly until: number
  resolve(connection: JudgedConnection): void
  reject(error: MeshError): void
}

interface Failure {
  readonly error: MeshError
  /** ms, monotonic */
  readonly at: number
  /** Until then others are preferred; ms, monotonic. */
  readonly retryAt: number
}

export class Place implements Owner, Swept {
  watchedAt = UNWATCHED
  readonly endpoint: Endpoint
  /** Calls that run to it. */
  outstanding = 0
  readonly #ground: Ground
  readonly #backoff: Backoff = openBackoff({ firstMs: SHORTEST_RETRY_MS, capMs: LONGEST_RETRY_MS })
  /** Those that take new calls, the fullest first. */
  readonly #standing: JudgedConnection[] = []
  #waiting: Waiting[] = []
  #isDialling = false
  #failure: Failure | undefined
  #isGone = false

  constructor(ground: Ground, endpoint: Endpoint) {
    this.#ground = ground
    this.endpoint = endpoint
  }

  /** Why it was not reached when it was tried last, if that failed. */
  get failure(): Failure | undefined {
    return this.#failure
  }

  /** @returns a connection that may take a call now, another than `not` */
  take(not: PeerConnection | null): JudgedConnection | undefined {
    for (const each of this.#standing) if (each !== not && each.capacity > 0) return each
    return undefined
  }

  /** @throws MeshError of dialling; CALLEE_BUSY; CALLEE_OFFLINE when the place is withdrawn meanwhile */
  connect(not: PeerConnection | null): Promise<PeerConnection> {
    const { sweep, limits } = this.#ground.parts
    const until = sweep.now() + limits.connectTimeoutMs
    return new Promise((resolve, reject) => {
      this.#waiting.push({ not, until, resolve, reject })
      sweep.watch(this, until)
      this.#dial()
    })
  }

  /** Dials before a call needs it, when nothing stands and nothing speaks against it. */
  warm(): void {
    if (this.#standing.length > 0 || this.isAvoided(this.#ground.parts.sweep.now())) return
    this.#dial()
  }

  isAvoided(now: number): boolean {
    return this.#failure !== undefined && now < this.#failure.retryAt
  }

  /** It failed so shortly before that another attempt would tell nothing new. */
  isFresh(now: number): boolean {
    return this.#failure !== undefined && now < this.#failure.at + SHORTEST_RETRY_MS
  }

  /** We show something new: what stands takes no new calls, and whoever was in use is dialled at once, so that the next call need not wait. */
  renew(): void {
    const wasInUse = this.#standing.length > 0
    for (const each of [...this.#standing]) each.retire()
    if (wasInUse) this.#dial()
  }

  /** The callee is there no more. */
  withdraw(): void {
    this.#isGone = true
    for (const each of [...this.#standing]) each.retire()
    this.#rejectAll(new MeshError('CALLEE_OFFLINE', `${this.endpoint.id} is no longer at this place`))
  }

  close(error: MeshError): void {
    this.#isGone = true
    for (const each of [...this.#standing]) each.close()
    this.#rejectAll(error)
  }

  #dial(): void {
    if (this.#isDialling || this.#standing.length >= MAX_CONNECTIONS || this.#isGone) return
    this.#isDialling = true
    this.#begin().catch((error: unknown) => this.onFailed(asMeshError(error)))
  }

  async #begin(): Promise<void> {
    const { parts, witnesses } = this.#ground
    const { endpoint: place } = this
    const readyBy = parts.sweep.now() + parts.limits.connectTimeoutMs
    const shown = this.#ground.shown()
    const socket = await dial(parts, { place, shown, protocol: 'h2' })
    const entry = parts.connections.of(socket)
    if (entry?.svid === undefined)
      throw new MeshError('CALLEE_UNREACHABLE', `${place.id} is not in the table of connections`)
    const { svid } = entry
    new JudgedConnection(parts, { socket, entry, svid, place, shown, readyBy }, this, witnesses).begin()
  }

  onReady(connection: JudgedConnection): void {
    this.#isDialling = false
    this.#failure = undefined
    this.#backoff.reset()
    if (this.#isGone) {
      connection.retire()
      return
    }
    // it shows what we showed when it was dialled
    if (connection.shown !== this.#ground.shown()) {
      connection.retire()
      this.#dial()
      return
    }
    this.#standing.push(connection)
    this.onCapacity(connection)
    if (this.#waiting.length > 0) this.#dial()
  }

  onFailed(error: MeshError): void {
    const now = this.#ground.parts.sweep.now()
    this.#isDialling = false
    this.#failure = { error, at: now, retryAt: now + this.#backoff.next() }
    const waiting = this.#waiting
    this.#waiting = []
    for (const each of waiting) {
      // what stands may have room again, but not for whom it has failed
      if (this.#standing.some((standing) => standing !== each.not)) this.#waiting.push(each)
      else each.reject(error)
    }
  }

  onCapacity(connection: JudgedConnection): void {
    if (this.#waiting.length === 0) return
    this.#waiting = this.#waiting.filter((each) => {
      if (each.not === connection || connection.capacity <= 0) return true
      connection.promise()
      each.resolve(connection)
      return false
    })
  }

  onLeaving(connection: JudgedConnection): void {
    const at = this.#standing.indexOf(connection)
    if (at < 0) return
    this.#standing.splice(at, 1)
    if (this.#waiting.length > 0) this.#dial()
  }

  onEntered(): void {
    this.outstanding += 1
  }

  onLeft(connection: JudgedConnection): void {
    this.outstanding -= 1
    if (this.#waiting.length > 0) this.onCapacity(connection)
  }

  /** Ends the waiting of those whose time is up. All wait equally long: the first are the oldest. */
  look(now: number): number {
    for (const each of this.#standing) this.onCapacity(each)
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (now < first.until) return first.until
      // it has a deadline too, and tells more
      if (this.#isDialling) return now + SHORTEST_RETRY_MS
      this.#waiting.shift()
      first.reject(new MeshError('CALLEE_BUSY', `every stream to ${this.endpoint.id} is taken`))
    }
    return Number.POSITIVE_INFINITY
  }

  #rejectAll(error: MeshError): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const each of waiting) each.reject(error)
  }
}
