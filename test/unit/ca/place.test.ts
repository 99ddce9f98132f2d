import { describe, expect, it } from 'vitest'
import { formatPlace, parseHost } from '../../../ca/place.js'

describe('the host of the CA', () => {
  it.each(['127.0.0.1', 'ca.example', 'ca-1', 'CA.example', '2001:db8::1', '3com.example'])(
    'is %s',
    (host) => {
      expect(parseHost(host)).toBe(host)
    },
  )

  it('is an IPv6 address with or without brackets', () => {
    expect(parseHost('[::1]')).toBe('::1')
    expect(formatPlace('::1', 7410)).toBe('[::1]:7410')
  })

  it.each([
    '',
    '::::',
    '1.2.3.4.5',
    '999.1.1.1',
    '127.1',
    'a..b',
    '-',
    'a b',
    'a/b',
    'ca:7410',
    `${'a.'.repeat(127)}aa`,
  ])('is not %j', (host) => {
    expect(() => parseHost(host)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })
})
