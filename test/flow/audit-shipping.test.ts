// Sidecar ledgers reach the collector over real mutual TLS, whatever happens to either side. No CA runs: both live on their last world.

import { createServer } from 'node:net'
import path from 'node:path'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { type Hierarchy, issueLeaf, makeHierarchy } from '../../certs-dev/hierarchy.js'
import { type RunningCollector, serveCollector } from '../../collector/main.js'
import { ANY_RECORD, openLedgerReader } from '../../host/audit-table.js'
import { systemClock } from '../../host/clock.js'
import { openMetrics } from '../../host/metrics.js'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import { partyOf } from '../../mesh/svid.js'
import { openRecorder } from '../../sidecar/audit/recorder.js'
import { shipLedger } from '../../sidecar/audit/shipper.js'
import { decide, decidedCall, endedCall, scratchDir, strictTurn } from '../support/audit-records.js'
import {
  collectorAt,
  enrolMember,
  identityOf,
  type OpenMember,
  openEnrolled,
  show,
  viewOf,
} from '../support/enrolled-member.js'
import { memoryLog } from '../support/memory-log.js'

let hierarchy: Hierarchy
let cleanups: (() => unknown)[] = []

beforeAll(async () => {
  hierarchy = await makeHierarchy({ trustDomain: 'acme.internal', dev: true })
})
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
  cleanups = []
})

function scratchHome(): string {
  const scratch = scratchDir()
  cleanups.push(() => scratch[Symbol.dispose]())
  return scratch.dir
}

async function startCollector(
  home: string,
  port = 0,
): Promise<RunningCollector & { log: ReturnType<typeof memoryLog> }> {
  const log = memoryLog()
  const collector = await serveCollector({
    home,
    name: parseAgentName('main'),
    listen: '127.0.0.1',
    port,
    adminPort: 0,
    enrolBy: null,
    dev: true,
    clock: systemClock,
    log,
    settings: { feedMaxStalenessMs: 600_000 },
  })
  cleanups.push(() => collector.close())
  return { ...collector, log }
}

/** What a sidecar's main does for its ledger. */
function startAuditing(member: OpenMember) {
  const stop = new AbortController()
  const log = memoryLog()
  const metrics = openMetrics()
  const recorder = openRecorder({
    dir: member.dir,
    self: () => partyOf(member.credentials.current().svid),
    clock: systemClock,
    log,
    metrics,
    turn: strictTurn(),
    durability: 'process',
    onFailure: 'deny',
    maxDiskBytes: 2 ** 26,
  })
  const { ledger } = recorder
  const { credentials, world } = member
  const shipped = shipLedger({
    ledger,
    credentials,
    world,
    clock: systemClock,
    log,
    metrics,
    signal: stop.signal,
  })
  const close = async (): Promise<void> => {
    stop.abort()
    await recorder.close()
    await shipped
  }
  cleanups.push(close)
  return { recorder, ledger, log, metrics, close }
}

async function record(recorder: ReturnType<typeof startAuditing>['recorder'], calls: number): Promise<void> {
  for (let n = 0; n < calls; n += 1) {
    const call = decidedCall({ at: Date.now() })
    await decide(recorder, call)
    recorder.ended(endedCall(call))
  }
}

const callsAt = (home: string): number => {
  const reader = openLedgerReader(path.join(home, 'collector', 'ledger.db'))
  try {
    return reader.calls({ ...ANY_RECORD, limit: 100_000 }).filter(({ outcome }) => outcome === 'completed')
      .length
  } finally {
    reader.close()
  }
}

