import { describe, expect, it } from 'vitest'
import { READ_AGENT, READ_POLICY_SHOWN, READ_REVOKED } from '../../mesh/wire/admin.js'
import type { FromCa } from '../../mesh/wire/feed.js'
import { manualClock } from '../support/manual-clock.js'
import { answerOf, codeOf, startCa, type TestCa, type TestFeed } from '../support/running-ca.js'

const POLICY = `version: 1
agents:
  - id: agent/planner
    scopes: [tickets:read]
services:
  - id: agent/tickets
    operations:
      - match: { method: GET, path: /tickets/** }
        scope: tickets:read
`

type Snapshot = Extract<FromCa, { type: 'snapshot' }>

async function join(
  ca: TestCa,
  name: string,
): Promise<{ feed: TestFeed; snapshot: Snapshot; instanceId: string }> {
  const member = await ca.enrol(name)
  const feed = await ca.feed(member)
  feed.send({ type: 'hello', position: null, capabilities: [] })
  return { feed, snapshot: await feed.next('snapshot'), instanceId: member.instanceId }
}

async function endpointsOf(ca: TestCa): Promise<(string | null)[]> {
  const { instances } = answerOf(await ca.admin('GET', '/v1/agents/tickets'), READ_AGENT)
  return instances.map(({ endpoint }) => endpoint).filter((endpoint) => endpoint !== null)
}

