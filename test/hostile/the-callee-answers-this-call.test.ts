import type { AddressInfo } from 'node:net'
import tls from 'node:tls'
import { expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { TLS_FLOOR } from '../../host/tls.js'
import { problemIn, request } from '../support/raw-http.js'
import { startMesh, type TestMesh } from '../support/start-mesh.js'

const OTHER_ID = '01890000-0000-7000-8000-000000000000'

interface Callee extends AsyncDisposable {
  readonly port: number
}

/** Something with the callee's own certificate that answers each request with these bytes; ID stands for the call's id. */
async function startCallee(mesh: TestMesh, head: string): Promise<Callee> {
  const leaf = await issueLeaf(mesh.hierarchy, mesh.id('tickets'))
  const sockets = new Set<tls.TLSSocket>()
  const server = tls.createServer(
    {
      ...TLS_FLOOR,
      key: leaf.keyPem,
      cert: leaf.chainPem,
      ca: mesh.hierarchy.rootPem,
      requestCert: true,
      ALPNProtocols: ['http/1.1'],
    },
    (socket) => {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('data', (bytes: Buffer) => {
        const id = /troth-call: v=1; id=([0-9a-f-]{36})/i.exec(bytes.toString())?.[1] ?? ''
        socket.write(head.replace('ID', id))
      })
    },
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const place = { id: mesh.id('tickets'), instanceId: leaf.instanceId, host: '127.0.0.1', port }
  mesh.change(() => ({ endpoints: new Map([[place.id, [place]]]) }))
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

it.each([
  ['to this call, from a sidecar', 'Troth-Call: v=1; id=ID\r\nContent-Length: 2\r\n\r\nok', 200, undefined],
  ['without a word of a sidecar', 'Content-Length: 2\r\n\r\nok', 502, 'CALLEE_REFUSED'],
  [
    'to another call',
    `Troth-Call: v=1; id=${OTHER_ID}\r\nContent-Length: 2\r\n\r\nok`,
    502,
    'CALLEE_REFUSED',
  ],
  [
    'that is a malformed word',
    'Troth-Call: v=1; who=me\r\nContent-Length: 2\r\n\r\nok',
    502,
    'CALLEE_REFUSED',
  ],
  [
    'in another transfer coding',
    'Troth-Call: v=1; id=ID\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    502,
    'APP_RESPONSE_INVALID',
  ],
])('an answer %s counts or is refused', async (_what, rest, status, code) => {
  await using mesh = await startMesh()
  const planner = await mesh.start('planner')
  await using _callee = await startCallee(mesh, `HTTP/1.1 200 OK\r\n${rest}`)
  const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
  expect([answer.status, answer.status === 200 ? undefined : problemIn(answer).code]).toEqual([status, code])
})
