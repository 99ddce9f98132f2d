import { describe, expect, it } from 'vitest'
import { openAdmission } from '../../../ca/admission.js'
import { openTryLimit } from '../../../ca/try-limit.js'
import { MeshError } from '../../../mesh/errors.js'
import { namedId, parseAgentName, parseTrustDomain } from '../../../mesh/spiffe-id.js'
import { errorOfProblem, problemOf } from '../../../mesh/wire/problem.js'
import { manualClock } from '../../support/manual-clock.js'

const idOf = (name: string) => namedId(parseTrustDomain('acme.internal'), 'agent', parseAgentName(name))
const TOO_OFTEN = expect.objectContaining({ code: 'ISSUE_TOO_OFTEN' })

describe('the limit of certificates', () => {
  it('holds for one name, wherever it asks from, and says when it ends', () => {
    const clock = manualClock()
    const admission = openAdmission(clock)
    for (let each = 0; each < 1000; each += 1) {
      const source = each % 2 === 0 ? null : `10.0.${each % 200}.1`
      admission.check(idOf('planner'), source)
      admission.count(idOf('planner'), source)
    }
    clock.advance(20_000)
    expect(() => admission.check(idOf('planner'), null)).toThrow(TOO_OFTEN)
    expect(() => admission.check(idOf('planner'), null)).toThrow(
      expect.objectContaining({ retryAfterSeconds: 40 }),
    )
    expect(() => admission.check(idOf('tickets'), null)).not.toThrow()
    clock.advance(40_000)
    expect(() => admission.check(idOf('planner'), null)).not.toThrow()
  })

  it('holds for one address and its /64, whatever names it asks for', () => {
    const admission = openAdmission(manualClock())
    for (let each = 0; each < 3000; each += 1)
      admission.count(idOf(`agent-${each}`), `2001:db8:1:2::${each % 99}`)
    expect(() => admission.check(idOf('another'), '2001:db8:1:2:ffff::1')).toThrow(TOO_OFTEN)
    expect(() => admission.check(idOf('another'), '2001:db8:1:3::1')).not.toThrow()
    expect(() => admission.check(idOf('another'), null)).not.toThrow()
  })

  it('travels with its time to wait', () => {
    const error = new MeshError('ISSUE_TOO_OFTEN', 'x', { retryAfterMs: 1500 })
    const problem = Buffer.from(JSON.stringify(problemOf(error)))
    expect(errorOfProblem(problem)).toMatchObject({ code: 'ISSUE_TOO_OFTEN', retryAfterSeconds: 2 })
  })
})

describe('a try that is counted before its outcome', () => {
  const limited = () =>
    openTryLimit({
      clock: manualClock(),
      max: 2,
      windowMs: 60_000,
      capacity: 10,
      refusal: () => new MeshError('JOIN_TOKEN_TRIES', 'too many'),
    })

  it('leaves no room for more at once', () => {
    const limit = limited()
    limit.take('10.0.0.1')
    limit.take('10.0.0.1')
    expect(() => limit.take('10.0.0.1')).toThrow(expect.objectContaining({ code: 'JOIN_TOKEN_TRIES' }))
  })

  it('is given back when it succeeds', () => {
    const limit = limited()
    for (let each = 0; each < 10; each += 1) limit.take('10.0.0.1')()
    expect(() => limit.take('10.0.0.1')).not.toThrow()
  })
})
