// Sidecars of a small mesh in one process: real sockets, real mutual TLS, real certificates; the CA is replaced by a world that the
// test writes, and the ledger by one in memory.

import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import {
  type Hierarchy,
  issueLeaf,
  type Leaf,
  type LeafOptions,
  makeHierarchy,
} from '../../certs-dev/hierarchy.js'
import { type Clock, systemClock } from '../../host/clock.js'
import { parseConfig } from '../../host/config.js'
import { type Metrics, openMetrics } from '../../host/metrics.js'
import { openSweep } from '../../host/sweep.js'
import { openTurn } from '../../host/turn.js'
import type { World, WorldHolder, WorldListener } from '../../member/control/world.js'
import type { Credentials, Identity } from '../../member/identity/credentials.js'
import type { AuditRecord, Decided, Ended } from '../../mesh/audit-record.js'
import type { MeshError } from '../../mesh/errors.js'
import { compilePolicy, visibleCallees } from '../../mesh/policy/compile.js'
import { parsePolicy } from '../../mesh/policy/document.js'
import { covers, revocationsOf } from '../../mesh/revocation.js'
import { namedId, parseAgentName, type SpiffeId } from '../../mesh/spiffe-id.js'
import { parseSvid } from '../../mesh/svid.js'
import type { Endpoint } from '../../mesh/wire/feed.js'
import type { Recorder, Refused } from '../../sidecar/audit/recorder.js'
import type { SidecarConfig } from '../../sidecar/config.js'
import { makeLocalSecrets } from '../../sidecar/local-state.js'
import { DOOR_LIMITS, type DoorLimits } from '../../sidecar/parts.js'
import { openSidecar, type Sidecar } from '../../sidecar/sidecar.js'
import { type MemoryLog, memoryLog } from './memory-log.js'

export const POLICY = `
version: 1
agents:
  - id: agent/planner
    scopes: [tickets:read]
services:
  - id: agent/tickets
    operations:
      - match: { method: GET, path: /tickets/** }
        scope: tickets:read
      - match: { method: HEAD, path: /tickets/** }
        scope: tickets:read
      - match: { method: POST, path: /tickets/** }
        scope: tickets:read
      - match: { method: DELETE, path: /tickets/** }
        scope: tickets:write
`

export interface StartOptions extends Partial<Omit<SidecarConfig, 'settings'>> {
  readonly settings?: Partial<SidecarConfig['settings']>
  readonly clock?: Clock
  readonly doors?: DoorLimits
  readonly leaf?: LeafOptions
  /** A ready leaf instead of a right one. */
  readonly show?: Leaf
}

export interface TestSidecar extends AsyncDisposable {
  readonly id: SpiffeId
  readonly ports: Sidecar['ports']
  readonly credential: string
  readonly ingressSecret: string
  readonly records: MemoryRecorder
  readonly world: TestWorld
  readonly credentials: TestCredentials
  readonly metrics: Metrics
  readonly log: MemoryLog
  readonly sidecar: Sidecar
  /** `http://127.0.0.1:<egress>/~<credential>/@<callee>` */
  urlOf(callee: string): string
}

export interface TestMesh extends AsyncDisposable {
  readonly hierarchy: Hierarchy
  readonly worlds: readonly TestWorld[]
  start(name: string, options?: StartOptions): Promise<TestSidecar>
  /** In every world at once. @returns connections cut, in all */
  change(edit: (world: World) => Partial<World>): number
  revoke(name: string): number
  id(name: string): SpiffeId
}

