// Every wrong leaf, presented over real TLS in both directions. One side of each connection keeps verification on and hears the refusal of
// TLS; the judge is asked about the chain that was presented, as it arrives from the wire, and must name what is wrong.

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Hierarchy, issueLeaf, type Leaf, makeHierarchy } from '../../certs-dev/hierarchy.js'
import { makeWrongLeaves, type WrongLeaf } from '../../certs-dev/wrong-leaves.js'
import { clientChain, presentedChain, TLS_FLOOR } from '../../host/tls.js'
import { isMeshError } from '../../mesh/errors.js'
import { revocationsOf } from '../../mesh/revocation.js'
import { verifyPeer } from '../../mesh/verify-peer.js'

let mesh: Hierarchy
let good: Leaf
let wrong: WrongLeaf[]

beforeAll(async () => {
  mesh = await makeHierarchy({ trustDomain: 'acme.internal', dev: true })
  good = await issueLeaf(mesh, 'spiffe://acme.internal/agent/tickets')
  wrong = await makeWrongLeaves(mesh, 'planner')
})

interface Meeting {
  /** What each end presented, as the other saw it before TLS spoke its verdict. */
  readonly seenByServer: ReturnType<typeof presentedChain>
  readonly seenByClient: ReturnType<typeof presentedChain>
  readonly serverAccepted: boolean
  readonly clientAccepted: boolean
}

const offer = ({ keyPem, chainPem }: Leaf) => ({
  ...TLS_FLOOR,
  key: keyPem,
  cert: chainPem,
  ca: mesh.rootPem,
  checkServerIdentity: () => undefined,
})

async function meet(clientLeaf: Leaf, serverLeaf: Leaf): Promise<Meeting> {
  let seenByServer: Meeting['seenByServer'] = []
  let seenByClient: Meeting['seenByClient'] = []
  let serverAccepted = false
  let clientAccepted = false
  const server = createServer({ ...offer(serverLeaf), requestCert: true })
  server.on('secureConnection', (socket) => {
    serverAccepted = socket.authorized
    seenByServer = clientChain(socket, [mesh.issuing.certificate])
    socket.on('error', () => undefined)
    socket.end('welcome')
  })
  server.on('tlsClientError', (_error, socket) => {
    seenByServer = clientChain(socket, [mesh.issuing.certificate])
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client: TLSSocket = connect({ ...offer(clientLeaf), host: '127.0.0.1', port })
  client.prependListener('secure', () => {
    seenByClient = presentedChain(client)
  })
  client.on('secureConnect', () => {
    expect(client.isSessionReused()).toBe(false)
  })
  client.on('data', () => {
    clientAccepted = client.authorized
  })
  client.on('error', () => undefined)
  // not once(): a refusal is an error of the socket, and what is awaited
  await new Promise((resolve) => client.on('close', resolve))
  server.close()
  await once(server, 'close')
  return { seenByServer, seenByClient, serverAccepted, clientAccepted }
}

function codeOf(chain: Meeting['seenByClient'], tlsAuthorized: boolean): string {
  try {
    return verifyPeer({
      chain,
      tlsAuthorized,
      bundles: new Map([[mesh.trustDomain, mesh.bundle]]),
      revocations: revocationsOf([], []),
      expected: { kinds: ['agent'] },
      now: Date.now(),
    }).id
  } catch (error) {
    if (isMeshError(error)) return error.code
    throw error
  }
}

describe('over real TLS', () => {
  it('two right leaves meet, and each sees the chain of the other, leaf first', async () => {
    const { seenByServer, seenByClient, serverAccepted, clientAccepted } = await meet(good, good)
    expect([serverAccepted, clientAccepted]).toEqual([true, true])
    expect(seenByServer).toHaveLength(2)
    expect(seenByClient).toHaveLength(2)
    expect(codeOf(seenByServer, serverAccepted)).toBe('spiffe://acme.internal/agent/tickets')
    expect(codeOf(seenByClient, clientAccepted)).toBe('spiffe://acme.internal/agent/tickets')
  })

  it('each wrong server leaf is refused by the caller with its own code', async () => {
    const refused = []
    for (const { name, leaf } of wrong) {
      const { seenByClient, clientAccepted } = await meet(good, leaf)
      refused.push([name, codeOf(seenByClient, clientAccepted)])
    }
    expect(refused).toEqual(wrong.map(({ name, code }) => [name, code]))
  })

  it('each wrong client leaf that TLS itself accepts is refused by the callee with its own code', async () => {
    const refused = []
    const expected = []
    for (const { name, code, leaf } of wrong) {
      const { seenByServer, serverAccepted } = await meet(leaf, good)
      if (!serverAccepted) continue
      refused.push([name, codeOf(seenByServer, serverAccepted)])
      expected.push([name, code])
    }
    expect(refused).toEqual(expected)
    const names = expected.map(([name]) => name)
    // what OpenSSL lets through is why the judge exists
    expect(names).toEqual(expect.arrayContaining(['two-uri-sans', 'no-uri-san', 'wrong-kind', 'p521']))
  })
})
