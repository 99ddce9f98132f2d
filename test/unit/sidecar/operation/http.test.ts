import { describe, expect, it } from 'vitest'
import { recognise } from '../../../../sidecar/operation/http.js'

describe('recognise', () => {
  it('gives one canonical path to judge, and the very same to forward', () => {
    const { operation, target } = recognise('GET', '/tickets/%41%2d1?q=%41')
    expect(operation).toEqual({ protocol: 'http', method: 'GET', path: '/tickets/A-1' })
    expect(target).toBe('/tickets/A-1?q=%41')
  })

  it.each([
    ['GET', '/a/../b', 'CALL_PATH_REFUSED'],
    ['GET', '/a%2fb', 'CALL_PATH_REFUSED'],
    ['get', '/a', 'CALL_MALFORMED'],
  ])('refuses %s %s with %s', (method, originForm, code) => {
    expect(() => recognise(method, originForm)).toThrow(expect.objectContaining({ code }))
  })
})
