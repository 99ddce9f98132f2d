// One sidecar process, of one agent or of several. Each identity is enrolled or found, opens its ledger and its doors, tells the mesh where
// it is, and drains at the end; identities share the event loop, its turn and the log, and nothing else.

import { userInfo } from 'node:os'
import { type Clock, pause, systemClock } from '../host/clock.js'
import { collectOnOneThread } from '../host/garbage.js'
import { type Lifecycle, openLifecycle } from '../host/lifecycle.js'
import { type Log, openLog } from '../host/log.js'
import { openMetrics } from '../host/metrics.js'
import { openSweep, type Sweep } from '../host/sweep.js'
import { openTurn, type Turn } from '../host/turn.js'
import { openTurnClock } from '../host/turn-clock.js'
import { type Member, openMember } from '../member/member.js'
import { partyOf } from '../mesh/svid.js'
import { openRecorder } from './audit/recorder.js'
import { shipLedger } from './audit/shipper.js'
import type { RunningSidecar, SidecarConfig } from './config.js'
import { holdPorts } from './held-ports.js'
import { keepPorts, makeLocalSecrets, portsFor } from './local-state.js'
import { openSidecar, type Sidecar } from './sidecar.js'
import { type OpenedSidecar, type RunningSidecars, startTogether } from './together.js'

const FIRST_WORD_MS = 2000
const LOOK_EVERY_MS = 10

/**
 * Starts the sidecar of one agent; resolves when its doors are open and its endpoint is announced.
 * @throws MeshError of enrolment, STATE_*, PORT_BUSY, CONFIG_*, DEV_ROOT
 */
export async function startSidecar(config: SidecarConfig): Promise<RunningSidecar> {
  const noneHeld = (): Promise<void> => Promise.resolve()
  const { running, heard } = await openIdentity(config, openShared(config.settings), noneHeld)
  await heard
  return running
}

/**
 * Starts the sidecars of several agents; what one of them cannot do is logged and leaves the others as they are.
 * @param configs at least one; the first one's `settings.logLevel` is that of the process
 * @throws MeshError as `startSidecar`, naming the agent, when none could be started
 */
export async function startSidecars(
  configs: readonly [SidecarConfig, ...SidecarConfig[]],
): Promise<RunningSidecars> {
  const shared = openShared(configs[0].settings)
  const held = await holdPorts(configs)
  const openOne = (config: SidecarConfig): Promise<OpenedSidecar> =>
    openIdentity(config, shared, () => held.release(config))
  return startTogether(configs, openOne, shared.log)
}

/** What the identities of a process share. */
interface Shared {
  readonly clock: Clock
  /** Of the call path. */
  readonly turnClock: Clock
  readonly log: Log
  readonly turn: Turn
  readonly sweep: Sweep
}

function openShared({ logLevel }: SidecarConfig['settings']): Shared {
  collectOnOneThread()
  const clock = systemClock
  const write = (line: string): void => void process.stderr.write(`${line}\n`)
  const log = openLog({ clock, level: logLevel, write })
  const turn = openTurn(throwAtTop)
  const turnClock = openTurnClock(clock, turn)
  return { clock, turnClock, log, turn, sweep: openSweep(turnClock) }
}

/** @param giveBackPorts called before the doors open, and in any case */
async function openIdentity(
  config: SidecarConfig,
  shared: Shared,
  giveBackPorts: () => Promise<void>,
): Promise<OpenedSidecar> {
  const { agent, instance } = config
  const log = shared.log.with(instance === null ? { agent } : { agent, instance })
  const lifecycle = openLifecycle()
  try {
    return await open(config, { ...shared, log, lifecycle, giveBackPorts })
  } catch (error) {
    await giveBackPorts()
    lifecycle.stop()
    await lifecycle.done().catch(() => undefined)
    throw error
  }
}

interface Opening extends Shared {
  readonly lifecycle: Lifecycle
  readonly giveBackPorts: () => Promise<void>
}

