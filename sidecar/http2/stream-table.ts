// The streams of a connection: which are open, which ids are still to come, and what is to be thought of a frame on one that is over
// (RFC 9113 §5.1, §5.1.1). A stream of the peer counts as open until its end has left us: the peer cannot know before.

import type { Stream } from './stream.js'

/** Ids of streams that we have reset and whose frames may still be under way. Older ones are forgiven without a look. */
const MAX_FORGIVEN = 256

/** A power of two: more calls at once than most connections carry. */
const SLOTS = 256

/** `idle`: never used. `forgiven`: reset by us, so that the peer may not know yet. `closed`: both sides know. */
export type Fate = 'idle' | 'forgiven' | 'closed'

export class StreamTable {
  /**
   * Open streams, each at the slot of its id; a younger one sends the older one that it finds there to the elders. Not a map of all: V8
   * links each table that a map has outgrown to the next, and so keeps what came and went (measured: half as many bytes survive so).
   */
  readonly #slots: (Stream | undefined)[] = new Array<Stream | undefined>(SLOTS).fill(undefined)
  readonly #elders = new Map<number, Stream>()
  #size = 0
  readonly #forgiven = new Set<number>()
  /** The youngest id that fell out of `forgiven`. */
  #forgivenUpTo = 0
  #nextOwn: number
  #lastOfPeer = 0
  #ownCount = 0
  /** Streams of the peer that are over with us and whose end is in the outbox, or handed to the wire. */
  #unsent = 0
  #underWay = 0

  /** @param firstOwn 1 for a client, 2 for a server */
  constructor(firstOwn: 1 | 2) {
    this.#nextOwn = firstOwn
  }

  get size(): number {
    return this.#size
  }

  /** Open streams that we began. */
  get ownCount(): number {
    return this.#ownCount
  }

  /** Streams that the peer began and believes open. */
  get peerCount(): number {
    return this.#size - this.#ownCount + this.#unsent + this.#underWay
  }

  /** The highest id the peer has used. */
  get lastOfPeer(): number {
    return this.#lastOfPeer
  }

  get nextOwn(): number {
    return this.#nextOwn
  }

  get(id: number): Stream | undefined {
    const stream = this.#slots[this.#slotOf(id)]
    if (stream?.id === id) return stream
    return this.#elders.size === 0 ? undefined : this.#elders.get(id)
  }

  all(): Stream[] {
    const slotted = this.#slots.filter((stream) => stream !== undefined)
    return [...this.#elders.values(), ...slotted]
  }

  #slotOf(id: number): number {
    return (id >>> 1) % SLOTS
  }

  #place(stream: Stream): void {
    const slot = this.#slotOf(stream.id)
    const elder = this.#slots[slot]
    if (elder !== undefined) this.#elders.set(elder.id, elder)
    this.#slots[slot] = stream
  }

  isOwn(id: number): boolean {
    return (id & 1) === (this.#nextOwn & 1)
  }

  /** The id of a stream that we begin. */
  takeOwnId(): number {
    const id = this.#nextOwn
    this.#nextOwn += 2
    return id
  }

  /** The peer has used this id, and so all below it. */
  touch(id: number): void {
    this.#lastOfPeer = id
  }

  add(stream: Stream): void {
    this.#place(stream)
    this.#size += 1
    if (this.isOwn(stream.id)) this.#ownCount += 1
  }

  /** @param knower `peer` when it was the peer who ended it, so that it counts no more at once */
  remove(stream: Stream, knower: 'peer' | 'us'): void {
    const slot = this.#slotOf(stream.id)
    if (this.#slots[slot] === stream) this.#slots[slot] = undefined
    else if (!this.#elders.delete(stream.id)) return
    this.#size -= 1
    if (this.isOwn(stream.id)) this.#ownCount -= 1
    else if (knower === 'us') this.#unsent += 1
  }

  /** We have reset it, or refused it, while the peer could still speak. */
  forgive(id: number): void {
    this.#forgiven.add(id)
    if (this.#forgiven.size <= MAX_FORGIVEN) return
    const [oldest] = this.#forgiven
    if (oldest === undefined) return
    this.#forgiven.delete(oldest)
    this.#forgivenUpTo = Math.max(this.#forgivenUpTo, oldest)
  }

  /** The peer has said its last on it: another word would be too much. */
  settle(id: number): void {
    this.#forgiven.delete(id)
  }

  /** What is to be thought of an id that is not open. */
  fateOf(id: number): Fate {
    if (this.isOwn(id) ? id >= this.#nextOwn : id > this.#lastOfPeer) return 'idle'
    return this.#forgiven.has(id) || id <= this.#forgivenUpTo ? 'forgiven' : 'closed'
  }

  onHandedOver(): void {
    this.#underWay += this.#unsent
    this.#unsent = 0
  }

  onWritten(): void {
    this.#underWay = 0
  }
}
