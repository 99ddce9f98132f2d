// The operator's acts on members: register, configure, revoke, restore, remove, the policy. Each is written into the CA's audit, and
// each that members must hear of goes through the order of changes.

import type { Clock } from '../host/clock.js'
import { errorFields, type Log } from '../host/log.js'
import { MeshError, type MeshErrorCode } from '../mesh/errors.js'
import { compilePolicy } from '../mesh/policy/compile.js'
import { parsePolicy } from '../mesh/policy/document.js'
import { namedId } from '../mesh/spiffe-id.js'
import type { Acknowledgements, Applied } from './acknowledgements.js'
import { type Actor, formatActor } from './actor.js'
import type { CaStore, Member, MemberKey, RevocationScope, Revoked, Settings } from './store/model.js'
import { type CaWorld, type Move, still } from './world.js'

export interface Revocation {
  readonly revoked: Revoked
  readonly applied: Applied
}

export interface How {
  readonly reason: string
  readonly waitMs: number
}

export interface Registry {
  /** @throws MeshError AGENT_UNKNOWN */
  find(key: MemberKey): Promise<Member>
  /** The member, registered if the name is free. @throws MeshError AGENT_REVOKED */
  require(actor: Actor, key: MemberKey): Promise<{ member: Member; registered: boolean }>
  /** Registers, or changes the settings of a registered one. @throws MeshError AGENT_EXISTS when there is nothing to change */
  add(actor: Actor, wanted: MemberKey & Settings): Promise<Member>
  /** `waitMs` 0 does not wait for the members. @throws MeshError AGENT_UNKNOWN | AGENT_REVOKED */
  revoke(actor: Actor, key: MemberKey, how: How): Promise<Revocation>
  /** @throws MeshError CERT_UNKNOWN */
  revokeCertificate(actor: Actor, serial: string, how: How & { scope: RevocationScope }): Promise<Revocation>
  /** @throws MeshError AGENT_UNKNOWN | AGENT_REVOKED | AGENT_SUSPENDED */
  suspend(actor: Actor, key: MemberKey, how: How): Promise<Revocation>
  /** Its instances renew by their keys; what they held stays withdrawn. @throws MeshError AGENT_UNKNOWN | AGENT_REVOKED */
  resume(actor: Actor, key: MemberKey): Promise<Member>
  restore(actor: Actor, key: MemberKey): Promise<Member>
  remove(actor: Actor, key: MemberKey): Promise<Revocation>
  /** @returns the version now in force @throws MeshError POLICY_MALFORMED (the old one stays in force) */
  pushPolicy(actor: Actor, yaml: string): Promise<number>
  /** Writes into the audit what was done. */
  act(actor: Actor, what: string, object: string): Promise<void>
  /** Writes into the audit what was refused. */
  refused(actor: Actor, what: string, object: string, code: MeshErrorCode): Promise<void>
}

export interface RegistryOptions {
  readonly store: CaStore
  readonly world: CaWorld
  readonly acknowledgements: Acknowledgements
  readonly clock: Clock
  readonly log: Log
  /** Of a development CA: it grants shorter lives. */
  readonly dev: boolean
}

const DEFAULTS: Settings = { ttlSeconds: null, address: null, graceSeconds: null, onClone: null }
const TTL_MIN_SECONDS = 900

