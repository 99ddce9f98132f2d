// A member as enrolment leaves it, without a CA: its state directory written from a throw-away hierarchy, its world set by the test.

import { randomUUID } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Hierarchy, issueLeaf, type Leaf, type LeafOptions } from '../../certs-dev/hierarchy.js'
import type { Clock } from '../../host/clock.js'
import type { Log } from '../../host/log.js'
import { holdWorld, type WorldOwner } from '../../member/control/world-holder.js'
import { type CredentialsOwner, holdCredentials, type Identity } from '../../member/identity/credentials.js'
import { loadIdentity } from '../../member/identity/stored-identity.js'
import { agentDir, openStateDir } from '../../member/state-dir.js'
import { EMPTY_POLICY } from '../../mesh/policy/model.js'
import { revocationsOf } from '../../mesh/revocation.js'
import { type NamedKind, namedId, parseAgentName } from '../../mesh/spiffe-id.js'
import { parseSvid } from '../../mesh/svid.js'
import type { Endpoint, View } from '../../mesh/wire/feed.js'

export interface Owner {
  readonly home: string
  readonly kind: NamedKind
  readonly name: string
}

/** Nobody answers there: the last world is all the member has. */
const NO_CA = '127.0.0.1:9'

/** Writes the state directory of an enrolled member. */
export async function enrolMember(
  hierarchy: Hierarchy,
  owner: Owner,
  leafOptions: LeafOptions = {},
): Promise<Leaf> {
  const id = namedId(hierarchy.trustDomain, owner.kind, parseAgentName(owner.name))
  const leaf = await issueLeaf(hierarchy, id, leafOptions)
  const dir = dirOf(owner)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const { instanceId } = leaf
  const instance = { version: 1, instanceId, caAddress: NO_CA, renewAt: Date.now() + 3_600_000 }
  const files = {
    'svid.pem': leaf.chainPem,
    'key.pem': leaf.keyPem,
    'bundle.pem': hierarchy.rootPem,
    'instance.json': JSON.stringify(instance),
  }
  for (const [name, content] of Object.entries(files))
    writeFileSync(path.join(dir, name), content, { mode: 0o600 })
  return leaf
}

export const dirOf = ({ home, kind, name }: Owner): string =>
  agentDir({ home, kind, name: parseAgentName(name), instance: null })

export interface OpenMember extends Disposable {
  readonly dir: string
  readonly credentials: CredentialsOwner
  readonly world: WorldOwner
}

/** Opens it as a program does, but for feed and renewal. */
export function openEnrolled(owner: Owner, { clock, log }: { clock: Clock; log: Log }): OpenMember {
  const state = openStateDir({ ...owner, name: parseAgentName(owner.name), instance: null })
  const stored = loadIdentity(state)
  if (stored === undefined) throw new Error(`${state.dir} is not enrolled`)
  const credentials = holdCredentials(stored, log)
  const { bundle } = stored
  const world = holdWorld({
    state,
    credentials,
    bundle,
    revocations: revocationsOf([], []),
    dev: true,
    feedMaxStalenessMs: 600_000,
    clock,
    log,
  })
  return { dir: state.dir, credentials, world, [Symbol.dispose]: () => state.release() }
}

/** The CA's view of a mesh, of which a test changes what it is about. */
export function viewOf(hierarchy: Hierarchy, changes: Partial<View> = {}): View {
  const { trustDomain, rootPem } = hierarchy
  return {
    trustDomain,
    bundles: [{ trustDomain, rootsPem: rootPem, issuingPem: '', crossPem: '' }],
    revokedIds: [],
    revokedSerials: [],
    revokedIssuers: [],
    policy: EMPTY_POLICY,
    callees: [],
    endpoints: [],
    ...changes,
  }
}

const GENERATION = randomUUID()

/** Puts the view in force, as the epoch after the last one. @returns connections cut */
export function show(world: WorldOwner, view: View): number {
  const epoch = (world.current().position?.epoch ?? 0) + 1
  return world.replace(view, { generation: GENERATION, epoch }, false)
}

/** Where a collector named `main` is reached. */
export function collectorAt(hierarchy: Hierarchy, host: string, port: number): Endpoint {
  const id = namedId(hierarchy.trustDomain, 'collector', parseAgentName('main'))
  return { id, instanceId: randomUUID(), host, port }
}

export function identityOf(leaf: Leaf): Identity {
  const { certificate, issuing, keyPem, chainPem } = leaf
  return { svid: parseSvid(certificate, issuing), keyPem, chainPem, issuing }
}
