// The operator's acts on members: register, configure, revoke, restore, remove, the policy. Each is written into the CA's audit, and
// each that members must hear of goes through the order of changes.

import type { Clock } from '../host/clock.js'
import { errorFields, type Log } from '../host/log.js'
import { MeshError, type MeshErrorCode } from '../mesh/errors.js'
import { compilePolicy } from '../mesh/policy/compile.js'
import { parsePolicy } from '../mesh/policy/document.js'
import { namedId } from '../mesh/spiffe-id.js'
import type { Acknowledgements, Applied } from './acknowledgements.js'
import type { CaStore, Member, MemberKey, Revoked, Settings } from './store/model.js'
import { type CaWorld, type Move, still } from './world.js'

export interface Revocation {
  readonly revoked: Revoked
  readonly applied: Applied
}

export interface Registry {
  /** @throws MeshError AGENT_UNKNOWN */
  find(key: MemberKey): Promise<Member>
  /** The member, registered if the name is free. @throws MeshError AGENT_REVOKED */
  require(key: MemberKey): Promise<{ member: Member; registered: boolean }>
  /** Registers, or changes the settings of a registered one. @throws MeshError AGENT_EXISTS when there is nothing to change */
  add(wanted: MemberKey & Settings): Promise<Member>
  /** `waitMs` 0 does not wait for the members. @throws MeshError AGENT_UNKNOWN | AGENT_REVOKED */
  revoke(key: MemberKey, how: { reason: string; waitMs: number }): Promise<Revocation>
  /** @throws MeshError CERT_UNKNOWN */
  revokeCertificate(serial: string, how: { reason: string; waitMs: number }): Promise<Revocation>
  restore(key: MemberKey): Promise<Member>
  remove(key: MemberKey): Promise<Revocation>
  /** @returns the version now in force @throws MeshError POLICY_MALFORMED (the old one stays in force) */
  pushPolicy(yaml: string): Promise<number>
  /** Writes into the audit what was done. */
  act(who: string, what: string, object: string): Promise<void>
  /** Writes into the audit what was refused. */
  refused(who: string, what: string, object: string, code: MeshErrorCode): Promise<void>
}

export interface RegistryOptions {
  readonly store: CaStore
  readonly world: CaWorld
  readonly acknowledgements: Acknowledgements
  readonly clock: Clock
  readonly log: Log
}

export function openRegistry(options: RegistryOptions): Registry {
  const { store, world, clock, log } = options
  const act = (who: string, what: string, object: string): Promise<void> =>
    store.act({ at: clock.now(), who, what, object: object.slice(0, 2048), outcome: 'OK' })
  const register = (wanted: MemberKey & Settings): Promise<Member> =>
    world.advance(async () => {
      const { member, position } = await store.register(wanted, clock.now())
      await act('admin', 'agent.add', member.id)
      return { value: member, move: restoring(member, position) }
    })
  return {
    find: (key) => find(store, key),
    require: async (key) => {
      const known = await store.findMember(key)
      if (known === undefined)
        return { member: await register({ ...key, ttlSeconds: null, address: null }), registered: true }
      if (known.state === 'revoked') throw new MeshError('AGENT_REVOKED', `${known.id} was revoked`)
      return { member: known, registered: false }
    },
    add: async (wanted) => {
      const known = await store.findMember(wanted)
      const changes = wanted.ttlSeconds !== null || wanted.address !== null
      if (known === undefined || known.state === 'revoked' || !changes) return register(wanted)
      await act('admin', 'agent.configure', known.id)
      return store.configure(wanted)
    },
    revoke: (key, how) =>
      withdraw(options, { what: 'revoke', object: idOf(world, key), ...how }, () =>
        store.revokeMember(key, how.reason, clock.now()),
      ),
    revokeCertificate: (serial, how) =>
      withdraw(options, { what: 'cert.revoke', object: serial, ...how }, () =>
        store.revokeCertificate(serial, how.reason, clock.now()),
      ),
    remove: (key) =>
      withdraw(
        options,
        { what: 'agent.remove', object: idOf(world, key), reason: 'removed', waitMs: 0 },
        () => store.removeMember(key, clock.now()),
      ),
    restore: (key) =>
      world.advance(async () => {
        const { member, position } = await store.restoreMember(key)
        await act('admin', 'agent.restore', member.id)
        return { value: member, move: restoring(member, position) }
      }),
    pushPolicy: (yaml) => {
      const policy = parsePolicy(yaml)
      compilePolicy(policy, world.trustDomain)
      return world.advance(async () => {
        const { version, position } = await store.pushPolicy(yaml, clock.now())
        await act('admin', 'policy.push', `version ${version}`)
        log.info('policy.pushed', { version })
        return {
          value: version,
          move: { ...still(position), policy: { ...policy, version }, endpointsChanged: true },
        }
      })
    },
    act,
    refused: (who, what, object, outcome) =>
      store.act({ at: clock.now(), who, what, object: object.slice(0, 2048), outcome }),
  }
}

interface Withdrawal {
  readonly what: string
  readonly object: string
  readonly reason: string
  readonly waitMs: number
}

async function withdraw(
  { store, world, acknowledgements, clock, log }: RegistryOptions,
  { what, object, reason, waitMs }: Withdrawal,
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
    .act({ at: clock.now(), who: 'admin', what, object: `${object}: ${reason}`, outcome: 'OK' })
    .catch((error: unknown) => log.error('ca.audit_failed', { what, object, ...errorFields(error) }))
  return { revoked, applied: await wait.settle(waitMs) }
}

async function find(store: CaStore, { kind, name }: MemberKey): Promise<Member> {
  const member = await store.findMember({ kind, name })
  if (member === undefined) throw new MeshError('AGENT_UNKNOWN', `no ${kind} ${name} is registered`)
  return member
}

const restoring = (member: Member, position: Move['position'] | null): Move | undefined =>
  position === null ? undefined : { ...still(position), restored: member.id }

const idOf = (world: CaWorld, { kind, name }: MemberKey): string => namedId(world.trustDomain, kind, name)
