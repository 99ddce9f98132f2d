import { describe, expect, it } from 'vitest'
import { isMeshError } from '../../../../mesh/errors.js'
import { CallIds, parseCallId, timeOfCallId } from '../../../../sidecar/call/call-id.js'
import { ReplayGuard } from '../../../../sidecar/call/replay.js'
import { traceOf } from '../../../../sidecar/call/trace.js'
import {
  formatClaim,
  formatReply,
  isPlainReply,
  parseClaim,
  parseReply,
} from '../../../../sidecar/call/troth-call.js'

const NOW = 1_800_000_000_000

const ids = new CallIds()

const codeOf = (act: () => unknown): string => {
  try {
    act()
    return 'accepted'
  } catch (error) {
    return isMeshError(error) ? error.code : String(error)
  }
}

describe('call ids', () => {
  it('are UUIDv7 that carry their time, and never the same', () => {
    const made = Array.from({ length: 1000 }, (_, nth) => ids.next(NOW + (nth % 3)))
    expect(new Set(made).size).toBe(1000)
    for (const [nth, id] of made.entries()) {
      expect(parseCallId(id)).toBe(id)
      expect(timeOfCallId(id)).toBe(NOW + (nth % 3))
    }
  })

  it('of another kind or case are refused', () => {
    const id = ids.next(NOW)
    for (const text of ['', id.toUpperCase(), id.slice(1), `${id} `, '018f4f2a-0000-4000-8000-000000000000'])
      expect(codeOf(() => parseCallId(text))).toBe('CALL_ID_INVALID')
  })
})

describe('troth-call', () => {
  it('reads what it writes', () => {
    const claim = { id: ids.next(NOW), sentAt: NOW }
    expect(parseClaim(['troth-call', formatClaim(claim)])).toEqual(claim)
    const reply = { id: claim.id, denied: 'POLICY_SCOPE_MISSING' } as const
    expect(parseReply(['troth-call', formatReply(reply)])).toEqual(reply)
    expect(parseReply(['troth-call', formatReply({ id: null, denied: null })])).toEqual({
      id: null,
      denied: null,
    })
  })

  it('is undefined when absent, and ignores members it does not know', () => {
    expect(parseClaim(['host', 'a'])).toBeUndefined()
    const claim = { id: ids.next(NOW), sentAt: 1 }
    expect(parseClaim(['troth-call', `${formatClaim(claim)}; later=1`])).toEqual(claim)
    expect(parseReply(['troth-call', 'v=1; denied=NO_SUCH_CODE'])).toEqual({ id: null, denied: 'INTERNAL' })
  })

  it('tells the answer to a call that was not denied from every other one', () => {
    const [id, other] = [ids.next(NOW), ids.next(NOW)]
    const plain = ['a', 'b', 'troth-call', `v=1; id=${id}`]
    expect(isPlainReply(plain, id)).toBe(true)
    for (const fields of [
      [],
      [...plain, 'troth-call', `v=1; id=${id}`],
      ['troth-call', `v=1; id=${other}`],
      ['troth-call', `v=2; id=${id}`],
      ['troth-call', `v=1; id=${id} `],
      ['troth-call', formatReply({ id, denied: 'POLICY_SCOPE_MISSING' })],
    ])
      expect(isPlainReply(fields, id)).toBe(false)
  })

  it('refuses other versions, repetition and anything malformed', () => {
    const good = formatClaim({ id: ids.next(NOW), sentAt: 1 })
    for (const value of [
      '',
      'v=2',
      good.replace('v=1', 'v=2'),
      `${good}; id=x`,
      `${good};;`,
      `${good}; a=${'b'.repeat(300)}`,
    ])
      expect([value, codeOf(() => parseClaim(['troth-call', value]))]).toEqual([value, 'CALL_ID_INVALID'])
    expect(codeOf(() => parseClaim(['troth-call', good, 'troth-call', good]))).toBe('CALL_ID_INVALID')
  })
})

