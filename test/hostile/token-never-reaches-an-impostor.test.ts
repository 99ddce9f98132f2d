// An attacker with a right leaf of the mesh stands at the CA's address and presents the true root. Root and path are right, so TLS
// accepts it; only the identity is wrong. Not one decrypted byte may reach it.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createServer } from 'node:tls'
import { expect, it } from 'vitest'
import { issueLeaf, makeHierarchy } from '../../certs-dev/hierarchy.js'
import { systemClock } from '../../host/clock.js'
import { openLifecycle } from '../../host/lifecycle.js'
import { TLS_FLOOR } from '../../host/tls.js'
import { openMember } from '../../member/member.js'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import { fingerprintOf } from '../../mesh/trust-bundle.js'
import { formatJoinToken } from '../../mesh/wire/enrolment.js'
import { memoryLog } from '../support/memory-log.js'

it('the join token does not leave before the identity of the CA is checked', async () => {
  const mesh = await makeHierarchy({ trustDomain: 'acme.internal', dev: true })
  const agent = await issueLeaf(mesh, 'spiffe://acme.internal/agent/mallory')
  const heard: Buffer[] = []
  const ended: Promise<unknown>[] = []
  const server = createServer(
    { ...TLS_FLOOR, key: agent.keyPem, cert: agent.chainPem + mesh.rootPem, ALPNProtocols: ['http/1.1'] },
    (socket) => {
      socket.on('data', (chunk: Buffer) => heard.push(chunk))
      socket.on('error', () => undefined)
      ended.push(once(socket, 'close'))
    },
  )
  server.on('tlsClientError', () => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const token = formatJoinToken({
    trustDomain: mesh.trustDomain,
    caAddress: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    rootFingerprints: [fingerprintOf(mesh.root.certificate)],
    kind: 'agent',
    name: parseAgentName('planner'),
    secret: 'a-secret',
  })
  const home = mkdtempSync(path.join(tmpdir(), 'tm-'))
  try {
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const opening = openMember({
        home,
        kind: 'agent',
        name: parseAgentName('planner'),
        instance: null,
        enrolBy: { token },
        dev: true,
        clock: systemClock,
        log: memoryLog(),
        lifecycle: openLifecycle(),
        feedMaxStalenessMs: 600_000,
      })
      await expect(opening).rejects.toMatchObject({ code: 'CA_IDENTITY_WRONG' })
    }
    await Promise.all(ended)
    expect(Buffer.concat(heard).toString()).toBe('')
  } finally {
    server.close()
    rmSync(home, { recursive: true })
  }
})