export async function startMesh(policy: string = POLICY): Promise<TestMesh> {
  const hierarchy = await makeHierarchy({ trustDomain: 'flow.test', dev: true })
  const dir = mkdtempSync(path.join(tmpdir(), 'tm-'))
  const worlds: TestWorld[] = []
  const running: TestSidecar[] = []
  const id = (name: string): SpiffeId => namedId(hierarchy.trustDomain, 'agent', parseAgentName(name))
  let endpoints: ReadonlyMap<SpiffeId, readonly Endpoint[]> = new Map()
  const first: World = {
    trustDomain: hierarchy.trustDomain,
    bundles: new Map([[hierarchy.trustDomain, hierarchy.bundle]]),
    revocations: revocationsOf([], []),
    policy: compilePolicy(parsePolicy(policy), hierarchy.trustDomain),
    policyVersion: 1,
    callees: new Set(),
    endpoints,
    position: { generation: randomUUID(), epoch: 1 },
  }
  const change: TestMesh['change'] = (edit) =>
    worlds.reduce((cut, world) => cut + world.replace(edit(world.current())), 0)
  return {
    hierarchy,
    worlds,
    id,
    change,
    revoke: (name) => change(() => ({ revocations: revocationsOf([id(name)], []) })),
    async start(name, options = {}) {
      const leaf = options.show ?? (await issueLeaf(hierarchy, id(name), options.leaf))
      const shared = worlds[0]?.current() ?? first
      const callees = visibleCallees(shared.policy, id(name), [...shared.policy.services.keys()])
      const world = new TestWorld({ ...shared, callees: new Set(callees) }, id(name))
      worlds.push(world)
      const home = path.join(dir, `${name}${running.length}`)
      const started = await startOne({ name, home, id: id(name), world, leaf, options })
      running.push(started)
      if (options.app !== null) {
        const place = {
          id: id(name),
          instanceId: leaf.instanceId,
          host: options.listen ?? '127.0.0.1',
          port: started.ports.ingress,
        }
        endpoints = new Map([...endpoints, [id(name), [...(endpoints.get(id(name)) ?? []), place]]])
        change(() => ({ endpoints }))
      }
      return started
    },
    async [Symbol.asyncDispose]() {
      for (const each of running) await each[Symbol.asyncDispose]()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

interface OneOptions {
  readonly name: string
  readonly home: string
  readonly id: SpiffeId
  readonly world: TestWorld
  readonly leaf: Leaf
  readonly options: StartOptions
}

async function startOne({ name, home, id, world, leaf, options }: OneOptions): Promise<TestSidecar> {
  const { settings, clock = systemClock, doors = DOOR_LIMITS, leaf: _leaf, show: _show, ...chosen } = options
  const log = memoryLog()
  const metrics = openMetrics()
  const records = new MemoryRecorder()
  const credentials = new TestCredentials(identityOf(leaf))
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const secrets = makeLocalSecrets(home)
  const config: SidecarConfig = {
    home,
    agent: parseAgentName(name),
    instance: null,
    app: null,
    enrolBy: null,
    listen: '127.0.0.1',
    advertise: null,
    egressPort: null,
    ingressPort: null,
    adminPort: null,
    egressAuth: 'credential',
    to: [],
    dev: true,
    ...chosen,
    settings: { ...parseConfig('', 'config.yaml'), drainMs: 1000, ...settings },
  }
  const sidecar = await openSidecar({
    config,
    id,
    credentials,
    world,
    feed: { troubles: [] },
    recorder: records,
    clock,
    turn: openTurn(throwAtTop),
    sweep: openSweep(clock),
    log,
    metrics,
    ports: { egress: 0, ingress: 0, admin: 0 },
    secrets,
    doors,
  })
  return {
    id,
    ports: sidecar.ports,
    credential: secrets.localCredential,
    ingressSecret: readFileSync(secrets.ingressSecretFile, 'utf8').trim(),
    records,
    world,
    credentials,
    metrics,
    log,
    sidecar,
    urlOf: (callee) => `http://127.0.0.1:${sidecar.ports.egress}/~${secrets.localCredential}/@${callee}`,
    [Symbol.asyncDispose]: () => sidecar.close(),
  }
}

function throwAtTop(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}

export function identityOf(leaf: Leaf): Identity {
  const { keyPem, chainPem, issuing } = leaf
  return { svid: parseSvidLoosely(leaf), keyPem, chainPem, issuing }
}

/** A wrong leaf does not parse; its holder, who is the attacker, does not mind. */
function parseSvidLoosely({ certificate, issuing, instanceId }: Leaf): Identity['svid'] {
  try {
    return parseSvid(certificate, issuing)
  } catch {
    return {
      id: 'spiffe://flow.test/agent/wrong' as SpiffeId,
      serial: certificate.serialNumber.toLowerCase(),
      issuer: '',
      instanceId,
      notBefore: 0,
      notAfter: Number.MAX_SAFE_INTEGER,
      fingerprint: '',
    }
  }
}

export class TestCredentials implements Credentials {
  private identity: Identity
  private readonly listeners: ((identity: Identity) => void)[] = []

  constructor(first: Identity) {
    this.identity = first
  }

  current(): Identity {
    return this.identity
  }

  onRotate(listener: (identity: Identity) => void): void {
    this.listeners.push(listener)
  }

  rotate(leaf: Leaf): void {
    this.identity = identityOf(leaf)
    for (const listener of this.listeners) listener(this.identity)
  }
}

export class TestWorld implements WorldHolder {
  private world: World
  private readonly own: SpiffeId
  private readonly listeners: WorldListener[] = []
  stale = false
  selfRevoked = false

  constructor(first: World, own: SpiffeId) {
    this.world = first
    this.own = own
  }

  current(): World {
    return this.world
  }

  isStale(): boolean {
    return this.stale
  }

  onChange(listener: WorldListener): void {
    this.listeners.push(listener)
  }

  replace(change: Partial<World>): number {
    const previous = this.world
    this.world = { ...previous, ...change }
    this.selfRevoked = covers(this.world.revocations, { id: this.own, issuer: '', serial: '' })
    return this.listeners.reduce((cut, listener) => cut + listener(this.world, previous), 0)
  }
}

/** The ledger in memory. `failing` makes it refuse, as a full disk does. */
export class MemoryRecorder implements Recorder {
  readonly records: AuditRecord[] = []
  readonly refusals: Refused[] = []
  failing: MeshError | undefined
  private readonly waiting = new Set<() => void>()

  get healthy(): boolean {
    return this.failing === undefined
  }

  decided(record: Omit<Decided, 'kind'>, settle: (error: MeshError | undefined) => void): void {
    setImmediate(() => {
      if (this.failing === undefined) {
        this.records.push({ kind: 'decided', ...record })
        this.tell()
      }
      settle(this.failing)
    })
  }

  ended(record: Omit<Ended, 'kind'>): void {
    this.records.push({ kind: 'ended', ...record })
    this.tell()
  }

  refused(refused: Refused): void {
    this.refusals.push(refused)
    this.tell()
  }

  note(): void {
    this.tell()
  }

  async close(): Promise<void> {}

  get decisions(): Decided[] {
    return this.records.filter((record) => record.kind === 'decided')
  }

  get ends(): Ended[] {
    return this.records.filter((record) => record.kind === 'ended')
  }

  /** The nth end (from 0), when it is there. */
  end(nth = 0): Promise<Ended> {
    return this.until(`end ${nth}`, () => this.ends[nth])
  }

  decision(nth = 0): Promise<Decided> {
    return this.until(`decision ${nth}`, () => this.decisions[nth])
  }

  refusal(nth = 0): Promise<Refused> {
    return this.until(`refusal ${nth}`, () => this.refusals[nth])
  }

  private until<T>(what: string, find: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(look)
        reject(new Error(`no ${what}; have ${JSON.stringify([this.records, this.refusals])}`))
      }, 8000)
      const look = (): void => {
        const found = find()
        if (found === undefined) return
        clearTimeout(timer)
        this.waiting.delete(look)
        resolve(found)
      }
      this.waiting.add(look)
      look()
    })
  }

  private tell(): void {
    for (const look of [...this.waiting]) look()
  }
}
