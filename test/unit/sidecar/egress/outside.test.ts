import { describe, expect, it } from 'vitest'
import { leadingOut } from '../../../../sidecar/egress/outside.js'

const led = (...addresses: string[]): string[] =>
  leadingOut(addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))).map(
    ({ address }) => address,
  )

describe('what a name outside the mesh may lead to', () => {
  it('is other machines, of the internet and of the own networks', () => {
    const out = [
      '93.184.215.14',
      '10.1.2.3',
      '192.168.7.7',
      '2606:2800:21f::1',
      'fd12::1',
      '::ffff:93.184.215.14',
    ]
    expect(led(...out)).toEqual(out)
  })

  it.each([
    ['this machine', '127.0.0.1'],
    ['this machine by another number', '127.9.9.9'],
    ['no machine, which means this one', '0.0.0.0'],
    ['the link, and metadata services on it', '169.254.169.254'],
    ['many machines', '224.0.0.1'],
    ['all machines', '255.255.255.255'],
    ['this machine in IPv6', '::1'],
    ['no machine in IPv6', '::'],
    ['this machine as a mapped address', '::ffff:127.0.0.1'],
    ['a metadata service as a mapped address', '::ffff:a9fe:a9fe'],
    ['this machine as a compatible address', '::127.0.0.1'],
    ['the link in IPv6', 'fe80::1'],
    ['the link in IPv6 with its zone', 'fe80::1%eth0'],
    ['many machines in IPv6', 'ff02::1'],
    ['a metadata service in IPv6', 'fd00:ec2::254'],
  ])('is never %s', (_what, address) => {
    expect(led(address)).toEqual([])
    expect(led('93.184.215.14', address)).toEqual(['93.184.215.14'])
  })
})
