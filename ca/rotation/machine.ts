// The one place that moves a rotation: prepare -> distribute -> renew -> nothing. A step is one transaction; then the hierarchy is read
// anew, the CA's own door follows, and only then the members are told. Whoever is killed in between finds the step done or not
// done. Nothing here opens the root's key.

import { randomBytes, X509Certificate } from 'node:crypto'
import { MeshError } from '../../mesh/errors.js'
import type { Position } from '../../mesh/wire/feed.js'
import type { RotationOpen, RotationShown, Signed, ToSign } from '../../mesh/wire/rotation.js'
import { type LiveHierarchy, rootLabelOf } from '../hierarchy.js'
import type { KeyStore } from '../keys/key-store.js'
import type { CaStore, StoredCrl } from '../store/model.js'
import { checkSigned } from './check-signed.js'
import { type Authority, type Awaited, labelsOf, type Rotation } from './model.js'

/**
 * Runs one transaction of the store with the record of who asked for it in it.
 * @param phase where the rotation stands after it
 */
export type Audited = <T>(phase: (done: T) => string, act: (on: CaStore) => Promise<T>) => Promise<T>

export interface Machine {
  /** The open rotation as it stands. */
  show(): Promise<RotationShown | null>
  /** Opens a rotation or finds the open one, its new issuing key made. @throws MeshError CA_ROTATION_RUNNING */
  begin(wanted: Pick<Rotation, 'kind' | 'compromised'>, audited: Audited): Promise<RotationOpen>
  /** Takes what the root signed; nothing happens when it was taken before. @throws MeshError CA_ROTATION_INVALID | CA_ROTATION_NONE */
  deliver(signed: Signed, audited: Audited): Promise<void>
  /** Goes on as far as nobody is waited for; also retires and forgets what is at its end. */
  advance(): Promise<void>
  /** One step, whoever is waited for. @returns who was left behind @throws MeshError CA_ROTATION_NONE */
  force(audited: Audited): Promise<readonly Awaited[]>
}

export interface MachineOptions {
  readonly store: CaStore
  readonly hierarchy: LiveHierarchy
  readonly keys: KeyStore
  readonly now: () => number
  /** Takes over a revocation list of a root. */
  readonly keepCrl: (crl: StoredCrl) => Promise<void>
  /**
   * Runs a step, and when it returns a position makes it known: in the hierarchy, at the door, to the members, in this order.
   * @returns whether there was a step
   */
  readonly inForce: (step: () => Promise<Position | undefined>) => Promise<boolean>
}

export function openMachine(options: MachineOptions): Machine {
  const { store, now } = options
  const open = async (): Promise<Rotation> => {
    const rotation = await store.rotation()
    if (rotation === undefined) throw new MeshError('CA_ROTATION_NONE', 'no rotation is open')
    return rotation
  }
  return {
    show: async () => {
      const rotation = await store.rotation()
      return rotation === undefined ? null : show(options, rotation)
    },
    begin: async ({ kind, compromised }, audited) => {
      const id = randomBytes(4).toString('hex')
      const rotation = await audited(
        ({ phase }: Rotation) => phase,
        (on) => on.beginRotation({ id, kind, compromised, at: now() }),
      )
      const toSign = rotation.phase === 'prepare' ? await toSignFor(options, rotation) : null
      // an ordinary one that was told of a theft while it waited
      if (rotation.compromised && rotation.phase === 'distribute') await promote(options, silently(store))
      return { rotation: await show(options, rotation), toSign }
    },
    deliver: async (signed, audited) => {
      const rotation = await open()
      if (rotation.phase !== 'prepare') return
      await stage(options, { rotation, signed, audited })
      if (rotation.compromised) await promote(options, silently(store))
    },
    advance: () => advance(options),
    force: async (audited) => {
      const rotation = await open()
      if (rotation.phase === 'prepare')
        throw new MeshError('CA_ROTATION_NONE', 'the root has not signed the new CA yet')
      const { instances } = await waiting(options, rotation)
      await next(options, rotation, audited)
      return instances
    },
  }
}

async function advance(options: MachineOptions): Promise<void> {
  const { store, inForce, now } = options
  // what a step could not put in force is owed before the next one
  await inForce(() => Promise.resolve(undefined))
  for (;;) {
    const rotation = await store.rotation()
    if (rotation === undefined || rotation.phase === 'prepare') break
    const { instances, tokensUntil } = await waiting(options, rotation)
    if (instances.length > 0 || tokensUntil > 0) break
    await next(options, rotation, silently(store))
  }
  await inForce(() => store.retireIssuers(now()))
  await forget(options)
}

/** What the CA does by itself, when nobody is waited for any more, or as a part of what was recorded. */
const silently =
  (store: CaStore): Audited =>
  (_phase, act) =>
    act(store)

async function next(options: MachineOptions, { phase }: Rotation, audited: Audited): Promise<void> {
  if (phase === 'distribute') await promote(options, audited)
  else
    await options.inForce(() =>
      audited(
        () => 'ended',
        (on) => on.finishRotation(),
      ),
    )
}

