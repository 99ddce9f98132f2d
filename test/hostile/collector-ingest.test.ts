// What reaches the collector's door from members that lie, are not members, or no longer are: real TLS, real wrong certificates.

import { randomUUID } from 'node:crypto'
import https from 'node:https'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { LOCAL_ADMIN } from '../../ca/actor.js'
import { actionOf } from '../../ca/store/audit.js'
import { type Hierarchy, issueLeaf, type Leaf, makeHierarchy } from '../../certs-dev/hierarchy.js'
import { makeWrongLeaves, type WrongLeaf } from '../../certs-dev/wrong-leaves.js'
import { openDoor } from '../../collector/door.js'
import { ingestRoutes } from '../../collector/ingest.js'
import { openStore, type Store } from '../../collector/store.js'
import { encodeStrictly } from '../../host/audit-encode.js'
import { closeServer, listen, serveRoutes } from '../../host/http-server.js'
import { openMetrics } from '../../host/metrics.js'
import { TLS_FLOOR } from '../../host/tls.js'
import { encodeRecord } from '../../mesh/audit-record.js'
import { parseSvid } from '../../mesh/svid.js'
import { SHIP_MAX_BYTES, SHIP_MAX_LINE_BYTES, SHIP_MAX_RECORDS } from '../../mesh/wire/audit.js'
import { decidedCall, scratchDir } from '../support/audit-records.js'
import {
  enrolMember,
  identityOf,
  type OpenMember,
  openEnrolled,
  show,
  viewOf,
} from '../support/enrolled-member.js'
import { type ManualClock, manualClock } from '../support/manual-clock.js'
import { type MemoryLog, memoryLog } from '../support/memory-log.js'

const PLANNER = 'spiffe://acme.internal/agent/planner'

let hierarchy: Hierarchy
let planner: Leaf
let wrong: readonly WrongLeaf[]

beforeAll(async () => {
  hierarchy = await makeHierarchy({ trustDomain: 'acme.internal', dev: true })
  planner = await issueLeaf(hierarchy, PLANNER)
  wrong = await makeWrongLeaves(hierarchy, 'planner')
})

interface Standing {
  readonly port: number
  readonly member: OpenMember
  readonly clock: ManualClock
  readonly log: MemoryLog
  readonly store: Store
  close(): Promise<void>
}
let collector: Standing

beforeEach(async () => {
  const scratch = scratchDir()
  const owner = { home: scratch.dir, kind: 'collector', name: 'main' } as const
  await enrolMember(hierarchy, owner)
  const clock = manualClock()
  const log = memoryLog()
  const metrics = openMetrics()
  const member = openEnrolled(owner, { clock, log })
  show(member.world, viewOf(hierarchy))
  const store = openStore(`${member.dir}/ledger.db`)
  const door = openDoor({ ...member, clock, log, metrics })
  const routes = ingestRoutes({ store, authorOf: ({ raw }) => door.authorOf(raw), clock, log, metrics })
  door.server.on('request', serveRoutes(routes, log))
  const port = await listen(door.server, { host: '127.0.0.1', port: 0, flag: '--collector-port' })
  collector = {
    port,
    member,
    clock,
    log,
    store,
    async close() {
      await closeServer(door.server, 0)
      await store.close()
      member[Symbol.dispose]()
      scratch[Symbol.dispose]()
    },
  }
})
afterEach(() => collector.close())

/** Where the agent has the check, and not each request, Node 24.21 keeps connections. */
const openAgent = (options: https.AgentOptions = {}): https.Agent =>
  new https.Agent({ ...options, checkServerIdentity: () => undefined })

interface Answered {
  readonly status: number
  readonly code: string | undefined
  readonly nextSeq: number | undefined
}

function send(
  leaf: Pick<Leaf, 'keyPem' | 'chainPem'> | null,
  path: string,
  payload: Buffer | undefined,
  agent?: https.Agent,
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const request = https.request({
      ...TLS_FLOOR,
      host: '127.0.0.1',
      port: collector.port,
      path,
      method: payload === undefined ? 'GET' : 'POST',
      ca: hierarchy.rootPem,
      ...(leaf === null ? {} : { key: leaf.keyPem, cert: leaf.chainPem }),
      agent: agent ?? openAgent(),
      timeout: 5000,
      headers: payload === undefined ? {} : { 'content-length': payload.length },
    })
    request.on('error', reject)
    request.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const answer = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>
        resolve({
          status: response.statusCode ?? 0,
          code: answer['code'] as string | undefined,
          nextSeq: answer['nextSeq'] as number | undefined,
        })
      })
    })
    request.end(payload)
  })
}

