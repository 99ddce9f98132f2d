// What is said on one member's feed, and in which order: hello, snapshot, deltas, acknowledgements, announcements. It knows
// the protocol and the world, and nothing of sockets (feed.ts has those).

import type { Clock } from '../host/clock.js'
import { MeshError } from '../mesh/errors.js'
import {
  type Change,
  type FromCa,
  type FromMember,
  KNOWN_FRAMES_MAX,
  type Position,
  readFromMember,
} from '../mesh/wire/feed.js'
import type { Acknowledgements } from './acknowledgements.js'
import type { Endpoints } from './endpoints.js'
import type { Recovery } from './recovery/recovery.js'
import type { Certificate } from './store/model.js'
import type { CaWorld, Lost, Move } from './world.js'

export interface SessionOptions {
  readonly world: CaWorld
  readonly endpoints: Endpoints
  readonly acknowledgements: Acknowledgements
  /** Judges the certificate again, against the store. @throws MeshError PEER_REVOKED */
  readonly admit: (certificate: Certificate) => Promise<Certificate>
  /** After a restore: what members know. */
  readonly recovery: Recovery
  readonly clock: Clock
}

export interface Session {
  readonly member: Certificate
  /** Address that the connection comes from. */
  readonly source: string
  readonly send: (frame: FromCa) => void
  /** The hello was answered: from now on the session is told of every move. Called inside the order of changes. */
  readonly greeted: () => void
  /** The epoch that the member was told of last; null before its hello was answered. */
  told: number | null
  /** What it was told of endpoints, to tell again only what is new. */
  endpoints: string
  /** What it may still ask for until the next refill. */
  budget: number
  /** `known` frames that it may still send; none before they are asked for. */
  returns: number
}

/**
 * Takes one frame of the member.
 * @throws MeshError WIRE_MALFORMED | WIRE_VERSION | WIRE_TOO_LARGE | ENDPOINT_NOT_ALLOWED | PEER_REVOKED
 */
export async function receive(options: SessionOptions, session: Session, text: string): Promise<void> {
  const frame = readFromMember(text)
  if (frame === undefined) return
  if (frame.type === 'known') {
    // asked for, all at once, and with a bound of their own
    session.returns -= 1
    if (session.returns < 0) throw new MeshError('WIRE_MALFORMED', 'revocations were returned unasked')
  } else if (frame.type !== 'ack') {
    session.budget -= 1
    if (session.budget < 0)
      throw new MeshError('WIRE_TOO_LARGE', 'the member asks for more than the feed gives')
  }
  if (frame.type !== 'hello' && session.told === null)
    throw new MeshError('WIRE_MALFORMED', 'a feed begins with hello')
  await obey(options, session, frame)
}

/**
 * Tells the member of a move.
 * @returns `condemned` when the move withdrew the member itself: its feed ends after this
 */
export function tell(
  { world, clock }: SessionOptions,
  session: Session,
  move: Move | Lost,
): 'kept' | 'condemned' {
  if (session.told === null) return 'kept'
  if ('lostAt' in move) {
    // it does not stand there, and so asks for a snapshot; one that is withdrawn is told so then
    session.told = move.lostAt.epoch
    session.send({ type: 'heartbeat', position: move.lostAt, sentAt: clock.now() })
    return 'kept'
  }
  const { position, revoked } = move
  const changes = changesFor(world, session, move)
  session.send({ type: 'delta', from: session.told, position, sentAt: clock.now(), changes })
  session.told = position.epoch
  const { id, issuer, serial } = session.member
  const condemned =
    revoked?.ids.includes(id) === true ||
    revoked?.serials.some((each) => each.serial === serial && each.issuer === issuer) === true
  return condemned ? 'condemned' : 'kept'
}

async function obey(options: SessionOptions, session: Session, frame: FromMember): Promise<void> {
  const { endpoints, acknowledgements, world } = options
  const { member, source } = session
  switch (frame.type) {
    case 'hello':
      await bringUpToDate(options, session, frame.position)
      endpoints.found(member.instanceId)
      return
    case 'resync':
      await bringUpToDate(options, session, null)
      return
    case 'ack': {
      const { generation, epoch } = world.position()
      if (frame.position.generation !== generation || frame.position.epoch > epoch)
        throw new MeshError('WIRE_MALFORMED', 'a position was acknowledged that was never sent')
      acknowledgements.acknowledge(member.instanceId, frame.position.epoch, frame.cut)
      return
    }
    case 'advertise':
      await endpoints.announce(member, { host: frame.host, port: frame.port, source })
      return
    case 'known':
      if (frame.last) session.returns = 0
      await options.recovery.returned(member, frame)
      return
    case 'withdraw':
      await endpoints.withdraw(member.instanceId)
  }
}

/**
 * Answers a hello. In the order of changes: what happened before is in the snapshot, what happens later comes as a delta, and a
 * revocation that came between the handshake and here is seen by `admit`.
 */
function bringUpToDate(options: SessionOptions, session: Session, at: Position | null): Promise<void> {
  const { world, admit, clock, acknowledgements, recovery } = options
  const { id, instanceId } = session.member
  return world.inOrder(async () => {
    await admit(session.member)
    const view = await world.viewFor(id, clock.now())
    const position = world.position()
    const returns = recovery.wants(instanceId, at?.generation ?? null)
    session.returns = returns ? KNOWN_FRAMES_MAX : 0
    if (!returns && at?.generation === position.generation && at.epoch === position.epoch) {
      acknowledgements.acknowledge(instanceId, position.epoch, 0)
      session.send({ type: 'heartbeat', position, sentAt: clock.now() })
    } else session.send({ type: 'snapshot', position, sentAt: clock.now(), view, returns })
    session.told = position.epoch
    session.endpoints = JSON.stringify(view.endpoints)
    session.greeted()
  })
}

function changesFor(world: CaWorld, session: Session, move: Move): Change[] {
  const { id } = session.member
  const changes: Change[] = []
  // before what they withdraw: a member that is to renew knows by whom
  if (move.bundlesChanged) changes.push({ kind: 'bundles', bundles: world.bundles() })
  if (move.bundlesChanged && world.revokedIssuers().length > 0)
    changes.push({ kind: 'revoke-issuers', issuers: [...world.revokedIssuers()] })
  if (move.revoked !== null)
    changes.push({ kind: 'revoke', ids: [...move.revoked.ids], serials: [...move.revoked.serials] })
  if (move.restored !== null) changes.push({ kind: 'restore', id: move.restored })
  if (move.policy !== null)
    changes.push(
      { kind: 'policy', policy: world.policyFor(id) },
      { kind: 'callees', callees: world.calleesFor(id) },
    )
  if (move.endpointsChanged) {
    const endpoints = world.endpointsFor(id)
    const encoded = JSON.stringify(endpoints)
    if (encoded !== session.endpoints) changes.push({ kind: 'endpoints', endpoints })
    session.endpoints = encoded
  }
  return changes
}