async function promote({ inForce, now }: MachineOptions, audited: Audited): Promise<void> {
  await inForce(() =>
    audited(
      () => 'renew',
      (on) => on.promoteAuthorities(now()),
    ),
  )
}

async function stage(
  options: MachineOptions,
  { rotation, signed, audited }: { rotation: Rotation; signed: Signed; audited: Audited },
): Promise<void> {
  const { hierarchy, keys, now, keepCrl, inForce } = options
  const { spkiDer: issuingSpki } = await keys.open(labelsOf(rotation).issuing)
  const authorities = checkSigned(signed, {
    rotation,
    trustDomain: hierarchy.trustDomain,
    root: hierarchy.current().root,
    issuingSpki,
    now: now(),
  })
  for (const crl of signed.crls) await keepCrl({ ...crl, der: Buffer.from(crl.der, 'base64') })
  await inForce(() =>
    audited(
      () => 'distribute',
      (on) => on.stageAuthorities(authorities, now()),
    ),
  )
}

/** The new issuing key is made under a label that the rotation has had since it began: however often this is asked, there is one. */
async function toSignFor({ keys, hierarchy, now }: MachineOptions, rotation: Rotation): Promise<ToSign> {
  const labels = labelsOf(rotation)
  const isThere = (await keys.list('issuing')).includes(labels.issuing)
  const { spkiDer } = await (isThere ? keys.open(labels.issuing) : keys.create(labels.issuing))
  const { root } = hierarchy.current()
  const withdrawn = hierarchy.revokedCas.map(({ serial, revokedAt }) => ({ serial, revokedAt }))
  // all that are known: nobody can say which of the keys was stolen
  const stolen = hierarchy.issuers
    .filter((each) => each.root === root)
    .map(({ issuing }) => ({ serial: issuing.serialNumber.toLowerCase(), revokedAt: now() }))
  return {
    kind: rotation.kind,
    trustDomain: hierarchy.trustDomain,
    rootPem: root.toString(),
    rootKeyLabel: rootLabelOf(hierarchy),
    rootLabel: labels.root,
    issuingSpki: spkiDer.toString('base64'),
    revoked: rotation.compromised ? [...withdrawn, ...stolen] : withdrawn,
  }
}

interface Waiting {
  readonly instances: readonly Awaited[]
  readonly tokensUntil: number
}

const NOBODY: Waiting = { instances: [], tokensUntil: 0 }

/** Whom the phase waits for. Nobody who can do nothing about it: what chains to an expired CA is dead already. */
async function waiting({ store, hierarchy, now }: MachineOptions, rotation: Rotation): Promise<Waiting> {
  const { kind, phase, phaseAt } = rotation
  const at = now()
  const old = oldOf(hierarchy.authorities, rotation)
  if (phase === 'prepare' || old.every(({ pem }) => endOf(pem) < at)) return NOBODY
  if (phase === 'renew') {
    const all = await store.awaitedToRenew(at)
    // an old issuing CA outlives its rotation until its last leaf has ended; below an old root nobody lives on
    return { instances: kind === 'root' ? all : all.filter(({ follows }) => follows), tokensUntil: 0 }
  }
  const tokensUntil = kind === 'root' ? await store.tokensOutstanding(phaseAt, at) : 0
  return { instances: await store.awaitedToAcknowledge(at), tokensUntil }
}

/** The CAs that the rotation replaces. */
function oldOf(authorities: readonly Authority[], { kind, phase }: Rotation): Authority[] {
  const state = phase === 'renew' ? 'previous' : 'current'
  return authorities.filter((each) => each.usage === kind && each.state === state)
}

const endOf = (pem: string): number => Date.parse(new X509Certificate(pem).validTo)

async function show(options: MachineOptions, rotation: Rotation): Promise<RotationShown> {
  const { kind, compromised, startedAt } = rotation
  const { phase, phaseAt } = (await options.store.rotation()) ?? rotation
  const { instances, tokensUntil } = await waiting(options, { ...rotation, phase, phaseAt })
  const waitsFor = instances.map(({ id, instanceId, until }) => ({ id, instanceId, until }))
  // a new issuing CA is no obstacle to them: they know its root
  const leavesBehind = kind === 'root' ? await options.store.suspendedHolders(options.now()) : []
  return { kind, compromised, phase, startedAt, since: phaseAt, waitsFor, tokensUntil, leavesBehind }
}

/**
 * Destroys the keys of CAs that are retired or withdrawn; what is not there is no error, so that it may be done again. One that cannot
 * be destroyed keeps no other, and is tried again. A root's on a token, whose PIN a serving CA does not have, is left to the
 * command that rotated (rotate.ts).
 */
async function forget({ store, keys }: MachineOptions): Promise<void> {
  const failures: unknown[] = []
  for (const { state, revokedAt, label, fingerprint } of await store.authorities()) {
    if (state !== 'retired' && revokedAt === null) continue
    try {
      if (keys.reaches(label)) await keys.destroy(label)
      if (state === 'retired') await store.forgetAuthority(fingerprint)
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length > 0) throw failures[0]
}
