// The operator's acts on members: register, configure, revoke, restore, remove, the policy. Each is written into the CA's audit, and
// each that members must hear of goes through the order of changes.

import type { Clock } from '../host/clock.js'
import type { Log } from '../host/log.js'
import { MeshError, type MeshErrorCode } from '../mesh/errors.js'
import { compilePolicy } from '../mesh/policy/compile.js'
import { parsePolicy } from '../mesh/policy/document.js'
import { namedId } from '../mesh/spiffe-id.js'
import type { Acknowledgements, Applied } from './acknowledgements.js'
import type { Actor } from './actor.js'
import type { CaAudit } from './audit.js'
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
  /** Writes into the audit what was done and has no transaction of its own. */
  act(actor: Actor, what: string, object: string): Promise<void>
  /** Writes into the audit what was refused. */
  refused(actor: Actor, what: string, object: string, code: MeshErrorCode): Promise<void>
}

export interface RegistryOptions {
  readonly store: CaStore
  readonly audit: CaAudit
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
  const { store, audit, world, clock } = options
  const register = (actor: Actor, wanted: MemberKey & Settings): Promise<Member> =>
    bringIn(options, actor, { what: 'agent.add', ...wanted }, (on) => on.register(wanted, clock.now()))
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
      const attempt = { what: 'agent.configure', object: known.id, detail: () => settingsOf(wanted) }
      return audit.run(actor, attempt, (on) => on.configure(wanted))
    },
    revoke: (actor, key, how) =>
      withdraw(options, { actor, what: 'revoke', object: idOf(world, key), ...how }, (on) =>
        on.revokeMember(key, how.reason, clock.now()),
      ),
    revokeCertificate: (actor, serial, { scope, ...how }) =>
      withdraw(options, { actor, what: 'cert.revoke', object: serial, ...how }, (on) =>
        on.revokeCertificate(serial, { reason: how.reason, scope }, clock.now()),
      ),
    suspend: (actor, key, how) =>
      withdraw(options, { actor, what: 'agent.suspend', object: idOf(world, key), ...how }, (on) =>
        on.suspendMember(key, how.reason, clock.now()),
      ),
    resume: (actor, key) =>
      bringIn(options, actor, { what: 'agent.resume', ...key }, (on) => on.resumeMember(key)),
    remove: (actor, key) =>
      withdraw(
        options,
        { actor, what: 'agent.remove', object: idOf(world, key), reason: 'removed', waitMs: 0 },
        (on) => on.removeMember(key, clock.now()),
      ),
    restore: (actor, key) =>
      bringIn(options, actor, { what: 'agent.restore', ...key }, (on) => on.restoreMember(key)),
    pushPolicy: (actor, yaml) => pushPolicy(options, actor, yaml),
    act: (actor, what, object) => audit.act(actor, what, object),
    refused: (actor, what, object, code) => audit.refused(actor, what, object, code),
  }
}

async function pushPolicy(
  { audit, world, clock, log }: RegistryOptions,
  actor: Actor,
  yaml: string,
): Promise<number> {
  const what = 'policy.push'
  const object = 'policy'
  const policy = await audit.guard(actor, { what, object }, async () => {
    const parsed = parsePolicy(yaml)
    compilePolicy(parsed, world.trustDomain)
    return await Promise.resolve(parsed)
  })
  return world.advance(async () => {
    const { version, position } = await audit.run(
      actor,
      { what, object, detail: (pushed: { version: number }) => `version ${pushed.version}` },
      (on) => on.pushPolicy(yaml, clock.now()),
    )
    log.info('policy.pushed', { version })
    return {
      value: version,
      move: { ...still(position), policy: { ...policy, version }, endpointsChanged: true },
    }
  })
}

interface Withdrawal {
  readonly actor: Actor
  readonly what: string
  readonly object: string
  readonly reason: string
  readonly waitMs: number
}

async function withdraw(
  { store, audit, world, acknowledgements, clock, log }: RegistryOptions,
  { actor, what, object, reason, waitMs }: Withdrawal,
  change: (on: CaStore) => Promise<Revoked>,
): Promise<Revocation> {
  const { revoked, wait } = await world.advance(async () => {
    // an audit that cannot be written must not keep a revocation from the members
    const done = await audit.runAnyway(actor, { what, object, detail: () => reason }, change)
    const instances = await store.liveInstances(clock.now())
    const move: Move = { ...still(done.position), revoked: done, endpointsChanged: done.endpointsChanged }
    return {
      value: { revoked: done, wait: acknowledgements.expect(done.position.epoch, instances) },
      move,
    }
  })
  log.warn('revoked', { what, object, epoch: revoked.position.epoch, serials: revoked.serials.length })
  return { revoked, applied: await wait.settle(waitMs) }
}

/** A name comes into the mesh, or back. */
function bringIn(
  { audit, world }: RegistryOptions,
  actor: Actor,
  wanted: MemberKey & { what: string },
  change: (on: CaStore) => Promise<{ member: Member; position: Move['position'] | null }>,
): Promise<Member> {
  const { what, kind, name } = wanted
  const detail = ({ member }: { member: Member }): string | null =>
    what === 'agent.add' ? settingsOf(member) : null
  return world.advance(async () => {
    const attempt = { what, object: idOf(world, { kind, name }), detail }
    const { member, position } = await audit.run(actor, attempt, change)
    return { value: member, move: restoring(member, position) }
  })
}

/** `ttlSeconds=3600 address=10.0.0.7`; null when all is as the CA's defaults have it. */
function settingsOf({ ttlSeconds, address, graceSeconds, onClone }: Settings): string | null {
  const set = Object.entries({ ttlSeconds, address, graceSeconds, onClone }).filter(
    ([, value]) => value !== null,
  )
  return set.length === 0 ? null : set.map(([name, value]) => `${name}=${String(value)}`).join(' ')
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