const wire = (record = encodeRecord({ kind: 'decided', ...decidedCall() })): Buffer => record
const some = (count: number): Buffer[] => Array.from({ length: count }, () => wire())
interface Sent {
  readonly firstSeq: number | string
  readonly records: readonly Buffer[]
  readonly encoding?: number | string
}
const post = (
  ledgerId: string,
  { firstSeq, records, encoding = 1 }: Sent,
  leaf: Pick<Leaf, 'keyPem' | 'chainPem'> | null = planner,
) =>
  send(
    leaf,
    `/v1/ledgers/${ledgerId}/records?firstSeq=${firstSeq}&encoding=${encoding}`,
    Buffer.concat(records.flatMap((record, at) => (at === 0 ? [record] : [Buffer.from('\n'), record]))),
  )

describe('a sender that lies', () => {
  test('a ledger that another agent began is not taken from this one, nor is its length told', async () => {
    const ledgerId = randomUUID()
    const search = await issueLeaf(hierarchy, 'spiffe://acme.internal/agent/search')
    expect(await post(ledgerId, { firstSeq: 0, records: some(2) })).toMatchObject({ status: 200, nextSeq: 2 })
    expect(await post(ledgerId, { firstSeq: 2, records: some(1) }, search)).toMatchObject({
      status: 403,
      code: 'AUDIT_FOREIGN',
    })
    expect(await send(search, `/v1/ledgers/${ledgerId}`, undefined)).toMatchObject({ code: 'AUDIT_FOREIGN' })
    expect(await send(planner, `/v1/ledgers/${ledgerId}`, undefined)).toMatchObject({ nextSeq: 2 })
  })

  test('another instance of the same agent is the same author', async () => {
    const ledgerId = randomUUID()
    await post(ledgerId, { firstSeq: 0, records: some(1) })
    const renewed = await issueLeaf(hierarchy, PLANNER)
    expect(await post(ledgerId, { firstSeq: 1, records: some(1) }, renewed)).toMatchObject({ nextSeq: 2 })
  })

  test('a gap, a rewritten record and a replay', async () => {
    const ledgerId = randomUUID()
    const records = some(3)
    await post(ledgerId, { firstSeq: 0, records })
    expect(await post(ledgerId, { firstSeq: 4, records: some(1) })).toMatchObject({
      status: 409,
      code: 'AUDIT_SEQUENCE',
    })
    expect(await post(ledgerId, { firstSeq: 1, records: some(1) })).toMatchObject({ code: 'AUDIT_SEQUENCE' })
    expect(await post(ledgerId, { firstSeq: 0, records })).toMatchObject({ status: 200, nextSeq: 3 })
  })

  test.each([
    [
      'cut bytes',
      () => ({
        firstSeq: 0,
        records: [wire(encodeRecord({ kind: 'decided', ...decidedCall() }).subarray(0, 50))],
      }),
      'AUDIT_RECORD_INVALID',
    ],
    ['an unknown encoding', () => ({ firstSeq: 0, records: some(1), encoding: 2 }), 'AUDIT_RECORD_INVALID'],
    ['no encoding', () => ({ firstSeq: 0, records: some(1), encoding: '' }), 'WIRE_MALFORMED'],
    ['two encodings', () => ({ firstSeq: 0, records: some(1), encoding: '1&encoding=1' }), 'WIRE_MALFORMED'],
    [
      'a kind that does not exist',
      () => ({ firstSeq: 0, records: [wire(Buffer.from('{"kind":"confession"}'))] }),
      'AUDIT_RECORD_INVALID',
    ],
    [
      'an action of the CA, which only the CA records',
      () => {
        const done = { at: 1, operation: 'revoke', object: 'x', detail: null, reason: 'OK' }
        return { firstSeq: 0, records: [wire(encodeStrictly(actionOf(LOCAL_ADMIN, done)).bytes)] }
      },
      'AUDIT_RECORD_INVALID',
    ],
    [
      'control characters',
      () => ({
        firstSeq: 0,
        records: [
          wire(
            Buffer.from(JSON.stringify({ kind: 'decided', ...decidedCall({ operation: 'GET /\u001b[2J' }) })),
          ),
        ],
      }),
      'AUDIT_RECORD_INVALID',
    ],
    [
      'a key that stands twice',
      () => {
        const json = encodeRecord({ kind: 'decided', ...decidedCall() }).toString()
        const twice = json.replace('"direction":"egress"', '"direction":"ingress","direction":"egress"')
        return { firstSeq: 0, records: [wire(Buffer.from(twice))] }
      },
      'AUDIT_RECORD_INVALID',
    ],
    [
      'a member that no release knows',
      () => ({
        firstSeq: 0,
        records: [wire(Buffer.from(JSON.stringify({ kind: 'decided', ...decidedCall(), more: 1 })))],
      }),
      'AUDIT_RECORD_INVALID',
    ],
    [
      'invalid UTF-8',
      () => ({ firstSeq: 0, records: [wire(Buffer.from([0x7b, 0xff, 0x7d]))] }),
      'AUDIT_RECORD_INVALID',
    ],
    [
      'an empty line between two records',
      () => ({ firstSeq: 0, records: [wire(), Buffer.alloc(0), wire()] }),
      'AUDIT_RECORD_INVALID',
    ],
    [
      'a line end behind the last record',
      () => ({ firstSeq: 0, records: [wire(), Buffer.alloc(0)] }),
      'AUDIT_RECORD_INVALID',
    ],
    [
      'lines that end as elsewhere',
      () => ({ firstSeq: 0, records: [Buffer.concat([wire(), Buffer.from('\r')]), wire()] }),
      'AUDIT_RECORD_INVALID',
    ],
    [
      'one bad record among good ones',
      () => ({ firstSeq: 0, records: [...some(2), wire(Buffer.from('{}')), ...some(2)] }),
      'AUDIT_RECORD_INVALID',
    ],
    [
      'too many records',
      () => ({ firstSeq: 0, records: Array.from({ length: SHIP_MAX_RECORDS + 1 }, () => Buffer.from('{}')) }),
      'WIRE_MALFORMED',
    ],
    [
      'a record beyond the limit',
      () => ({ firstSeq: 0, records: [Buffer.alloc(SHIP_MAX_LINE_BYTES + 1, ' ')] }),
      'WIRE_MALFORMED',
    ],
    ['no place', () => ({ firstSeq: '', records: some(1) }), 'WIRE_MALFORMED'],
    ['a negative place', () => ({ firstSeq: -1, records: some(1) }), 'WIRE_MALFORMED'],
    [
      'a place beyond counting',
      () => ({ firstSeq: Number.MAX_SAFE_INTEGER, records: some(1) }),
      'WIRE_MALFORMED',
    ],
    ['no JSON', () => ({ firstSeq: 0, records: [Buffer.from('not json')] }), 'AUDIT_RECORD_INVALID'],
    [
      'a body beyond the limit',
      () => ({ firstSeq: 0, records: [Buffer.alloc(SHIP_MAX_BYTES + 1, 'x')] }),
      'WIRE_TOO_LARGE',
    ],
  ])('%s: refused whole', async (_, body, code) => {
    const ledgerId = randomUUID()
    expect(await post(ledgerId, body())).toMatchObject({ code })
    expect(await send(planner, `/v1/ledgers/${ledgerId}`, undefined)).toMatchObject({ nextSeq: 0 })
  })

  test.each([
    ['a number spelled otherwise', '"at":1790000000000', '"at":179e10'],
    ['a number with a sign', '"policyVersion":3', '"policyVersion":-3'],
    ['a letter spelled as an escape', 'tickets:read', 'tickets:rea\\u0064'],
    ['a space between members', ',"callId"', ', "callId"'],
    ['a text beyond its limit', '"reason":"OK"', `"reason":"${'O'.repeat(65)}"`],
    ['members in another order', '"rule":"policy.yaml:14","grant":"policy.yaml:3"', '"grant":"a","rule":"b"'],
  ])('%s: refused', async (_, part, other) => {
    const good = encodeRecord({ kind: 'decided', ...decidedCall() }).toString()
    const bad = Buffer.from(good.replace(part, other))
    expect(bad.toString()).not.toBe(good)
    expect(await post(randomUUID(), { firstSeq: 0, records: [wire(), bad] })).toMatchObject({
      code: 'AUDIT_RECORD_INVALID',
    })
  })

  test('a record is taken whether it is plain ASCII or not', async () => {
    const ledgerId = randomUUID()
    const foreign = encodeRecord({ kind: 'decided', ...decidedCall({ operation: 'GET /\u00fc"' }) })
    expect(await post(ledgerId, { firstSeq: 0, records: [wire(), foreign, wire()] })).toMatchObject({
      status: 200,
      nextSeq: 3,
    })
  })

  test.each([
    ['/v1/ledgers/not-a-uuid', 'WIRE_MALFORMED'],
    ['/v1/ledgers/..%2f..%2fetc', 'NOT_FOUND'],
    ['/v1/ledgers', 'NOT_FOUND'],
  ])('%s is no ledger', async (path, code) => {
    expect(await send(planner, path, undefined)).toMatchObject({ code })
  })
})