describe('the replay guard', () => {
  it('takes an id once from each caller', () => {
    const guard = new ReplayGuard({ idsPerCaller: 10, callers: 10, ids: 1000 }, 12_345)
    const id = ids.next(NOW)
    guard.use('a', id, NOW)
    guard.use('b', id, NOW)
    expect(codeOf(() => guard.use('a', id, NOW))).toBe('CALL_ID_INVALID')
  })

  it('never takes again what it has forgotten', () => {
    const guard = new ReplayGuard({ idsPerCaller: 4, callers: 10, ids: 1000 }, 12_345)
    const used = Array.from({ length: 100 }, (_, nth) => ids.next(NOW + nth))
    for (const id of used) guard.use('a', id, NOW)
    for (const id of used) expect(codeOf(() => guard.use('a', id, NOW))).toBe('CALL_ID_INVALID')
    guard.use('a', ids.next(NOW + 100), NOW)
  })

  it('does not open a way back for a caller that was pushed out', () => {
    const guard = new ReplayGuard({ idsPerCaller: 4, callers: 2, ids: 1000 }, 12_345)
    const id = ids.next(NOW)
    guard.use('a', id, NOW)
    guard.use('b', ids.next(NOW + 1), NOW)
    guard.use('c', ids.next(NOW + 2), NOW)
    expect(codeOf(() => guard.use('a', id, NOW))).toBe('CALL_ID_INVALID')
    guard.use('a', ids.next(NOW + 3), NOW)
  })

  it('forgets the oldest ids of the quietest callers when all have too many, and takes none of them again', () => {
    const guard = new ReplayGuard({ idsPerCaller: 50, callers: 100, ids: 200 }, 12_345)
    const used = Array.from({ length: 1000 }, (_, nth) => ids.next(NOW + nth))
    for (const [nth, id] of used.entries()) guard.use(`caller ${nth % 20}`, id, NOW)
    for (const [nth, id] of used.entries())
      expect(codeOf(() => guard.use(`caller ${nth % 20}`, id, NOW))).toBe('CALL_ID_INVALID')
    guard.use('caller 1', ids.next(NOW + 1000), NOW)
  })

  it('refuses ids from far ahead, which would shut others out', () => {
    const guard = new ReplayGuard({ idsPerCaller: 4, callers: 2, ids: 1000 }, 12_345)
    expect(codeOf(() => guard.use('a', ids.next(NOW + 3_600_000), NOW))).toBe('CALL_ID_INVALID')
  })
})

describe('traceOf', () => {
  it('names a new trace by its call, and no two parents alike', () => {
    const id = ids.next(NOW)
    const parents = Array.from({ length: 1000 }, () => ids.traceparent(id))
    expect(new Set(parents).size).toBe(1000)
    for (const made of parents) expect(made.slice(3, 35)).toBe(id.replaceAll('-', ''))
  })

  const valid = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`

  it('keeps one valid traceparent, of a later version too', () => {
    expect(traceOf(['traceparent', valid], ids, ids.next(NOW))).toEqual({
      traceparent: valid,
      received: true,
    })
    const later = `${valid.replace('00-', '01-')}-more`
    expect(traceOf(['traceparent', later], ids, ids.next(NOW))).toEqual({
      traceparent: later,
      received: true,
    })
  })

  it.each([
    ['two', ['traceparent', valid, 'traceparent', valid]],
    ['none', []],
    ['version ff', ['traceparent', valid.replace('00-', 'ff-')]],
    ['a zero trace id', ['traceparent', `00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`]],
    ['a zero parent id', ['traceparent', `00-${'a'.repeat(32)}-${'0'.repeat(16)}-01`]],
    ['more in version 00', ['traceparent', `${valid}-x`]],
    ['upper case', ['traceparent', valid.toUpperCase()]],
  ])('makes a new one for %s', (_name, fields) => {
    const trace = traceOf(fields, ids, ids.next(NOW))
    expect(trace.received).toBe(false)
    expect(trace.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    expect(traceOf(['traceparent', trace.traceparent], ids, '').received).toBe(true)
  })
})
