import { InvalidArgumentError } from 'commander'
import { describe, expect, it } from 'vitest'
import {
  appAddress,
  calleePort,
  certificateLife,
  count,
  graceTime,
  host,
  hostAndPort,
  nameOrId,
  port,
} from '../../../cli/arguments.js'
import { MeshError } from '../../../mesh/errors.js'

describe('an option value', () => {
  it('is a port from 0 to 65535', () => {
    expect(port('0')).toBe(0)
    expect(port('65535')).toBe(65_535)
    for (const raw of ['65536', '-1', '0x50', ' 80', '8e1', ''])
      expect(() => port(raw)).toThrow(InvalidArgumentError)
  })

  it('is a count from 1', () => {
    expect(count('3')).toBe(3)
    for (const raw of ['0', '-1', '1.5', 'many']) expect(() => count(raw)).toThrow(InvalidArgumentError)
  })

  it('is a host without a port', () => {
    expect(host('CA.acme.internal')).toBe('ca.acme.internal')
    expect(host('::1')).toBe('::1')
    for (const raw of ['10.0.0.1:80', 'http://x', '-x', 'a b', ''])
      expect(() => host(raw)).toThrow(InvalidArgumentError)
  })

  it('is a host with or without a port', () => {
    expect(hostAndPort('10.0.0.1')).toEqual({ host: '10.0.0.1', port: null })
    expect(hostAndPort('vm.internal:4411')).toEqual({ host: 'vm.internal', port: 4411 })
    expect(hostAndPort('[fd00::1]:4411')).toEqual({ host: 'fd00::1', port: 4411 })
    expect(hostAndPort('fd00::1')).toEqual({ host: 'fd00::1', port: null })
    expect(() => hostAndPort('a:b')).toThrow(InvalidArgumentError)
  })

  it('is the address of an app', () => {
    expect(appAddress('127.0.0.1:8080')).toEqual({ host: '127.0.0.1', port: 8080 })
    expect(appAddress('8080')).toEqual({ host: '127.0.0.1', port: 8080 })
    expect(appAddress('unix:/run/app.sock')).toEqual({ socketPath: '/run/app.sock' })
    expect(appAddress('h2c:8080')).toEqual({ host: '127.0.0.1', port: 8080, http: 'h2c' })
    expect(appAddress('h2c:unix:/run/app.sock')).toEqual({ socketPath: '/run/app.sock', http: 'h2c' })
    for (const raw of ['localhost', 'unix:', '', 'h2c:'])
      expect(() => appAddress(raw)).toThrow(InvalidArgumentError)
    expect(() => appAddress('unix:')).toThrow('unix:PATH')
  })

  it('is a life that the CA gives a certificate', () => {
    expect(certificateLife('15m')).toBe(900)
    expect(certificateLife('7d')).toBe(604_800)
    expect(certificateLife('10s')).toBe(10)
    for (const raw of ['9s', '8d']) expect(() => certificateLife(raw)).toThrow(InvalidArgumentError)
  })

  it('is a grace time, which may be none', () => {
    expect([graceTime('0'), graceTime('0s'), graceTime('36h'), graceTime('7d')]).toEqual([
      0, 0, 129_600, 604_800,
    ])
    for (const raw of ['8d']) expect(() => graceTime(raw)).toThrow(InvalidArgumentError)
    for (const raw of ['-1s', 'x', '']) expect(() => graceTime(raw)).toThrow(MeshError)
  })

  it('is a name, or a whole SPIFFE ID', () => {
    expect(nameOrId('planner')).toBe('planner')
    expect(nameOrId('spiffe://partner.example/ns/a')).toBe('spiffe://partner.example/ns/a')
    for (const raw of ['X Y', 'spiffe:', '']) expect(() => nameOrId(raw)).toThrow(MeshError)
  })

  it('is a callee with its local port, each callee once', () => {
    const first = calleePort('tools=4002')
    expect(first).toEqual([{ callee: 'tools', port: 4002, open: false }])
    expect(calleePort('search=0,open', first)).toEqual([...first, { callee: 'search', port: 0, open: true }])
    expect(() => calleePort('tools=1', first)).toThrow(InvalidArgumentError)
    expect(() => calleePort('tools')).toThrow(InvalidArgumentError)
    expect(() => calleePort('Tools=1')).toThrow(MeshError)
  })
})
