import { describe, expect, it } from 'vitest'
import { fits } from '../../../cli/commands/audit.js'
import { nameOf, showCall, showRows } from '../../../cli/ledgers.js'
import type { AuditRow } from '../../../host/audit-row.js'
import type { AuditFilter } from '../../../host/audit-table.js'

const ROW: AuditRow = {
  kind: 'call',
  callId: '01980f2e-7c1a-7d10-a4b2-2f0c6d1e9a55',
  caller: 'spiffe://acme.internal/agent/planner',
  callee: 'spiffe://acme.internal/agent/tickets',
  direction: 'ingress',
  operation: 'GET /tickets/42',
  scope: 'tickets:read',
  decision: 'permit',
  outcome: 'completed',
  reason: 'OK',
  status: 200,
  at: 1000,
  durationUs: 1500,
  bytesIn: 0,
  bytesOut: 12,
  ledgerId: 'b',
  seq: 1,
  author: 'spiffe://acme.internal/agent/tickets',
  rule: null,
  grant: null,
  policyVersion: 1,
  callerKind: 'agent',
  callerInstance: null,
  callerSerial: null,
  calleeInstance: null,
  calleeSerial: null,
  traceparent: null,
  source: null,
  count: null,
  detail: null,
  who: null,
  object: null,
}
const EGRESS: AuditRow = {
  ...ROW,
  direction: 'egress',
  author: 'spiffe://acme.internal/agent/planner',
  ledgerId: 'a',
  at: 999,
  durationUs: 2500,
  scope: null,
}
const ALL: AuditFilter = {
  agent: null,
  suspicious: false,
  sinceAt: null,
  decision: null,
  callId: null,
  limit: 10,
  now: 2000,
}

describe('a call as people read it', () => {
  it('shows the decision of the callee and the duration the caller saw, recorded by both', () => {
    expect(showCall([EGRESS, ROW])).toEqual({
      at: 999,
      caller: 'planner',
      callee: 'tickets',
      operation: 'GET /tickets/42',
      scope: 'tickets:read',
      decision: 'permit',
      outcome: 'completed',
      status: '200',
      duration: '2.5ms',
      sides: 'both',
    })
  })

  it('that the callee denied names the code once', () => {
    const denied = { ...ROW, decision: 'deny', reason: 'POLICY_SCOPE_MISSING', outcome: 'failed' } as const
    expect(showCall([EGRESS, denied])).toMatchObject({
      decision: 'deny POLICY_SCOPE_MISSING',
      outcome: 'failed',
    })
  })

  it('that was cut names the reason', () => {
    expect(showCall([{ ...ROW, outcome: 'cut', reason: 'PEER_REVOKED' }]).outcome).toBe('cut PEER_REVOKED')
  })

  it('says which side alone recorded it, and when that is as it must be', () => {
    expect(showCall([EGRESS]).sides).toBe('caller')
    expect(showCall([ROW]).sides).toBe('callee')
    expect(showCall([{ ...ROW, callerKind: 'foreign' }]).sides).toBe('callee (foreign caller)')
  })

  it('appears once, however many of its halves were found', () => {
    const reader = {
      holds: 'calls' as const,
      calls: () => [],
      record: () => [EGRESS, ROW],
      pairs: () => [],
      end: () => new Map<string, number>(),
      tail: () => ({ rows: [], position: new Map<string, number>() }),
      close: () => undefined,
    }
    expect(showRows([EGRESS, ROW], [reader])).toHaveLength(1)
  })

  it('is not hidden behind another call of the same id, nor told by who was no part of it', () => {
    const search = 'spiffe://acme.internal/agent/search'
    const other = { ...ROW, caller: search }
    const claim = { ...ROW, callee: search }
    const reader = {
      holds: 'calls' as const,
      calls: () => [],
      record: () => [EGRESS, ROW, other],
      pairs: () => [],
      end: () => new Map<string, number>(),
      tail: () => ({ rows: [], position: new Map<string, number>() }),
      close: () => undefined,
    }
    expect(
      showRows([EGRESS, ROW, other, claim], [reader]).map(({ caller, callee, sides }) => [
        caller,
        callee,
        sides,
      ]),
    ).toEqual([
      ['planner', 'tickets', 'both'],
      ['search', 'tickets', 'callee'],
      ['planner', 'search', 'nobody; claimed by tickets'],
    ])
  })

  it('names foreign identities in full', () => {
    expect(nameOf('spiffe://acme.internal/agent/planner')).toBe('planner')
    expect(nameOf('spiffe://other.mesh/ns/x/sa/y')).toBe('spiffe://other.mesh/ns/x/sa/y')
    expect(nameOf(null)).toBe('-')
  })
})

describe('a row that tail saw', () => {
  it('fits by agent, by decision and by suspicion as query has it', () => {
    const { caller } = ROW
    expect(fits(ROW, { ...ALL, agent: 'planner' })).toBe(true)
    expect(fits(ROW, { ...ALL, agent: caller })).toBe(true)
    expect(fits(ROW, { ...ALL, agent: 'ner' })).toBe(false)
    expect(fits(ROW, { ...ALL, decision: 'deny' })).toBe(false)
    expect(fits(ROW, { ...ALL, suspicious: true })).toBe(false)
    expect(fits({ ...ROW, outcome: 'cut' }, { ...ALL, suspicious: true })).toBe(true)
    expect(fits({ ...ROW, outcome: null }, { ...ALL, suspicious: true })).toBe(false)
    expect(fits({ ...ROW, outcome: 'aborted' }, { ...ALL, suspicious: true })).toBe(false)
    // the other party's half: what its author says of somebody else
    expect(fits({ ...ROW, author: caller }, { ...ALL, suspicious: true })).toBe(true)
    expect(fits({ ...ROW, kind: 'refusal' }, { ...ALL, suspicious: true })).toBe(true)
  })
})
