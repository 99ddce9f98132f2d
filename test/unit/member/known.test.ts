// What a member returns to a restored CA fits the bounds of the feed, whatever it knows, and says nothing that the CA said itself.

import { expect, it } from 'vitest'
import { knownFrames } from '../../../member/control/known.js'
import { EMPTY_POLICY } from '../../../mesh/policy/model.js'
import { revocationsOf } from '../../../mesh/revocation.js'
import { parseSpiffeId, parseTrustDomain } from '../../../mesh/spiffe-id.js'
import {
  FEED_MEMBER_FRAME_MAX_BYTES,
  KNOWN_FRAMES_MAX,
  type RevokedSerial,
  readFromMember,
  type View,
} from '../../../mesh/wire/feed.js'

const trustDomain = parseTrustDomain('acme.internal')
const idOf = (name: string) => parseSpiffeId(`spiffe://acme.internal/agent/${name}`)
const serialOf = (n: number): RevokedSerial => ({
  issuer: 'a'.repeat(64),
  serial: n.toString(16).padStart(32, '0'),
  id: idOf(`a${n % 100}`),
  expiresAt: 1_900_000_000_000,
})
const viewOf = (changes: Partial<View>): View => ({
  trustDomain,
  bundles: [],
  revokedIds: [],
  revokedSerials: [],
  revokedIssuers: [],
  policy: EMPTY_POLICY,
  callees: [],
  endpoints: [],
  ...changes,
})

it('returns what the view does not say, in frames that the CA takes', () => {
  const ids = Array.from({ length: 700 }, (_, n) => idOf(`gone-${n}`))
  const serials = Array.from({ length: 3000 }, (_, n) => serialOf(n))
  const view = viewOf({ revokedIds: ids.slice(0, 100), revokedSerials: serials.slice(0, 1000) })
  const frames = knownFrames(revocationsOf(ids, serials), view)
  expect(frames.flatMap((frame) => frame.ids)).toEqual(ids.slice(100))
  expect(frames.flatMap((frame) => frame.serials)).toEqual(serials.slice(1000))
  expect(frames.map(({ last }) => last)).toEqual(frames.map((_, index) => index === frames.length - 1))
  for (const frame of frames) {
    const text = JSON.stringify(frame)
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(FEED_MEMBER_FRAME_MAX_BYTES)
    expect(readFromMember(text)).toEqual(frame)
  }
})

it('says so when there is nothing to return', () => {
  expect(knownFrames(revocationsOf([], []), viewOf({}))).toEqual([
    { type: 'known', ids: [], serials: [], last: true },
  ])
})

it('never sends more frames than the CA takes', () => {
  const serials = Array.from({ length: 150_000 }, (_, n) => serialOf(n))
  const frames = knownFrames(revocationsOf([idOf('gone')], serials), viewOf({}))
  expect(frames).toHaveLength(KNOWN_FRAMES_MAX)
  expect(frames[0]?.ids).toEqual([idOf('gone')])
  expect(frames.at(-1)?.last).toBe(true)
})
