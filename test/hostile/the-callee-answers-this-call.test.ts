import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { TLS_FLOOR } from '../../host/tls.js'
import { problemIn, request } from '../support/raw-http.js'
import { startMesh, type TestMesh } from '../support/start-mesh.js'

const OTHER_ID = '01890000-0000-7000-8000-000000000000'

/** Something with the callee's own certificate that answers each request with this word of a sidecar; ID stands for the call's id. */
async function startCallee(mesh: TestMesh, word: string | null): Promise<AsyncDisposable> {
  const leaf = await issueLeaf(mesh.hierarchy, mesh.id('tickets'))
  const sessions = new Set<http2.ServerHttp2Session>()
  const server = http2.createSecureServer({
    ...TLS_FLOOR,
    key: leaf.keyPem,
    cert: leaf.chainPem,
    ca: mesh.hierarchy.rootPem,
    requestCert: true,
  })
  server.on('session', (session) => sessions.add(session))
  server.on('stream', (stream, headers) => {
    const id = /id=([0-9a-f-]{36})/.exec(String(headers['troth-call']))?.[1] ?? ''
    stream.on('error', () => undefined)
    stream.respond(word === null ? {} : { 'troth-call': word.replace('ID', id) })
    stream.end('ok')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const place = { id: mesh.id('tickets'), instanceId: leaf.instanceId, host: '127.0.0.1', port }
  mesh.change(() => ({ endpoints: new Map([[place.id, [place]]]) }))
  return {
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

it.each([
  ['to this call, from a sidecar', 'v=1; id=ID', 200, undefined],
  ['without a word of a sidecar', null, 502, 'CALLEE_REFUSED'],
  ['to another call', `v=1; id=${OTHER_ID}`, 502, 'CALLEE_REFUSED'],
  ['that is a malformed word', 'v=1; who=me', 502, 'CALLEE_REFUSED'],
])('an answer %s counts or is refused', async (_what, word, status, code) => {
  await using mesh = await startMesh()
  const planner = await mesh.start('planner')
  await using _callee = await startCallee(mesh, word)
  const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
  expect([answer.status, answer.status === 200 ? undefined : problemIn(answer).code]).toEqual([status, code])
})