describe('a sender that is none', () => {
  test('without a certificate TLS ends it', async () => {
    await expect(post(randomUUID(), { firstSeq: 0, records: some(1) }, null)).rejects.toThrow()
  })

  test('a member of another kind is told so', async () => {
    for (const kind of ['collector', 'operator'] as const) {
      const leaf = await issueLeaf(hierarchy, `spiffe://acme.internal/${kind}/main`)
      expect(await post(randomUUID(), { firstSeq: 0, records: some(1) }, leaf)).toMatchObject({
        status: 403,
        code: 'PEER_KIND_WRONG',
      })
    }
  })

  test('every wrong leaf is refused, by TLS or by the judge, and nothing is stored', async () => {
    expect(wrong.length).toBeGreaterThan(8)
    const answered: string[] = []
    for (const { name, code, leaf } of wrong) {
      const answer = await post(randomUUID(), { firstSeq: 0, records: some(1) }, leaf).catch(
        (error: unknown) => error,
      )
      // What Node's own verification refuses never reaches the judge.
      if (answer instanceof Error) continue
      expect(answer, name).toMatchObject({ code })
      answered.push(name)
    }
    expect(answered.length).toBeGreaterThan(0)
    expect((await collector.store.counts()).ledgers).toBe(0)
  })
})

