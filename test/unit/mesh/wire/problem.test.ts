import { describe, expect, it } from 'vitest'
import { ERRORS, MeshError } from '../../../../mesh/errors.js'
import { errorOfProblem, problemOf } from '../../../../mesh/wire/problem.js'

const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

describe('a problem', () => {
  it('carries what RFC 9457 and the table of errors say, and what the site adds', () => {
    const problem = problemOf(new MeshError('POLICY_SCOPE_MISSING', 'planner does not hold x:y'), {
      callId: 'id',
      missing: 'x:y',
      policy: 'agents: []',
    })
    expect(problem).toEqual({
      type: 'https://troth.dev/errors#POLICY_SCOPE_MISSING',
      title: ERRORS.POLICY_SCOPE_MISSING.when,
      status: 403,
      detail: 'planner does not hold x:y',
      code: 'POLICY_SCOPE_MISSING',
      hint: ERRORS.POLICY_SCOPE_MISSING.hint,
      callId: 'id',
      missing: 'x:y',
      policy: 'agents: []',
    })
  })

  it('never shows the cause', () => {
    const error = new MeshError('INTERNAL', 'internal error', { cause: new Error('/secret/path') })
    expect(JSON.stringify(problemOf(error))).not.toContain('secret')
  })

  it('comes back as the error it was, with many lines of detail and its own hint', () => {
    const error = new MeshError('POLICY_MALFORMED', 'policy.yaml:1:1: a\npolicy.yaml:2:1: b', {
      hint: 'mend it',
    })
    const back = errorOfProblem(bytes(problemOf(error)))
    expect([back.code, back.message, back.hint]).toEqual([error.code, error.message, 'mend it'])
  })

  it('with a code of another release becomes INTERNAL', () => {
    expect(errorOfProblem(bytes({ code: 'NEW_THING', detail: 'x' })).code).toBe('INTERNAL')
    expect(errorOfProblem(bytes({ code: 'toString', detail: 'x' })).code).toBe('INTERNAL')
  })

  it.each([
    ['no JSON', Buffer.from('<html>')],
    ['no code', bytes({})],
    ['an escape sequence in its detail', bytes({ code: 'INTERNAL', detail: '\u001b[2J' })],
  ])('with %s is refused', (_what, body) => {
    expect(() => errorOfProblem(body)).toThrow(
      expect.objectContaining({ code: 'WIRE_MALFORMED' }) as MeshError,
    )
  })
})
