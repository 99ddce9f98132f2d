import { describe, expect, it } from 'vitest'
import { recognise } from '../../../../sidecar/operation/http.js'

describe('recognise', () => {
  it('gives one canonical path to judge, and the very same to forward', () => {
    const { operation, target } = recognise({ method: 'GET', protocol: null }, '/tickets/%41%2d1?q=%41')
    expect(operation).toEqual({ protocol: 'http', method: 'GET', path: '/tickets/A-1' })
    expect(target).toBe('/tickets/A-1?q=%41')
  })

  it.each([
    ['GET', '/a/../b', 'CALL_PATH_REFUSED'],
    ['GET', '/a%2fb', 'CALL_PATH_REFUSED'],
    ['get', '/a', 'CALL_MALFORMED'],
    ['TRACE', '/a', 'CALL_MALFORMED'],
    ['CONNECT', '', 'CONNECT_REFUSED'],
  ])('refuses %s %s with %s', (method, originForm, code) => {
    expect(() => recognise({ method, protocol: null }, originForm)).toThrow(expect.objectContaining({ code }))
  })

  it('judges a WebSocket as the GET that opens it, and serves no other protocol', () => {
    const { operation } = recognise({ method: 'CONNECT', protocol: 'websocket' }, '/live')
    expect(operation).toEqual({ protocol: 'http', method: 'GET', path: '/live' })
    expect(() => recognise({ method: 'CONNECT', protocol: 'connect-udp' }, '/live')).toThrow(
      expect.objectContaining({ code: 'CALL_UPGRADE_REFUSED' }),
    )
  })
})