async function until(what: string, isTrue: () => boolean, deadlineMs = 10_000): Promise<void> {
  const end = performance.now() + deadlineMs
  while (!isTrue()) {
    if (performance.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function mesh(): Promise<{ home: string; member: OpenMember }> {
  const home = scratchHome()
  const owner = { home, kind: 'agent', name: 'planner' } as const
  await enrolMember(hierarchy, { home, kind: 'collector', name: 'main' })
  await enrolMember(hierarchy, owner)
  const member = openEnrolled(owner, { clock: systemClock, log: memoryLog() })
  cleanups.push(() => member[Symbol.dispose]())
  return { home, member }
}

test('what is recorded is with the collector within a moment, byte for byte', async () => {
  const { home, member } = await mesh()
  const { recorder, ledger, metrics } = startAuditing(member)
  const collector = await startCollector(home)
  show(
    member.world,
    viewOf(hierarchy, { endpoints: [collectorAt(hierarchy, '127.0.0.1', collector.address.port)] }),
  )
  await record(recorder, 5)
  await until('5 calls there', () => callsAt(home) === 5)
  await until('nothing unshipped', () => metrics.text().includes('troth_audit_unshipped_records 0\n'))
  const reader = openLedgerReader(path.join(home, 'collector', 'ledger.db'))
  const own = openLedgerReader(path.join(member.dir, 'ledger.db'))
  expect(reader.calls(ANY_RECORD)).toEqual(own.calls(ANY_RECORD))
  expect([...reader.end()]).toEqual([[ledger.ledgerId, ledger.nextSeq(ledger.ledgerId)]])
  reader.close()
  own.close()
})

test('a collector that restarts gets what was recorded meanwhile, and nothing twice', async () => {
  const { home, member } = await mesh()
  const { recorder, log } = startAuditing(member)
  const first = await startCollector(home)
  show(
    member.world,
    viewOf(hierarchy, { endpoints: [collectorAt(hierarchy, '127.0.0.1', first.address.port)] }),
  )
  await record(recorder, 600)
  await until('600 calls there', () => callsAt(home) === 600)
  await first.close()
  await record(recorder, 300)
  await log.line('audit.shipping_failed')
  await startCollector(home, first.address.port)
  await until('900 calls there', () => callsAt(home) === 900)
  await log.line('audit.shipping_resumed')
})

test('a sidecar that restarts goes on where the collector is', async () => {
  const { home, member } = await mesh()
  const first = startAuditing(member)
  await record(first.recorder, 20)
  await first.close()
  const collector = await startCollector(home)
  show(
    member.world,
    viewOf(hierarchy, { endpoints: [collectorAt(hierarchy, '127.0.0.1', collector.address.port)] }),
  )
  const second = startAuditing(member)
  await record(second.recorder, 20)
  await until('40 calls there', () => callsAt(home) === 40)
  await second.close()
  const third = startAuditing(member)
  await record(third.recorder, 1)
  await until('41 calls there', () => callsAt(home) === 41)
  const reader = openLedgerReader(path.join(home, 'collector', 'ledger.db'))
  expect(
    reader
      .calls(ANY_RECORD)
      .filter(({ kind }) => kind === 'note')
      .map(({ reason }) => reason),
  ).toEqual(['opened', 'closed', 'opened', 'closed', 'opened'])
  reader.close()
})

test('at its end a sidecar sends what is recorded by then', async () => {
  const { home, member } = await mesh()
  const collector = await startCollector(home)
  show(
    member.world,
    viewOf(hierarchy, { endpoints: [collectorAt(hierarchy, '127.0.0.1', collector.address.port)] }),
  )
  const { recorder, close } = startAuditing(member)
  await record(recorder, 10)
  const last = decidedCall({ at: Date.now() })
  await decide(recorder, last)
  recorder.ended(endedCall(last))
  await decide(recorder, decidedCall({ at: Date.now() }))
  await close()
  expect(callsAt(home)).toBe(11)
  const reader = openLedgerReader(path.join(home, 'collector', 'ledger.db'))
  const rows = reader.calls(ANY_RECORD)
  reader.close()
  expect(rows.at(-2)).toMatchObject({ kind: 'call', outcome: 'unknown' })
  expect(rows.at(-1)).toMatchObject({ kind: 'note', reason: 'closed' })
})

test('a collector that is away does not hold up the end of a sidecar', async () => {
  const { member } = await mesh()
  // A listener that says nothing: worse than nobody there.
  const silent = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => silent.once('listening', resolve))
  cleanups.push(() => silent.close())
  const { port } = silent.address() as { port: number }
  show(member.world, viewOf(hierarchy, { endpoints: [collectorAt(hierarchy, '127.0.0.1', port)] }))
  const { recorder, log, close } = startAuditing(member)
  await record(recorder, 1)
  const startedAt = performance.now()
  await close()
  expect(performance.now() - startedAt).toBeLessThan(4000)
  await log.line('audit.left_for_later')
})

test('a sidecar rotates its certificate while records flow', async () => {
  const { home, member } = await mesh()
  const collector = await startCollector(home)
  show(
    member.world,
    viewOf(hierarchy, { endpoints: [collectorAt(hierarchy, '127.0.0.1', collector.address.port)] }),
  )
  const { recorder } = startAuditing(member)
  await record(recorder, 3)
  await until('3 calls there', () => callsAt(home) === 3)
  const leaf = await issueLeaf(hierarchy, member.credentials.current().svid.id, {
    instanceId: member.credentials.current().svid.instanceId ?? '',
  })
  member.credentials.rotate(identityOf(leaf), member.credentials.instance())
  await record(recorder, 3)
  await until('6 calls there', () => callsAt(home) === 6)
})

test('a server that is not the collector gets nothing', async () => {
  const { home, member } = await mesh()
  const { recorder, log } = startAuditing(member)
  const other = scratchHome()
  // Another member of the same mesh, with a valid certificate, at the collector's place.
  await enrolMember(hierarchy, { home: other, kind: 'collector', name: 'shadow' })
  const shadow = await serveCollector({
    home: other,
    name: parseAgentName('shadow'),
    listen: '127.0.0.1',
    port: 0,
    adminPort: null,
    enrolBy: null,
    dev: true,
    clock: systemClock,
    log: memoryLog(),
    settings: { feedMaxStalenessMs: 600_000 },
  })
  cleanups.push(() => shadow.close())
  show(
    member.world,
    viewOf(hierarchy, { endpoints: [collectorAt(hierarchy, '127.0.0.1', shadow.address.port)] }),
  )
  await record(recorder, 1)
  expect((await log.line('audit.shipping_failed')).fields['code']).toBe('PEER_UNEXPECTED')
  expect(callsAt(other)).toBe(0)
  expect(home).not.toBe(other)
})

test('a collector that is revoked gets nothing more, and its connection is cut', async () => {
  const { home, member } = await mesh()
  const { recorder, log } = startAuditing(member)
  const collector = await startCollector(home)
  const endpoint = collectorAt(hierarchy, '127.0.0.1', collector.address.port)
  show(member.world, viewOf(hierarchy, { endpoints: [endpoint] }))
  await record(recorder, 1)
  await until('1 call there', () => callsAt(home) === 1)
  expect(show(member.world, viewOf(hierarchy, { endpoints: [endpoint], revokedIds: [endpoint.id] }))).toBe(1)
  await record(recorder, 1)
  await until('refused', () => log.lines.some(({ fields }) => fields['code'] === 'PEER_REVOKED'))
  expect(callsAt(home)).toBe(1)
})

test('one home has one collector, and a port that is taken is named', async () => {
  const { home } = await mesh()
  const collector = await startCollector(home)
  await expect(startCollector(home)).rejects.toMatchObject({ code: 'STATE_IN_USE' })
  await collector.close()
  const blocker = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => blocker.once('listening', resolve))
  cleanups.push(() => blocker.close())
  const { port } = blocker.address() as { port: number }
  await expect(startCollector(home, port)).rejects.toMatchObject({ code: 'PORT_BUSY' })
  await (await startCollector(home)).close()
})

test('its admin door answers health, readiness and metrics, and takes nothing but GET', async () => {
  const { home } = await mesh()
  const { adminPort } = await startCollector(home)
  const at = `http://127.0.0.1:${adminPort ?? 0}`
  expect((await fetch(`${at}/healthz`)).status).toBe(200)
  expect((await fetch(`${at}/readyz`)).status).toBe(200)
  expect(await (await fetch(`${at}/metrics`)).text()).toContain('troth_collector_records_total 0')
  expect((await fetch(`${at}/healthz`, { method: 'POST' })).status).toBe(405)
  expect((await fetch(`${at}/metrics`, { headers: { origin: 'http://a.page' } })).status).toBe(403)
})