describe('a sender that no longer is welcome', () => {
  const open = async (agent: https.Agent): Promise<TLSSocket> => {
    const opened = new Promise<TLSSocket>((resolve) => agent.once('free', resolve))
    expect(await send(planner, `/v1/ledgers/${randomUUID()}`, undefined, agent)).toMatchObject({
      status: 200,
    })
    return opened
  }

  test('its open connection is cut by a revocation, and counted', async () => {
    const agent = openAgent({ keepAlive: true, maxSockets: 1 })
    const socket = await open(agent)
    const closed = new Promise((resolve) => socket.once('close', resolve))
    const { issuer, serial, id } = parseSvid(planner.certificate, planner.issuing)
    const revokedSerials = [{ issuer, serial, id, expiresAt: Date.now() + 3_600_000 }]
    expect(show(collector.member.world, viewOf(hierarchy, { revokedSerials }))).toBe(1)
    await closed
    expect(await post(randomUUID(), { firstSeq: 0, records: some(1) })).toMatchObject({
      code: 'PEER_REVOKED',
    })
    agent.destroy()
  })

  test('on an open connection its certificate expires', async () => {
    const agent = openAgent({ keepAlive: true, maxSockets: 1 })
    await open(agent)
    collector.clock.setWall(parseSvid(planner.certificate, planner.issuing).notAfter + 1000)
    expect(await send(planner, `/v1/ledgers/${randomUUID()}`, undefined, agent)).toMatchObject({
      code: 'PEER_EXPIRED',
    })
    agent.destroy()
  })
})

test('the collector shows its next certificate as soon as it has rotated', async () => {
  const { credentials } = collector.member
  const serialShown = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const agent = openAgent({ keepAlive: true })
      agent.once('free', (socket: TLSSocket) => {
        resolve(socket.getPeerX509Certificate()?.serialNumber.toLowerCase() ?? '')
        agent.destroy()
      })
      send(planner, `/v1/ledgers/${randomUUID()}`, undefined, agent).catch(reject)
    })
  expect(await serialShown()).toBe(credentials.current().svid.serial)
  const next = await issueLeaf(hierarchy, 'spiffe://acme.internal/collector/main')
  credentials.rotate(identityOf(next), credentials.instance())
  expect(await serialShown()).toBe(next.certificate.serialNumber.toLowerCase())
})

test('shipments of one agent at once are bounded, and come through in turn', async () => {
  const answers = await Promise.all(
    Array.from({ length: 12 }, () => post(randomUUID(), { firstSeq: 0, records: some(100) })),
  )
  expect(answers.every(({ status, code }) => status === 200 || code === 'COLLECTOR_BUSY')).toBe(true)
  expect(answers.some(({ status }) => status === 200)).toBe(true)
  expect(await post(randomUUID(), { firstSeq: 0, records: some(1) })).toMatchObject({ status: 200 })
})