async function open(
  config: SidecarConfig,
  { clock, turnClock, log, turn, sweep, lifecycle, giveBackPorts }: Opening,
): Promise<OpenedSidecar> {
  const metrics = openMetrics()
  const member = await openMember({ ...memberOptions(config), clock, log, lifecycle })
  const { id, dir, credentials, world } = member
  const self = (): ReturnType<typeof partyOf> => partyOf(credentials.current().svid)
  const recorder = openRecorder({ dir, self, clock, log, metrics, turn, ...auditOptions(config) })
  // ends with the recorder, which lets it send what is left
  lifecycle.run('shipper', (signal) =>
    shipLedger({ ledger: recorder.ledger, credentials, world, clock, log, metrics, signal }),
  )
  lifecycle.defer('recorder', () => recorder.close())
  credentials.onRotate(({ svid }) => recorder.note('rotated', `serial ${svid.serial}`))
  const secrets = makeLocalSecrets(dir)
  const { egressPort: egress, ingressPort: ingress, adminPort: admin } = config
  const ports = portsFor(dir, { egress, ingress, admin })
  await giveBackPorts()
  const sidecar = await openSidecar({
    config,
    id,
    credentials,
    world,
    feed: member.feed,
    recorder,
    clock: turnClock,
    turn,
    sweep,
    log,
    metrics,
    ports,
    secrets,
  })
  lifecycle.defer('doors', () => sidecar.close())
  keepPorts(dir, { egress: sidecar.ports.egress, ingress: sidecar.ports.ingress, admin: sidecar.ports.admin })
  announce(config, member, sidecar)
  lifecycle.defer('drain', () => drain(member, sidecar, log))
  tell(config, log, sidecar)
  const done = lifecycle.done()
  const running: RunningSidecar = {
    ports: sidecar.ports,
    localCredential: secrets.localCredential,
    ingressSecretFile: secrets.ingressSecretFile,
    id,
    done,
    stop: () => {
      lifecycle.stop()
      return done
    },
  }
  return { running, heard: hearFirst(member, clock, lifecycle.signal) }
}

/** What an act of a turn throws is a bug, and ends the process as one thrown anywhere else does. */
function throwAtTop(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}

function memberOptions({ home, agent, instance, enrolBy, dev, settings }: SidecarConfig) {
  const { feedMaxStalenessMs } = settings
  return { home, kind: 'agent' as const, name: agent, instance, enrolBy, dev, feedMaxStalenessMs }
}

function auditOptions({ settings }: SidecarConfig) {
  return {
    durability: settings.auditDurability,
    onFailure: settings.auditOnFailure,
    maxDiskBytes: settings.auditMaxDiskBytes,
  }
}

/** Without an app nothing is served, so nothing is announced. */
function announce({ app, advertise }: SidecarConfig, { feed }: Member, { ports }: Sidecar): void {
  if (app === null) return
  feed.advertise({ host: advertise?.host ?? null, port: advertise?.port ?? ports.ingress })
}

/** Waits for the CA's first word, so that calls go by the newest view; not for long, so that a mesh starts without its CA. */
async function hearFirst({ feed }: Member, clock: Clock, signal: AbortSignal): Promise<void> {
  const end = clock.monotonic() + FIRST_WORD_MS
  while (!feed.connected && !signal.aborted && clock.monotonic() < end)
    await pause(clock, LOOK_EVERY_MS, signal)
}

/** Peers stop choosing us before we stop answering; feed and renewal go on until the last call has ended. */
async function drain({ feed }: Member, sidecar: Sidecar, log: Log): Promise<void> {
  log.info('sidecar.draining')
  await feed.withdraw()
  await sidecar.drain()
}

function tell(config: SidecarConfig, log: Log, { ports }: Sidecar): void {
  const { egress, ingress, admin } = ports
  log.info('sidecar.started', { egress, ingress, admin, app: config.app !== null })
  log.info('sidecar.same-user', {
    code: 'SAME_USER',
    user: userInfo().username,
    detail:
      'every program of this user can read the key of this agent; run the agent as another user to part them',
  })
  if (config.egressAuth === 'none') log.warn('sidecar.open-door', { door: 'egress', port: egress })
  for (const { callee, open } of config.to) {
    if (open) log.warn('sidecar.open-door', { door: callee, port: ports.to[callee] })
  }
}