export function openRegistry(options: RegistryOptions): Registry {
  const { store, world, clock, log } = options
  const write = (actor: Actor, what: string, object: string, outcome: string): Promise<void> =>
    store.act({ at: clock.now(), who: formatActor(actor), what, object: object.slice(0, 2048), outcome })
  const act: Registry['act'] = (actor, what, object) => write(actor, what, object, 'OK')
  const register = (actor: Actor, wanted: MemberKey & Settings): Promise<Member> =>
    world.advance(async () => {
      const { member, position } = await store.register(wanted, clock.now())
      await act(actor, 'agent.add', member.id)
      return { value: member, move: restoring(member, position) }
    })
  return {
    find: (key) => find(store, key),
    require: async (actor, key) => {
      const known = await store.findMember(key)
      if (known === undefined)
        return {
          member: await register(actor, { ...key, ...DEFAULTS }),
          registered: true,
        }
      checkMayHold(known)
      return { member: known, registered: false }
    },
    add: async (actor, wanted) => {
      const known = await store.findMember(wanted)
      const { ttlSeconds, address, graceSeconds, onClone } = wanted
      checkTtl(options, ttlSeconds)
      const changes = [ttlSeconds, address, graceSeconds, onClone].some((each) => each !== null)
      if (known === undefined || known.state === 'revoked' || !changes) return register(actor, wanted)
      await act(actor, 'agent.configure', known.id)
      return store.configure(wanted)
    },
    revoke: (actor, key, how) =>
      withdraw(options, { actor, what: 'revoke', object: idOf(world, key), ...how }, () =>
        store.revokeMember(key, how.reason, clock.now()),
      ),
    revokeCertificate: (actor, serial, { scope, ...how }) =>
      withdraw(options, { actor, what: 'cert.revoke', object: serial, ...how }, () =>
        store.revokeCertificate(serial, { reason: how.reason, scope }, clock.now()),
      ),
    suspend: (actor, key, how) =>
      withdraw(options, { actor, what: 'agent.suspend', object: idOf(world, key), ...how }, () =>
        store.suspendMember(key, how.reason, clock.now()),
      ),
    resume: (actor, key) =>
      bringBack(options, { actor, what: 'agent.resume' }, () => store.resumeMember(key)),
    remove: (actor, key) =>
      withdraw(
        options,
        { actor, what: 'agent.remove', object: idOf(world, key), reason: 'removed', waitMs: 0 },
        () => store.removeMember(key, clock.now()),
      ),
    restore: (actor, key) =>
      bringBack(options, { actor, what: 'agent.restore' }, () => store.restoreMember(key)),
    pushPolicy: (actor, yaml) => {
      const policy = parsePolicy(yaml)
      compilePolicy(policy, world.trustDomain)
      return world.advance(async () => {
        const { version, position } = await store.pushPolicy(yaml, clock.now())
        await act(actor, 'policy.push', `version ${version}`)
        log.info('policy.pushed', { version })
        return {
          value: version,
          move: { ...still(position), policy: { ...policy, version }, endpointsChanged: true },
        }
      })
    },
    act,
    refused: write,
  }
}

interface Withdrawal {
  readonly actor: Actor
  readonly what: string
  readonly object: string
  readonly reason: string
  readonly waitMs: number
}

async function withdraw(
  { store, world, acknowledgements, clock, log }: RegistryOptions,
  { actor, what, object, reason, waitMs }: Withdrawal,
  change: () => Promise<Revoked>,
): Promise<Revocation> {
  const { revoked, wait } = await world.advance(async () => {
    const done = await change()
    const instances = await store.liveInstances(clock.now())
    const move: Move = { ...still(done.position), revoked: done, endpointsChanged: done.endpointsChanged }
    return {
      value: { revoked: done, wait: acknowledgements.expect(done.position.epoch, instances) },
      move,
    }
  })
  log.warn('revoked', { what, object, epoch: revoked.position.epoch, serials: revoked.serials.length })
  // written last: a full disk must not keep a revocation from the members
  await store
    .act({ at: clock.now(), who: formatActor(actor), what, object: `${object}: ${reason}`, outcome: 'OK' })
    .catch((error: unknown) => log.error('ca.audit_failed', { what, object, ...errorFields(error) }))
  return { revoked, applied: await wait.settle(waitMs) }
}

function bringBack(
  { store, world, clock }: RegistryOptions,
  { actor, what }: { actor: Actor; what: string },
  change: () => Promise<{ member: Member; position: Move['position'] | null }>,
): Promise<Member> {
  return world.advance(async () => {
    const { member, position } = await change()
    await store.act({ at: clock.now(), who: formatActor(actor), what, object: member.id, outcome: 'OK' })
    return { value: member, move: restoring(member, position) }
  })
}

/** @throws MeshError AGENT_REVOKED | AGENT_SUSPENDED */
export function checkMayHold({ id, state }: Member): void {
  if (state === 'revoked') throw new MeshError('AGENT_REVOKED', `${id} was revoked`)
  if (state === 'suspended') throw new MeshError('AGENT_SUSPENDED', `${id} is suspended`)
}

/** @throws MeshError AGENT_TTL_TOO_SHORT */
function checkTtl({ dev }: RegistryOptions, ttlSeconds: number | null): void {
  if (!dev && ttlSeconds !== null && ttlSeconds < TTL_MIN_SECONDS)
    throw new MeshError('AGENT_TTL_TOO_SHORT', `certificates of ${ttlSeconds} s are for development only`)
}

async function find(store: CaStore, { kind, name }: MemberKey): Promise<Member> {
  const member = await store.findMember({ kind, name })
  if (member === undefined) throw new MeshError('AGENT_UNKNOWN', `no ${kind} ${name} is registered`)
  return member
}

const restoring = (member: Member, position: Move['position'] | null): Move | undefined =>
  position === null ? undefined : { ...still(position), restored: member.id }

const idOf = (world: CaWorld, { kind, name }: MemberKey): string => namedId(world.trustDomain, kind, name)
