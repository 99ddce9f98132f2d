import { expect, it } from 'vitest'
import {
  covers,
  isNamed,
  revocationsOf,
  withRestored,
  withRevoked,
  withRevokedIssuers,
} from '../../../mesh/revocation.js'
import { parseSpiffeId } from '../../../mesh/spiffe-id.js'

const PLANNER = parseSpiffeId('spiffe://acme.internal/agent/planner')
const TICKETS = parseSpiffeId('spiffe://acme.internal/agent/tickets')
const svid = { id: PLANNER, issuer: 'a'.repeat(64), serial: '0f' }
const revoked = { ...svid, expiresAt: 1 }

it('an empty set covers nothing', () => {
  expect(covers(revocationsOf([], []), svid)).toBe(false)
})

it('an identity covers every certificate of it, and no other identity', () => {
  const set = revocationsOf([PLANNER], [])
  expect(covers(set, svid)).toBe(true)
  expect(covers(set, { ...svid, serial: 'ff' })).toBe(true)
  expect(covers(set, { ...svid, id: TICKETS })).toBe(false)
})

it('a serial covers that certificate of that issuer only', () => {
  const set = revocationsOf([], [revoked])
  expect(covers(set, svid)).toBe(true)
  expect(covers(set, { ...svid, serial: 'ff' })).toBe(false)
  expect(covers(set, { ...svid, issuer: 'b'.repeat(64) })).toBe(false)
})

it('adding and restoring give new sets and leave the old ones alone', () => {
  const none = revocationsOf([], [])
  const some = withRevoked(none, [PLANNER], [revoked])
  const restored = withRestored(some, PLANNER)
  expect(covers(none, svid)).toBe(false)
  expect(covers(some, { ...svid, serial: 'ff' })).toBe(true)
  expect(covers(restored, { ...svid, serial: 'ff' })).toBe(false)
})

it('restoring an identity leaves its single certificates withdrawn', () => {
  expect(covers(withRestored(revocationsOf([PLANNER], [revoked]), PLANNER), svid)).toBe(true)
})

it('an issuing CA covers whatever its key signed, under any name and serial, and names nobody', () => {
  const set = withRevokedIssuers(revocationsOf([], []), [svid.issuer])
  expect(covers(set, svid)).toBe(true)
  expect(covers(set, { ...svid, id: TICKETS, serial: 'ff' })).toBe(true)
  expect(covers(set, { ...svid, issuer: 'b'.repeat(64) })).toBe(false)
  expect(isNamed(set, svid)).toBe(false)
})

it('a withdrawn issuing CA stays withdrawn, whatever is withdrawn or restored after it', () => {
  const set = withRevokedIssuers(revocationsOf([], []), [svid.issuer])
  expect(covers(withRestored(withRevoked(set, [PLANNER], []), PLANNER), svid)).toBe(true)
})
