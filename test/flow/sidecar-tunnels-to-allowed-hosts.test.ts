import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http2 from 'node:http2'
import type { Socket } from 'node:net'
import tls from 'node:tls'
import { describe, expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { NOBODY } from '../../mesh/audit-record.js'
import { connectThrough, type OutsideHost, startOutside } from '../support/outside-host.js'
import { connectTls } from '../support/raw-http.js'
import { startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

const MEGABYTE = 1024 * 1024
const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** Says the digest of what it heard when the client has said all. */
const digester = (): Promise<OutsideHost> =>
  startOutside((socket) => {
    const hash = createHash('sha256')
    socket.on('data', (bytes: Buffer) => hash.update(bytes))
    socket.on('end', () => socket.end(hash.digest('hex')))
  })

function startPlanner(mesh: TestMesh, host: OutsideHost): Promise<TestSidecar> {
  return mesh.start('planner', { settings: { egressTunnels: new Set([host.authority]), bodyMaxBytes: 1024 } })
}

const proven = ({ credential }: TestSidecar) => ({
  'proxy-authorization': `Basic ${Buffer.from(`x:${credential}`).toString('base64')}`,
})

/** All that comes until the other side ends; the socket stays as it is. */
async function heard(socket: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(socket, 'end')
  return Buffer.concat(chunks)
}

describe('a tunnel to a host that config.yaml names', () => {
  it('carries TLS between the client and that host, more than body.max, and is recorded as a call', async () => {
    await using mesh = await startMesh()
    const leaf = await issueLeaf(mesh.hierarchy, mesh.id('outside'))
    await using host = await startOutside((socket) => {
      const secure = new tls.TLSSocket(socket, { isServer: true, key: leaf.keyPem, cert: leaf.chainPem })
      secure.on('error', () => secure.destroy())
      secure.pipe(secure)
    })
    const planner = await startPlanner(mesh, host)
    const { status, headers, socket } = await connectThrough(
      planner.ports.egress,
      host.authority,
      proven(planner),
    )
    expect(status).toBe(200)
    const body = randomBytes(3 * MEGABYTE)
    const secure = await connectTls(0, null, {
      socket,
      ca: mesh.hierarchy.rootPem,
      servername: 'outside.mesh',
    })
    secure.end(body)
    expect(sha(await heard(secure))).toBe(sha(body))
    const decided = await planner.records.decision()
    expect(decided).toMatchObject({
      direction: 'egress',
      caller: { id: planner.id },
      callee: NOBODY,
      operation: `CONNECT ${host.authority}`,
      decision: 'permit',
      reason: 'OK',
      rule: 'config.yaml egress.tunnels',
    })
    expect(headers['x-troth-call-id']).toBe(decided.callId)
    const end = await planner.records.end()
    expect(end).toMatchObject({ callId: decided.callId, outcome: 'completed', reason: 'OK', status: 200 })
    expect(end.bytesIn).toBeGreaterThan(body.length)
    expect(end.bytesOut).toBeGreaterThan(body.length)
  })

  it('is opened over HTTP/2 too', async () => {
    await using mesh = await startMesh()
    await using host = await digester()
    const planner = await startPlanner(mesh, host)
    const session = http2.connect(`http://127.0.0.1:${planner.ports.egress}`)
    const stream = session.request(
      { ':method': 'CONNECT', ':authority': host.authority, ...proven(planner) },
      { endStream: false },
    )
    const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    expect(answer[':status']).toBe(200)
    const body = randomBytes(3 * MEGABYTE)
    stream.end(body)
    expect((await heard(stream)).toString()).toBe(sha(body))
    session.close()
    expect(await planner.records.end()).toMatchObject({
      outcome: 'completed',
      bytesIn: body.length,
      bytesOut: 64,
    })
  })

  it('half-closes either way', async () => {
    await using mesh = await startMesh()
    await using host = await startOutside((socket) => {
      socket.end('first')
      socket.on('data', (bytes: Buffer) => void socket.emit('said', bytes.toString()))
    })
    const planner = await startPlanner(mesh, host)
    const { socket } = await connectThrough(planner.ports.egress, host.authority, proven(planner))
    // Node's client ends its side with the other's unless it is told
    socket.allowHalfOpen = true
    expect((await heard(socket)).toString()).toBe('first')
    const [said] = host.sockets.map((each) => once(each, 'said'))
    socket.end('last')
    expect(await said).toEqual(['last'])
    expect(await planner.records.end()).toMatchObject({ outcome: 'completed', bytesIn: 4, bytesOut: 5 })
  })

  it('ends with its client, and its client with the host', async () => {
    await using mesh = await startMesh()
    await using host = await startOutside((socket) => {
      socket.write('hello')
      socket.resume().on('end', () => socket.end())
    })
    const planner = await startPlanner(mesh, host)
    const open = async (): Promise<Socket> => {
      const { socket } = await connectThrough(planner.ports.egress, host.authority, proven(planner))
      await once(socket, 'data')
      return socket
    }
    const client = await open()
    const [reached] = host.sockets
    client.resetAndDestroy()
    if (reached?.destroyed === false) await once(reached, 'close')
    expect(await planner.records.end(0)).toMatchObject({ outcome: 'aborted', status: 200 })

    const left = await open()
    host.sockets[1]?.resetAndDestroy()
    await once(left, 'close')
    expect(await planner.records.end(1)).toMatchObject({ outcome: 'failed', reason: 'CALLEE_UNREACHABLE' })
  })

  it('that nobody answers is told so', async () => {
    await using mesh = await startMesh()
    const host = await digester()
    const planner = await startPlanner(mesh, host)
    await host[Symbol.asyncDispose]()
    const { status, body } = await connectThrough(planner.ports.egress, host.authority, proven(planner))
    expect([status, JSON.parse(body.toString())]).toMatchObject([502, { code: 'CALLEE_UNREACHABLE' }])
    expect(await planner.records.decision()).toMatchObject({ decision: 'permit' })
    expect(await planner.records.end()).toMatchObject({
      outcome: 'failed',
      reason: 'CALLEE_UNREACHABLE',
      status: 502,
    })
  })
})
