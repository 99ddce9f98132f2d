import { describe, expect, it } from 'vitest'
import { isMeshError } from '../../../../mesh/errors.js'
import { parseAgentName } from '../../../../mesh/spiffe-id.js'
import { readAddress } from '../../../../sidecar/egress/address.js'
import { checkLocal, credentialCheck, namesOfDoor } from '../../../../sidecar/egress/guard.js'

const codeOf = (act: () => unknown): string => {
  try {
    act()
    return 'accepted'
  } catch (error) {
    return isMeshError(error) ? error.code : String(error)
  }
}

const DOOR = namesOfDoor(4000)

describe('readAddress', () => {
  it.each([
    ['/@tickets/a/b?c', 'tickets', '/a/b?c', null],
    ['/@tickets', 'tickets', '/', null],
    ['/@tickets?q', 'tickets', '/?q', null],
    ['/~secret/@tickets/a', 'tickets', '/a', 'secret'],
    ['/~secret/@tickets', 'tickets', '/', 'secret'],
    ['/@tickets/@search/x', 'tickets', '/@search/x', null],
    ['/@tickets//x', 'tickets', '//x', null],
  ])('reads %s', (target, callee, originForm, credential) => {
    expect(readAddress(null, target, null)).toEqual({ callee, originForm, credential })
  })

  it.each([
    ['/', 'NOT_FOUND'],
    ['/tickets', 'NOT_FOUND'],
    ['/~secret', 'NOT_FOUND'],
    ['/~secret/tickets', 'NOT_FOUND'],
    ['/@/x', 'AGENT_NAME_INVALID'],
    ['/@tick%65ts/x', 'AGENT_NAME_INVALID'],
    ['/@a.b/x', 'AGENT_NAME_INVALID'],
  ])('refuses %s with %s', (target, code) => {
    expect(codeOf(() => readAddress(null, target, null))).toBe(code)
  })

  it('on a dedicated port takes any path for the one callee', () => {
    const only = parseAgentName('tickets')
    expect(readAddress(null, '/@search/x', only)).toMatchObject({
      callee: 'tickets',
      originForm: '/@search/x',
    })
    expect(readAddress(null, '/~secret/x', only)).toMatchObject({ originForm: '/x', credential: 'secret' })
    expect(codeOf(() => readAddress('search.mesh', '/', only))).toBe('NOT_A_MESH_HOST')
  })
})

describe('the guard of the local door', () => {
  it('looks at every place of the credential, and at Authorization never', () => {
    const check = credentialCheck('secret')
    const basic = Buffer.from('any:secret').toString('base64')
    expect(check([], 'secret', null)).toBe('secret')
    check(['x-troth-local-credential', 'secret'], null, null)
    check(['proxy-authorization', `basic ${basic}`], null, null)
    check(['proxy-authorization', 'Bearer secret'], 'wrong', null)
    expect(check([], 'secret', 'secret')).toBe('secret')
    for (const fields of [
      [],
      ['authorization', 'Bearer secret'],
      ['proxy-authorization', 'secret'],
      ['proxy-authorization', `Basic ${Buffer.from('secret:').toString('base64')}`],
    ])
      expect(codeOf(() => check(fields, null, 'secret'))).toBe('LOCAL_CREDENTIAL_REQUIRED')
  })

  it('wants its own name as Host, but not of a proxied request', () => {
    expect(checkLocal([], '127.0.0.1:4000', false, DOOR)).toBeNull()
    expect(codeOf(() => checkLocal([], '127.0.0.1:4001', false, DOOR))).toBe('LOCAL_HOST_INVALID')
    expect(codeOf(() => checkLocal([], 'tickets.mesh', false, DOOR))).toBe('LOCAL_HOST_INVALID')
    expect(checkLocal([], 'tickets.mesh', true, DOOR)).toBe('tickets.mesh')
    expect(codeOf(() => checkLocal(['origin', 'null'], 'tickets.mesh', true, DOOR))).toBe('BROWSER_REFUSED')
  })
})
