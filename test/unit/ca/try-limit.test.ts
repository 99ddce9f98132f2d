import { describe, expect, it } from 'vitest'
import { openTryLimit } from '../../../ca/try-limit.js'
import { MeshError } from '../../../mesh/errors.js'
import { manualClock } from '../../support/manual-clock.js'

const LIMIT = {
  max: 1,
  windowMs: 60_000,
  capacity: 10,
  refusal: () => new MeshError('JOIN_TOKEN_TRIES', 'too many'),
}
const TRIES = expect.objectContaining({ code: 'JOIN_TOKEN_TRIES' })

describe('the limit of failed enrolments', () => {
  it('turns an address away after its failures, and lets it in again a minute later', () => {
    const clock = manualClock()
    const limit = openTryLimit({ ...LIMIT, clock, max: 3 })
    for (let count = 0; count < 3; count += 1) {
      limit.check('10.0.0.1')
      limit.count('10.0.0.1')
    }
    expect(() => limit.check('10.0.0.1')).toThrow(TRIES)
    expect(() => limit.check('10.0.0.2')).not.toThrow()
    clock.advance(60_000)
    expect(() => limit.check('10.0.0.1')).not.toThrow()
  })

  it('counts an IPv6 /64 and a mapped IPv4 address as one source', () => {
    const limit = openTryLimit({ ...LIMIT, clock: manualClock() })
    limit.count('2001:db8:1:2::1')
    expect(() => limit.check('2001:db8:1:2:ffff::9')).toThrow(TRIES)
    expect(() => limit.check('2001:db8:1:3::1')).not.toThrow()
    limit.count('::ffff:10.0.0.1')
    expect(() => limit.check('10.0.0.1')).toThrow(TRIES)
  })

  it('remembers no more addresses than it may', () => {
    const limit = openTryLimit({ ...LIMIT, clock: manualClock(), capacity: 2 })
    for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.3']) limit.count(address)
    expect(() => limit.check('10.0.0.1')).not.toThrow()
    expect(() => limit.check('10.0.0.3')).toThrow(TRIES)
  })
})
