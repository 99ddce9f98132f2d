// A rotation in a serving CA: puts the machine's steps in force (hierarchy, door, members, in this order), hears the members'
// acknowledgements, looks again and again whether it can go on, and writes down who did what. It survives the process: all it
// knows is in the store.

import { type Clock, openWake } from '../../host/clock.js'
import { errorFields, type Log } from '../../host/log.js'
import type { RotationOpen, RotationShown, Signed } from '../../mesh/wire/rotation.js'
import type { Acknowledgements } from '../acknowledgements.js'
import type { Actor } from '../actor.js'
import type { CaAudit } from '../audit.js'
import type { CrlPublisher } from '../crl-publisher.js'
import type { LiveHierarchy } from '../hierarchy.js'
import type { KeyStore } from '../keys/key-store.js'
import type { CaStore } from '../store/model.js'
import { type CaWorld, still } from '../world.js'
import { warnOfEnds } from './ends.js'
import { type Audited, type Machine, type MachineOptions, openMachine } from './machine.js'
import type { RotationKind } from './model.js'

export interface Rotator {
  show(): Promise<RotationShown | null>
  /** @throws MeshError CA_ROTATION_RUNNING */
  begin(actor: Actor, kind: RotationKind, compromised: boolean): Promise<RotationOpen>
  /** @throws MeshError CA_ROTATION_INVALID | CA_ROTATION_NONE */
  deliver(actor: Actor, signed: Signed): Promise<RotationShown | null>
  /** @throws MeshError CA_ROTATION_NONE */
  force(actor: Actor): Promise<RotationShown | null>
  /** Looks whether it can go on, until the signal. */
  run(signal: AbortSignal): Promise<void>
}

export interface RotatorOptions {
  readonly store: CaStore
  readonly hierarchy: LiveHierarchy
  readonly keys: KeyStore
  readonly world: CaWorld
  readonly audit: CaAudit
  readonly acknowledgements: Acknowledgements
  readonly crls: CrlPublisher
  /** Puts the door on the hierarchy as it is now: its certificate, and the roots that it asks members for. */
  readonly followAtDoor: () => Promise<void>
  readonly clock: Clock
  readonly log: Log
}

/** While one is open; people wait for it. */
const LOOK_OPEN_MS = 250
const LOOK_MS = 30_000

export function openRotator(options: RotatorOptions): Rotator {
  const { store, hierarchy, keys, audit, acknowledgements, clock, log } = options
  const now = (): number => clock.now()
  const machine = openMachine({
    store,
    hierarchy,
    keys,
    now,
    keepCrl: (crl) => options.crls.take(crl),
    inForce: openInForce(options),
  })
  const wake = openWake(clock)
  /** Also when it comes in the middle of a look. */
  let asked = 0

  acknowledgements.onAcknowledge((instanceId, epoch) => {
    void noteAcknowledgement(options, instanceId, epoch)
  })
  /** A rotation mends a theft: an audit that cannot be written does not stop it. */
  const acted = async <T>(
    actor: Actor,
    { what, kind }: { what: string; kind: string },
    act: (audited: Audited) => Promise<T>,
  ): Promise<T> => {
    const audited: Audited = (phase, step) =>
      audit.runAnyway(actor, { what, object: kind, detail: phase }, step)
    try {
      return await audit.guard(actor, { what, object: kind }, () => act(audited))
    } finally {
      asked += 1
      wake.call()
    }
  }
  const openKind = async (): Promise<string> => (await store.rotation())?.kind ?? '-'
  return {
    show: () => machine.show(),
    begin: (actor, kind, compromised) =>
      acted(actor, { what: `ca.rotate.${kind}${compromised ? '.compromised' : ''}`, kind }, (audited) =>
        machine.begin({ kind, compromised }, audited),
      ),
    deliver: async (actor, signed) =>
      acted(actor, { what: 'ca.rotate.deliver', kind: await openKind() }, async (audited) => {
        await machine.deliver(signed, audited)
        return machine.show()
      }),
    force: async (actor) =>
      acted(actor, { what: 'ca.rotate.force', kind: await openKind() }, async (audited) => {
        const left = await machine.force(audited)
        for (const { id, instanceId } of left) log.warn('ca.rotation_forced', { id, instanceId })
        return machine.show()
      }),
    async run(signal) {
      let seen: Seen = { phase: '', lastWarnedAt: 0 }
      while (!signal.aborted) {
        asked = 0
        seen = await look(options, machine, seen)
        if (asked === 0) await wake.pause(seen.phase === '' ? LOOK_MS : LOOK_OPEN_MS, signal)
      }
    },
  }
}

interface Seen {
  /** Of the open rotation; empty when there is none. */
  readonly phase: string
  readonly lastWarnedAt: number
}

/** One look; its failure is logged, and the next look comes. */
async function look(
  { store, hierarchy, clock, log }: RotatorOptions,
  machine: Machine,
  seen: Seen,
): Promise<Seen> {
  try {
    const lastWarnedAt = warnOfEnds(hierarchy, log, { now: clock.now(), lastWarnedAt: seen.lastWarnedAt })
    await machine.advance()
    const rotation = await store.rotation()
    const phase = rotation === undefined ? '' : `${rotation.kind} ${rotation.phase}`
    if (phase !== seen.phase) log.info('ca.rotation', { phase: phase === '' ? 'none' : phase })
    return { phase, lastWarnedAt }
  } catch (error) {
    log.error('ca.rotation_failed', errorFields(error))
    return seen
  }
}

/**
 * Puts steps in force. What was committed and could not be (the disk, a key that did not open) is owed, and tried again with the next
 * step or look; the members, who may have been told of the step and shown the old CAs, are then told anew.
 */
export function openInForce({
  store,
  world,
  hierarchy,
  followAtDoor,
}: Pick<RotatorOptions, 'store' | 'world' | 'hierarchy' | 'followAtDoor'>): MachineOptions['inForce'] {
  let isOwed = false
  return (step) =>
    world.advance(async () => {
      const taken = await step()
      if (taken === undefined && !isOwed) return { value: false, move: undefined }
      const wasOwed = isOwed
      isOwed = true
      await hierarchy.reload()
      await followAtDoor()
      const position = wasOwed || taken === undefined ? await store.announceAgain() : taken
      isOwed = false
      return { value: taken !== undefined, move: { ...still(position), bundlesChanged: true } }
    })
}

/** Kept, so that a CA that is started again does not wait for who has acknowledged already. */
async function noteAcknowledgement(
  { store, log }: RotatorOptions,
  instanceId: string,
  epoch: number,
): Promise<void> {
  try {
    const rotation = await store.rotation()
    if (rotation?.phase === 'distribute' && rotation.epoch !== null && epoch >= rotation.epoch)
      await store.acknowledgeRotation(instanceId)
  } catch (error) {
    log.error('ca.rotation_failed', errorFields(error))
  }
}
