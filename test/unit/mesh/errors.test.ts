import { describe, expect, it } from 'vitest'
import { asMeshError, ERRORS, isMeshError, MeshError } from '../../../mesh/errors.js'

describe('the table of errors', () => {
  it.each(Object.entries(ERRORS))(
    '%s has a code, a status, an exit code, a sentence and a hint',
    (code, spec) => {
      expect(code).toMatch(/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/)
      expect(spec.status).toBeGreaterThanOrEqual(400)
      expect(spec.status).toBeLessThan(600)
      expect([1, 2, 3, 4, 5, 70]).toContain(spec.exit)
      for (const sentence of [spec.when, spec.hint]) {
        expect(sentence.length).toBeGreaterThan(5)
        expect(sentence.length).toBeLessThan(200)
        expect(sentence.endsWith('.')).toBe(false)
      }
    },
  )
})

describe('a MeshError', () => {
  it("carries the table's hint unless the site knows a better one", () => {
    expect(new MeshError('PORT_BUSY', 'x').hint).toBe(ERRORS.PORT_BUSY.hint)
    expect(new MeshError('PORT_BUSY', 'x', { hint: 'y' }).hint).toBe('y')
    expect(new MeshError('PORT_BUSY', 'x').spec).toBe(ERRORS.PORT_BUSY)
  })

  it('keeps its cause, and has none when none was given', () => {
    const cause = new Error('below')
    expect(new MeshError('INTERNAL', 'x', { cause }).cause).toBe(cause)
    expect('cause' in new MeshError('INTERNAL', 'x')).toBe(false)
  })

  it('is told from other errors, and by its code', () => {
    const error = new MeshError('PEER_REVOKED', 'x')
    expect(isMeshError(error)).toBe(true)
    expect(isMeshError(error, 'PEER_REVOKED')).toBe(true)
    expect(isMeshError(error, 'PEER_EXPIRED')).toBe(false)
    expect(isMeshError(new Error('x'))).toBe(false)
  })

  it('is what any other error becomes at a door, which never shows the other error', () => {
    const error = new MeshError('PEER_REVOKED', 'x')
    expect(asMeshError(error)).toBe(error)
    const other = asMeshError(new Error('secret path'))
    expect(other.code).toBe('INTERNAL')
    expect(other.message).not.toContain('secret')
  })
})
