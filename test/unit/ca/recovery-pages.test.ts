import { describe, expect, it } from 'vitest'
import { pageOf, type RecoveryPage } from '../../../ca/recovery/pages.js'
import type { Claim, RecoveryState } from '../../../ca/store/model.js'
import { namedId, parseAgentName, parseTrustDomain, type SpiffeId } from '../../../mesh/spiffe-id.js'

const idOf = (name: string): SpiffeId =>
  namedId(parseTrustDomain('acme.internal'), 'agent', parseAgentName(name))
const padded = (index: number): string => String(index).padStart(6, '0')
const claimOf = (index: number, by: readonly SpiffeId[] = [idOf('teller')]): Claim => ({
  object: `issuer:${padded(index)}`,
  id: idOf('planner'),
  serial: padded(index),
  by,
  inForce: false,
})
const waits = (index: number): RecoveryState['awaited'][number] => ({
  id: idOf(`agent-${padded(index)}`),
  instanceId: `instance-${index}`,
  returnedAt: null,
  isRevoked: false,
})
const stateOf = (awaited: RecoveryState['awaited'], claims: readonly Claim[]): RecoveryState => {
  const instants = { takenAt: 1, restoredAt: 2, endedAt: null, endedBy: null }
  return { ...instants, awaited, claims }
}
const many = <T>(count: number, of: (index: number) => T): T[] =>
  Array.from({ length: count }, (_none, index) => of(index))

function pagesOf(state: RecoveryState): RecoveryPage[] {
  const pages = [pageOf(state, '')]
  for (let next = pages[0]?.next ?? null; next !== null; next = pages.at(-1)?.next ?? null)
    pages.push(pageOf(state, next))
  return pages
}

describe('the pages of a recovery', () => {
  it('hold each row once and in order, however many there are', () => {
    const state = stateOf(many(12_000, waits), many(12_000, claimOf))
    const pages = pagesOf(state)
    expect(pages.length).toBeGreaterThan(5)
    expect(pages.flatMap(({ missing }) => missing.map(({ instanceId }) => instanceId))).toEqual(
      state.awaited.map(({ instanceId }) => instanceId),
    )
    expect(pages.flatMap(({ claims }) => claims)).toEqual(state.claims)
    for (const { missing, claims } of pages) expect(missing.length + claims.length).toBeLessThanOrEqual(5000)
  })

  it('are few rows when each is made by many, and never divide one', () => {
    const tellers = many(6000, (index) => idOf(`t-${index}`))
    const pages = pagesOf(
      stateOf(
        [],
        many(3, (index) => claimOf(index, tellers)),
      ),
    )
    expect(pages.map(({ claims }) => claims.map(({ serial, by }) => [serial, by.length]))).toEqual([
      [['000000', 6000]],
      [['000001', 6000]],
      [['000002', 6000]],
    ])
  })

  it('miss nothing of what was there all the time when rows come and go between them', () => {
    const first = pageOf(stateOf(many(6000, waits), many(10, claimOf)), '')
    expect(first.missing).toHaveLength(5000)
    // whoever was on the first page has told meanwhile, and something new is claimed
    const later = stateOf(many(6000, waits).slice(4000), many(11, claimOf))
    const second = pageOf(later, first.next ?? '')
    expect(second.missing).toHaveLength(1000)
    expect(second.claims).toHaveLength(11)
    expect(second.next).toBeNull()
  })

  it('leave out those that have told or are revoked', () => {
    const awaited = [{ ...waits(0), returnedAt: 5 }, { ...waits(1), isRevoked: true }, waits(2)]
    expect(pageOf(stateOf(awaited, []), '').missing.map(({ instanceId }) => instanceId)).toEqual([
      'instance-2',
    ])
  })
})