/** Resolves when the CA has seen so many feeds end. */
async function disconnected(ca: TestCa, times: number): Promise<void> {
  const until = performance.now() + 5000
  while (ca.log.lines.filter(({ event }) => event === 'feed.disconnected').length < times) {
    if (performance.now() > until) throw new Error('the feed did not end')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('the feed of the CA', () => {
  it('gives each member the slice of the policy that it judges by, at once when it is pushed', async () => {
    await using ca = await startCa()
    const planner = await join(ca, 'planner')
    const tickets = await join(ca, 'tickets')
    expect(tickets.snapshot.view.policy.services).toEqual([])
    const pushed = await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    expect(answerOf(pushed, READ_POLICY_SHOWN).version).toBe(1)
    const [toTickets] = (await tickets.feed.next('delta')).changes
    const [toPlanner] = (await planner.feed.next('delta')).changes
    if (toTickets?.kind !== 'policy' || toPlanner?.kind !== 'policy') throw new Error('no policy')
    expect(toTickets.policy.services.map(({ id }) => id)).toEqual(['agent/tickets'])
    expect(toPlanner.policy.services).toEqual([])
    expect(toPlanner.policy.version).toBe(1)
  })

  it('keeps the old policy when a bad one is pushed', async () => {
    await using ca = await startCa()
    await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    expect(codeOf(await ca.admin('PUT', '/v1/policy', { yaml: 'version: 7' }))).toBe('POLICY_MALFORMED')
    expect(answerOf(await ca.admin('GET', '/v1/policy', undefined), READ_POLICY_SHOWN)).toMatchObject({
      version: 1,
      yaml: POLICY,
    })
  })

  it('names the callees that a member holds a grant on, running or not, and follows the policy', async () => {
    await using ca = await startCa()
    await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    const planner = await join(ca, 'planner')
    const stranger = await join(ca, 'stranger')
    expect(planner.snapshot.view.callees).toEqual(['spiffe://acme.internal/agent/tickets'])
    expect(stranger.snapshot.view.callees).toEqual([])
    await ca.admin('PUT', '/v1/policy', { yaml: 'version: 1\nagents: []\nservices: []\n' })
    expect((await planner.feed.next('delta')).changes).toContainEqual({ kind: 'callees', callees: [] })
  })

  it('shows an endpoint to those who hold a grant on it, and the collector to all', async () => {
    await using ca = await startCa()
    await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    const planner = await join(ca, 'planner')
    const stranger = await join(ca, 'stranger')
    const tickets = await join(ca, 'tickets')
    tickets.feed.send({ type: 'advertise', host: null, port: 4100 })
    const seen = await planner.feed.next('delta')
    expect(seen.changes).toEqual([
      {
        kind: 'endpoints',
        endpoints: [
          {
            id: 'spiffe://acme.internal/agent/tickets',
            instanceId: tickets.instanceId,
            host: '127.0.0.1',
            port: 4100,
          },
        ],
      },
    ])
    expect((await stranger.feed.next('delta')).changes).toEqual([])

    const collector = await ca.enrol('main', 'collector')
    const ingest = await ca.feed(collector)
    ingest.send({ type: 'hello', position: null, capabilities: [] })
    await ingest.next('snapshot')
    ingest.send({ type: 'advertise', host: '127.0.0.2', port: 7411 })
    const [change] = (await stranger.feed.next('delta')).changes
    expect(change?.kind === 'endpoints' ? change.endpoints.map(({ id }) => id) : []).toEqual([
      'spiffe://acme.internal/collector/main',
    ])
    tickets.feed.send({ type: 'withdraw' })
    const [left] = (await planner.feed.next('delta').then(() => planner.feed.next('delta'))).changes
    expect(left?.kind === 'endpoints' ? left.endpoints.map(({ id }) => id) : []).toEqual([
      'spiffe://acme.internal/collector/main',
    ])
  })

  it('refuses an address that is neither the source nor set by the operator, and keeps the feed', async () => {
    await using ca = await startCa()
    const { feed } = await join(ca, 'planner')
    feed.send({ type: 'advertise', host: '10.9.9.9', port: 4100 })
    expect((await feed.next('problem')).code).toBe('ENDPOINT_NOT_ALLOWED')
    await ca.admin('POST', '/v1/agents', { name: 'planner', address: '10.9.9.9' })
    feed.send({ type: 'advertise', host: '10.9.9.9', port: 4100 })
    await feed.next('delta')
  })

  it('sends no snapshot to a member that is up to date, and a delta for every later epoch without a gap', async () => {
    await using ca = await startCa()
    const member = await ca.enrol('planner')
    const first = await ca.feed(member)
    first.send({ type: 'hello', position: null, capabilities: [] })
    const { position } = await first.next('snapshot')
    const second = await ca.feed(member)
    second.send({ type: 'hello', position, capabilities: [] })
    await second.next('heartbeat')
    expect(await first.closed).toBe(4409)
    await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    const one = await second.next('delta')
    const two = await second.next('delta')
    expect([one.from, one.position.epoch, two.from]).toEqual([
      position.epoch,
      position.epoch + 1,
      one.position.epoch,
    ])
    second.send({ type: 'resync' })
    expect((await second.next('snapshot')).position).toEqual(two.position)
  })

  it('takes an announcement that follows the hello at once', async () => {
    await using ca = await startCa()
    const feed = await ca.feed(await ca.enrol('planner'))
    feed.send({ type: 'hello', position: null, capabilities: [] })
    feed.send({ type: 'advertise', host: null, port: 4100 })
    const { position } = await feed.next('snapshot')
    expect((await feed.next('delta')).from).toBe(position.epoch)
  })

  it('leaves the old feed of an instance open until the new one has said hello', async () => {
    await using ca = await startCa()
    const member = await ca.enrol('planner')
    const old = await ca.feed(member)
    old.send({ type: 'hello', position: null, capabilities: [] })
    await old.next('snapshot')
    const next = await ca.feed(member)
    await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    await old.next('delta')
    next.send({ type: 'hello', position: null, capabilities: [] })
    await next.next('snapshot')
    expect(await old.closed).toBe(4409)
    await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    await next.next('delta')
  })

  it('withdraws the endpoint of a member that is gone, after a grace in which it may come back', async () => {
    const clock = manualClock()
    await using ca = await startCa({ clock })
    await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    const planner = await join(ca, 'planner')
    const member = await ca.enrol('tickets')
    for (let round = 0; round < 2; round += 1) {
      const feed = await ca.feed(member)
      feed.send({ type: 'hello', position: null, capabilities: [] })
      feed.send({ type: 'advertise', host: null, port: 4100 })
      await feed.next('snapshot')
      if (round === 0) await planner.feed.next('delta')
      feed.close()
      await feed.closed
      await disconnected(ca, round + 1)
      clock.advance(round === 0 ? 7000 : 14_000)
    }
    expect((await endpointsOf(ca)).length).toBe(1)
    clock.advance(2000)
    const [change] = (await planner.feed.next('delta')).changes
    expect(change).toEqual({ kind: 'endpoints', endpoints: [] })
    expect(await endpointsOf(ca)).toEqual([])
  })

  it('keeps endpoints over a restart of the CA', async () => {
    await using ca = await startCa()
    await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
    const tickets = await join(ca, 'tickets')
    tickets.feed.send({ type: 'advertise', host: null, port: 4100 })
    await tickets.feed.next('delta')
    await ca.restart()
    const planner = await join(ca, 'planner')
    expect(planner.snapshot.view.endpoints.map(({ port }) => port)).toEqual([4100])
  })
})

describe('a revocation', () => {
  it('reaches all, counts who applied it, and closes the feed of the revoked', async () => {
    await using ca = await startCa()
    const tickets = await join(ca, 'tickets')
    const planner = await join(ca, 'planner')
    const pending = ca.admin('POST', '/v1/revocations', { name: 'planner', waitMs: 5000 })
    const delta = await tickets.feed.next('delta')
    const [change] = delta.changes
    expect(change).toMatchObject({ kind: 'revoke', ids: ['spiffe://acme.internal/agent/planner'] })
    tickets.feed.send({ type: 'ack', position: delta.position, cut: 3 })
    const revoked = answerOf(await pending, READ_REVOKED)
    expect(revoked).toMatchObject({
      applied: 1,
      expected: 1,
      cut: 3,
      missing: [],
      epoch: delta.position.epoch,
    })
    expect((await planner.feed.next('delta')).changes).toHaveLength(1)
    expect(await planner.feed.closed).toBe(4403)
  })

  it('names the instances that did not answer, and until when they are exposed', async () => {
    await using ca = await startCa()
    const absent = await ca.enrol('tickets')
    const planner = await ca.enrol('planner')
    const reply = await ca.admin('POST', '/v1/revocations', { name: 'planner', waitMs: 50 })
    const revoked = answerOf(reply, READ_REVOKED)
    expect([revoked.applied, revoked.expected]).toEqual([0, 1])
    expect(revoked.missing).toEqual([
      {
        id: 'spiffe://acme.internal/agent/tickets',
        instanceId: absent.instanceId,
        exposedUntil: Math.min(Date.parse(absent.leaf.validTo), Date.parse(planner.leaf.validTo)),
      },
    ])
  })

  it('counts a member that comes back up to date while the operator waits', async () => {
    await using ca = await startCa()
    const tickets = await ca.enrol('tickets')
    await ca.enrol('planner')
    const pending = ca.admin('POST', '/v1/revocations', { name: 'planner', waitMs: 5000 })
    await ca.log.line('revoked')
    const feed = await ca.feed(tickets)
    feed.send({ type: 'hello', position: null, capabilities: [] })
    const { position, view } = await feed.next('snapshot')
    expect(view.revokedIds).toEqual(['spiffe://acme.internal/agent/planner'])
    feed.send({ type: 'ack', position, cut: 0 })
    expect(answerOf(await pending, READ_REVOKED).applied).toBe(1)
  })
})
