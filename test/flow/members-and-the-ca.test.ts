// The two ends of enrolment, renewal and feed, that were built apart, together: real members with the real CA over real TLS.

import { afterEach, beforeEach, expect, it } from 'vitest'
import { parseAgentName, parseSpiffeId } from '../../mesh/spiffe-id.js'
import { READ_REVOKED, READ_TOKEN_MINTED } from '../../mesh/wire/admin.js'
import { manualClock } from '../support/manual-clock.js'
import {
  codeOf as failureOf,
  makeTestHome,
  type TestHome,
  type TestMember,
  until,
} from '../support/open-test-member.js'
import { answerOf, startCa, type TestCa } from '../support/running-ca.js'

let ca: TestCa
let at: TestHome

beforeEach(async () => {
  ca = await startCa()
  at = makeTestHome()
})
afterEach(async () => {
  await at[Symbol.asyncDispose]()
  await ca[Symbol.asyncDispose]()
})

const mint = async (name: string): Promise<{ enrolBy: { token: string } }> => {
  const reply = await ca.admin('POST', '/v1/tokens', { kind: 'agent', name })
  return { enrolBy: { token: answerOf(reply, READ_TOKEN_MINTED).token } }
}
const revoke = async (body: Record<string, unknown>) =>
  answerOf(await ca.admin('POST', '/v1/revocations', { waitMs: 5000, ...body }), READ_REVOKED)
const connected = (member: TestMember): Promise<void> => until('connected', () => member.feed.connected)

it('a member enrols by token, and the feed gives it its first world', async () => {
  const member = await at.open(await mint('planner'))
  await connected(member)
  expect(member.id).toBe('spiffe://acme.internal/agent/planner')
  expect(member.world.current().position).not.toBeNull()
  expect(member.world.isStale()).toBe(false)
})

it('a token serves once', async () => {
  const spent = await mint('planner')
  await at.open(spent)
  await using other = makeTestHome()
  expect(await failureOf(other.open(spent))).toBe('JOIN_TOKEN_SPENT')
})

it('a registered member enrols over the admin socket', async () => {
  await ca.admin('POST', '/v1/agents', { kind: 'agent', name: 'planner' })
  const member = await at.open({ enrolBy: { adminSocket: ca.running.adminSocket } })
  await connected(member)
})

it('renewal gives a new leaf of the same instance, and the feed follows it', async () => {
  const clock = manualClock()
  const member = await at.open({ ...(await mint('planner')), clock })
  await connected(member)
  const before = member.credentials.current().svid
  clock.setWall(clock.now() + 15 * 3_600_000)
  clock.advance(30_000)
  await until('renewed', () => member.credentials.current().svid.serial !== before.serial)
  const after = member.credentials.current().svid
  expect(after.instanceId).toBe(before.instanceId)
  await until('the feed follows', () =>
    member.log.lines.some(
      ({ event, fields }) => event === 'feed.connected' && fields['serial'] === after.serial,
    ),
  )
  expect(member.feed.connected).toBe(true)
})

it('a revocation is acknowledged by every member, with the connections that it cut', async () => {
  const planner = await at.open(await mint('planner'))
  await using second = makeTestHome()
  const tickets = await second.open({ ...(await mint('tickets')), name: parseAgentName('tickets') })
  await connected(planner)
  await connected(tickets)
  tickets.world.onChange(() => 2)
  await using third = makeTestHome()
  await third.open({ ...(await mint('search')), name: parseAgentName('search') })
  const revoked = await revoke({ name: 'search' })
  expect(revoked.missing.filter(({ id }) => !id.endsWith('/search'))).toEqual([])
  expect(revoked.cut).toBeGreaterThanOrEqual(2)
  expect([...planner.world.current().revocations.ids]).toEqual(['spiffe://acme.internal/agent/search'])
})

it('a revoked member knows it, cannot start again, and enrols anew after it was restored', async () => {
  const member = await at.open(await mint('planner'))
  await connected(member)
  await revoke({ name: 'planner' })
  await until('self-revoked', () => member.world.selfRevoked)
  await member.stop()
  expect(await failureOf(at.open())).toBe('SELF_REVOKED')
  await ca.admin('POST', '/v1/agents/planner/restore')
  const again = await at.open(await mint('planner'))
  await connected(again)
  expect(again.world.selfRevoked).toBe(false)
  expect(again.instanceId).not.toBe(member.instanceId)
})

it('a member goes on while the CA is away, and comes back to it', async () => {
  const member = await at.open(await mint('planner'))
  await connected(member)
  await ca.restart()
  await until(
    'connected again',
    () => member.log.lines.filter(({ event }) => event === 'feed.connected').length >= 2,
  )
})

it('an endpoint that one member announces reaches those who may call it, and goes when it is withdrawn', async () => {
  const policy = [
    'version: 1',
    'agents: [{id: agent/planner, scopes: [tickets:read]}]',
    'services: [{id: agent/tickets, operations: [{match: {method: GET, path: /tickets/**}, scope: tickets:read}]}]',
  ].join('\n')
  const planner = await at.open(await mint('planner'))
  await using second = makeTestHome()
  const tickets = await second.open({ ...(await mint('tickets')), name: parseAgentName('tickets') })
  await ca.admin('PUT', '/v1/policy', { yaml: `${policy}\n` })
  await connected(planner)
  await connected(tickets)
  const id = parseSpiffeId('spiffe://acme.internal/agent/tickets')
  tickets.feed.advertise({ host: null, port: 4711 })
  await until('the endpoint arrives', () => planner.world.current().endpoints.has(id))
  expect(planner.world.current().endpoints.get(id)).toMatchObject([{ port: 4711, host: '127.0.0.1' }])
  await tickets.feed.withdraw()
  await until('the endpoint goes', () => !planner.world.current().endpoints.has(id))
})
