// The live table of one identity: every mutual-TLS connection, both directions, registered before it is judged, so that there is no
// moment in which a withdrawn peer is in neither the judgement nor the table; and its tunnels, which nobody judges and only `cutAll` finds.
// Who is cut is told the reason first.

import type { Socket } from 'node:net'
import type { Clock, Timer } from '../host/clock.js'
import type { Turn } from '../host/turn.js'
import type { Direction } from '../mesh/audit-record.js'
import type { MeshErrorCode } from '../mesh/errors.js'
import { covers, type Revocations } from '../mesh/revocation.js'
import type { Svid } from '../mesh/svid.js'

export interface Connection {
  readonly socket: Socket
  readonly direction: Direction
  /** The judged peer; undefined before. */
  readonly svid: Svid | undefined
  /** Why we destroyed it; undefined when we did not. */
  readonly cutReason: MeshErrorCode | undefined
  /** The judge accepted the peer: from now on revocation and expiry find the connection. */
  admit(svid: Svid): void
  /** Sets the reason, then destroys. Harmless when it is gone already. */
  cut(reason: MeshErrorCode): void
  /** From now on a call runs over it, one more each time: while any does, the connection may outlive the peer's leaf. */
  enter(): void
  /** One of them has ended; once for each `enter`. */
  leave(): void
}

export interface Connections {
  register(socket: Socket, direction: Direction): Connection
  /** The connection of a socket that was registered. */
  of(socket: Socket): Connection | undefined
  /** Cuts exactly the connections of peers that are withdrawn. @returns how many */
  condemn(revocations: Revocations): number
  /** Cuts every connection. @returns how many */
  cutAll(reason: MeshErrorCode): number
  /** Admitted and alive. */
  count(direction: Direction): number
}

/** Connections of one certificate. */
interface Group {
  readonly svid: Svid
  readonly members: Set<Live>
}

export function openConnections(clock: Clock, turn: Turn, streamMaxAgeMs: number): Connections {
  return new Table(clock, turn, streamMaxAgeMs)
}

const certificateKey = ({ issuer, serial }: Svid): string => `${issuer}:${serial}`
/** One running sidecar of an identity; a foreign certificate without an instance is its own. */
export const instanceKey = (svid: Svid): string => `${svid.id} ${svid.instanceId ?? certificateKey(svid)}`

class Table implements Connections {
  readonly clock: Clock
  readonly turn: Turn
  readonly streamMaxAgeMs: number
  private readonly all = new Set<Live>()
  private readonly bySocket = new WeakMap<Socket, Live>()
  private readonly byCertificate = new Map<string, Group>()
  private readonly byInstance = new Map<string, Set<Live>>()
  private cuts = 0

  constructor(clock: Clock, turn: Turn, streamMaxAgeMs: number) {
    this.clock = clock
    this.turn = turn
    this.streamMaxAgeMs = streamMaxAgeMs
  }

  register(socket: Socket, direction: Direction): Connection {
    const live = new Live(this, socket, direction)
    this.all.add(live)
    this.bySocket.set(socket, live)
    socket.once('close', () => this.remove(live))
    return live
  }

  of(socket: Socket): Connection | undefined {
    return this.bySocket.get(socket)
  }

  condemn(revocations: Revocations): number {
    const before = this.cuts
    for (const { svid, members } of [...this.byCertificate.values()]) {
      if (!covers(revocations, svid)) continue
      for (const live of [...members]) live.cut('PEER_REVOKED')
    }
    return this.cuts - before
  }

  cutAll(reason: MeshErrorCode): number {
    const before = this.cuts
    for (const live of [...this.all]) live.cut(reason)
    return this.cuts - before
  }

  count(direction: Direction): number {
    let count = 0
    for (const live of this.all) if (live.direction === direction && live.svid !== undefined) count += 1
    return count
  }

  index(live: Live, svid: Svid): void {
    const key = certificateKey(svid)
    const group = this.byCertificate.get(key) ?? { svid, members: new Set<Live>() }
    group.members.add(live)
    this.byCertificate.set(key, group)
    const siblings = this.byInstance.get(instanceKey(svid)) ?? new Set<Live>()
    siblings.add(live)
    this.byInstance.set(instanceKey(svid), siblings)
  }

  /** The latest instant to which this peer instance has a valid leaf on a connection that still stands. */
  provenUntil(svid: Svid): number {
    let until = 0
    for (const sibling of this.byInstance.get(instanceKey(svid)) ?? [])
      until = Math.max(until, sibling.svid?.notAfter ?? 0)
    return until
  }

  noteCut(live: Live): void {
    this.cuts += 1
    this.remove(live)
  }

  remove(live: Live): void {
    live.forgetExpiry()
    if (!this.all.delete(live) || live.svid === undefined) return
    const { svid } = live
    const group = this.byCertificate.get(certificateKey(svid))
    group?.members.delete(live)
    if (group?.members.size === 0) this.byCertificate.delete(certificateKey(svid))
    const siblings = this.byInstance.get(instanceKey(svid))
    siblings?.delete(live)
    if (siblings?.size === 0) this.byInstance.delete(instanceKey(svid))
    // A stream past its leaf lives on the proof of another connection: that proof may just have gone, and why is its reason too.
    for (const sibling of [...(siblings ?? [])]) sibling.checkExpiry(live.cutReason)
  }
}

class Live implements Connection {
  readonly socket: Socket
  readonly direction: Direction
  svid: Svid | undefined
  cutReason: MeshErrorCode | undefined
  private readonly table: Table
  private readonly registeredAt: number
  private calls = 0
  private isPastLeaf = false
  private expiry: Timer | undefined

  constructor(table: Table, socket: Socket, direction: Direction) {
    this.table = table
    this.socket = socket
    this.direction = direction
    this.registeredAt = table.clock.now()
  }

  admit(svid: Svid): void {
    this.svid = svid
    this.table.index(this, svid)
    this.checkExpiry()
  }

  enter(): void {
    this.calls += 1
  }

  leave(): void {
    this.calls -= 1
    // Before the leaf's end nothing has changed: the timer waits for that. Its last words are written at the end of this turn.
    if (this.calls === 0 && this.isPastLeaf) this.table.turn.flush(() => this.checkExpiry())
  }

  cut(reason: MeshErrorCode): void {
    this.forgetExpiry()
    if (this.socket.destroyed || this.cutReason !== undefined) return
    this.cutReason = reason
    this.table.noteCut(this)
    this.socket.destroy()
  }

  /** A timer that waits for the end of a leaf would hold a connection that is gone, and all that hangs on it, until then. */
  forgetExpiry(): void {
    this.expiry?.cancel()
  }

  /** Cuts what has outlived its proof, else looks again when the proof ends. */
  checkExpiry(reason: MeshErrorCode = 'PEER_EXPIRED'): void {
    this.forgetExpiry()
    if (this.svid === undefined || this.socket.destroyed) return
    const now = this.table.clock.now()
    this.isPastLeaf = now > this.svid.notAfter
    const until = this.provenUntil(this.svid, now)
    if (now > until) {
      this.cut(reason)
      return
    }
    // One more millisecond: a leaf is valid through its last instant.
    this.expiry = this.table.clock.after(until - now + 1, () => this.checkExpiry())
  }

  private provenUntil(svid: Svid, now: number): number {
    if (now <= svid.notAfter || this.calls === 0) return svid.notAfter
    return Math.min(this.table.provenUntil(svid), this.registeredAt + this.table.streamMaxAgeMs)
  }
}
