// The first contact with a CA whose root this host does not hold yet: the root it presents is compared with the fingerprints of the
// join token. Verification stays on, so Node refuses this first connection, as it must; the chain is looked at just before.

import type { X509Certificate } from 'node:crypto'
import { connect } from 'node:tls'
import { presentedChain, TLS_FLOOR } from '../../host/tls.js'
import { MeshError } from '../../mesh/errors.js'
import { fingerprintOf } from '../../mesh/trust-bundle.js'
import { type CaAddress, codeOf, isLoopback, serverNameOf } from './ca-client.js'

const TIMEOUT_MS = 10_000

/**
 * The root certificate at that address whose fingerprint is one of those.
 * @param fingerprints SHA-256 of the DER, lower-case hex
 * @throws MeshError CA_ADDRESS_LOOPBACK | CA_UNREACHABLE | CA_FINGERPRINT_MISMATCH
 */
export async function fetchPinnedRoot(
  address: CaAddress,
  fingerprints: readonly string[],
): Promise<X509Certificate> {
  const root = (await fetchChain(address)).at(-1)
  if (root === undefined || !fingerprints.includes(fingerprintOf(root)))
    throw new MeshError(
      'CA_FINGERPRINT_MISMATCH',
      `the server at ${address.host}:${address.port} has another root than the token names`,
    )
  return root
}

function fetchChain(address: CaAddress): Promise<X509Certificate[]> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...TLS_FLOOR,
      host: address.host,
      port: address.port,
      servername: serverNameOf(address.host),
      // no root is trusted here: this connection is for looking only
      ca: [],
      ALPNProtocols: ['http/1.1'],
    })
    let chain: X509Certificate[] | undefined
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('timed out')))
    socket.prependListener('secure', () => {
      chain = presentedChain(socket)
    })
    socket.once('secureConnect', () => socket.destroy())
    let failure: unknown
    socket.once('error', (error) => {
      failure = error
    })
    socket.once('close', () => {
      if (chain === undefined) reject(noAnswer(address, failure))
      else resolve(chain)
    })
  })
}

function noAnswer({ host, port }: CaAddress, cause: unknown): MeshError {
  const why = codeOf(cause) || 'the connection was closed'
  return isLoopback(host)
    ? new MeshError('CA_ADDRESS_LOOPBACK', `the token's CA address ${host}:${port} means this host: ${why}`, {
        cause,
      })
    : new MeshError('CA_UNREACHABLE', `no CA answers at ${host}:${port}: ${why}`, { cause })
}
