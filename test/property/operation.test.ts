import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isMeshError } from '../../mesh/errors.js'
import { parseTarget, type Target } from '../../mesh/operation.js'

const numRuns = process.env['SLOW'] === undefined ? 2000 : 100_000

const fragment = fc.oneof(
  fc.constantFrom(
    '/',
    '//',
    '.',
    '..',
    '%2e',
    '%2E',
    '%2f',
    '%5c',
    '%00',
    '%25',
    '%61',
    '%C3%A4',
    '?',
    '#',
    '\\',
    '*',
    ';',
    ':',
    '[',
    '%',
  ),
  fc.string({ maxLength: 4 }),
  fc.string({ unit: 'binary', maxLength: 2 }),
)
const target = fc.array(fragment, { maxLength: 12 }).map((parts) => `/${parts.join('')}`)

function attempt(raw: string): Target | undefined {
  try {
    return parseTarget(raw)
  } catch (error) {
    if (isMeshError(error, 'CALL_PATH_REFUSED')) return undefined
    throw error
  }
}

describe('any request target', () => {
  it('is refused, or has a canonical form that reads the same again', () => {
    fc.assert(
      fc.property(target, (raw) => {
        const first = attempt(raw)
        if (first !== undefined) expect(parseTarget(first.path + first.query)).toEqual(first)
      }),
      { numRuns },
    )
  })

  it('that is taken means to a WHATWG URL parser the path that was judged', () => {
    fc.assert(
      fc.property(target, (raw) => {
        const taken = attempt(raw)
        if (taken === undefined) return
        const { pathname } = new URL(`http://x.mesh${taken.path}`)
        expect(attempt(pathname)?.path).toBe(taken.path)
      }),
      { numRuns },
    )
  })

  it('that is taken, decoded once or twice, still climbs nowhere', () => {
    fc.assert(
      fc.property(target, (raw) => {
        const taken = attempt(raw)
        if (taken === undefined) return
        let path = taken.path
        for (let round = 0; round < 2; round += 1) {
          try {
            path = decodeURIComponent(path)
          } catch {
            return
          }
          expect(path.split(/[/\\]/).some((segment) => segment === '.' || segment === '..')).toBe(false)
          expect(path).not.toContain('\u0000')
        }
      }),
      { numRuns },
    )
  })
})
