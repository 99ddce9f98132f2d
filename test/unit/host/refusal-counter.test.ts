import { describe, expect, test } from 'vitest'
import { sourcePrefix } from '../../../host/refusal-counter.js'

describe('sourcePrefix', () => {
  test.each([
    ['192.0.2.77', '192.0.2.0/24'],
    ['127.0.0.1', '127.0.0.0/24'],
    ['::ffff:192.0.2.77', '192.0.2.0/24'],
    ['::FFFF:192.0.2.77', '192.0.2.0/24'],
    ['2001:db8:1:2::3', '2001:db8:1::/48'],
    ['2001:0db8:0001:0002:0003:0004:0005:0006', '2001:db8:1::/48'],
    ['2001:db8::1', '2001:db8:0::/48'],
    ['::1', '0:0:0::/48'],
    ['1::', '1:0:0::/48'],
    ['fe80::1%eth0', 'fe80:0:0::/48'],
    ['1:2:3:4:5:6:192.0.2.1', '1:2:3::/48'],
    ['', 'local'],
    ['not an address', 'local'],
    ['999.1.1.1', 'local'],
  ])('%s is counted as %s', (address, prefix) => {
    expect(sourcePrefix(address)).toBe(prefix)
  })

  test('a Unix socket is counted as local', () => {
    expect(sourcePrefix(null)).toBe('local')
  })
})
