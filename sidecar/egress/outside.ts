// A connection to a host outside the mesh that the operator allowed by name. What the name resolves to may not lead back into this
// machine: whoever answers for a name in DNS must not open the doors that trust loopback, nor a cloud's metadata service.

import dns, { type LookupAddress } from 'node:dns'
import net, { type LookupFunction, type Socket } from 'node:net'
import { MeshError } from '../../mesh/errors.js'

/** Addresses that mean this machine, its link, or many machines at once (RFC 6890). */
const NEAR = new net.BlockList()
NEAR.addSubnet('0.0.0.0', 8, 'ipv4')
NEAR.addSubnet('127.0.0.0', 8, 'ipv4')
NEAR.addSubnet('169.254.0.0', 16, 'ipv4')
NEAR.addSubnet('224.0.0.0', 3, 'ipv4')
NEAR.addSubnet('::', 96, 'ipv6')
NEAR.addSubnet('fe80::', 10, 'ipv6')
NEAR.addSubnet('ff00::', 8, 'ipv6')
/** Amazon's metadata service has an address of private networks. */
NEAR.addAddress('fd00:ec2::254', 'ipv6')

/** Those that a name may lead to; an address that was allowed as such is not asked for here. */
export function leadingOut(addresses: readonly LookupAddress[]): LookupAddress[] {
  return addresses.filter(({ address, family }) => {
    const [bare = ''] = address.split('%')
    return !NEAR.check(bare, family === 6 ? 'ipv6' : 'ipv4')
  })
}

/**
 * Begins to connect; nothing is sent.
 * @param authority `host:port`; an IPv6 address in brackets
 */
export function connectOutside(authority: string): Socket {
  const colon = authority.lastIndexOf(':')
  const host = authority.slice(0, colon).replace(/^\[|\]$/g, '')
  return net.connect({
    host,
    port: Number(authority.slice(colon + 1)),
    lookup: lookupOutside,
    autoSelectFamily: true,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  })
}

/** `net` connects to exactly what is handed to it: there is no second resolution that could say something else. */
const lookupOutside: LookupFunction = (name, options, callback) => {
  dns.lookup(name, { ...options, all: true }, (error, addresses) => {
    if (error !== null) {
      callback(error, [])
      return
    }
    const allowed = leadingOut(addresses)
    if (allowed.length > 0) callback(null, allowed)
    else
      callback(
        new MeshError('CONNECT_REFUSED', `${name} is an address of this machine or its link`, {
          hint: 'if that is meant, let egress.tunnels and the client name the address itself',
        }),
        [],
      )
  })
}
