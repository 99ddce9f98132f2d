import http from 'node:http'
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import tls from 'node:tls'
import { describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { TLS_FLOOR } from '../../host/tls.js'
import type { AppPlace } from '../../sidecar/config.js'
import { problemIn, request } from '../support/raw-http.js'
import { identityOf, startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

interface App extends AsyncDisposable {
  readonly place: AppPlace
}

async function listening(server: http.Server | http2.Http2Server, place: { http?: 'h2c' }): Promise<App> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    place: { host: '127.0.0.1', port, ...place },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** WebSockets over HTTP/1.1 that say what they hear. */
function startSocketApp(): Promise<App> {
  const server = http.createServer()
  new WebSocketServer({ server }).on('connection', (websocket) => {
    websocket.on('message', (data, isBinary) => websocket.send(data, { binary: isBinary }))
    websocket.on('error', () => undefined)
  })
  return listening(server, {})
}

/** Tunnels over HTTP/2 that say what they hear, and "over" when the client has said all. */
function startTunnelApp(enableConnectProtocol: boolean): Promise<App> {
  const server = http2.createServer({ settings: { enableConnectProtocol } })
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined)
    if (headers[':protocol'] !== 'websocket') {
      stream.respond({}, { endStream: true })
      return
    }
    stream.respond({ ':status': 200 })
    stream.on('data', (chunk: Buffer) => stream.write(chunk))
    stream.on('end', () => stream.end('over'))
  })
  return listening(server, { http: 'h2c' })
}

async function startTickets(app: App): Promise<TestMesh & { tickets: TestSidecar; planner: TestSidecar }> {
  const mesh = await startMesh()
  const tickets = await mesh.start('tickets', { app: app.place })
  const planner = await mesh.start('planner')
  return Object.assign(mesh, { tickets, planner })
}

/** A WebSocket of HTTP/1.1 as bytes. */
function upgrade(
  planner: TestSidecar,
): Promise<{ status: number; socket: Socket; answer: http.IncomingMessage }> {
  return new Promise((resolve, reject) => {
    const headers = {
      connection: 'upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': Buffer.alloc(16, 1).toString('base64'),
    }
    const outgoing = http.get(`${planner.urlOf('tickets')}/tickets/live`, { agent: false, headers })
    const take = (answer: http.IncomingMessage): void =>
      resolve({ status: answer.statusCode ?? 0, socket: answer.socket, answer })
    outgoing.on('upgrade', take).on('response', take).on('error', reject)
  })
}

const nextOf = (stream: NodeJS.ReadableStream): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    stream.once('data', resolve)
    stream.once('close', () => reject(new Error('closed')))
  })

/** "hello" as a client says it, masked with zeros, and as a server does. */
const HELLO = Buffer.from('818500000000', 'hex')
const ASKED = Buffer.concat([HELLO, Buffer.from('hello')])
const ECHOED = Buffer.concat([Buffer.from('8105', 'hex'), Buffer.from('hello')])

/** An extended CONNECT (RFC 8441). */
function connect(session: ClientHttp2Session, headers: Record<string, string>): Promise<ClientHttp2Stream> {
  return new Promise((resolve, reject) => {
    session.on('error', reject)
    session.once('remoteSettings', ({ enableConnectProtocol }) => {
      expect(enableConnectProtocol).toBe(true)
      const stream = session.request({
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':scheme': 'https',
        ':authority': 'tickets.mesh',
        ':path': '/tickets/live',
        'sec-websocket-version': '13',
        ...headers,
      })
      stream.on('error', reject)
      stream.once('response', ({ ':status': status }) => {
        expect(status).toBe(200)
        resolve(stream)
      })
    })
  })
}

describe('a WebSocket', () => {
  it('of HTTP/1.1 reaches an app of HTTP/2 that knows extended CONNECT, the first time too', async () => {
    await using app = await startTunnelApp(true)
    await using mesh = await startTickets(app)
    const { status, socket } = await upgrade(mesh.planner)
    expect(status).toBe(101)
    socket.write('hello')
    expect((await nextOf(socket)).toString()).toBe('hello')
    socket.resetAndDestroy()
    expect(await mesh.tickets.records.end()).toMatchObject({ outcome: 'aborted', bytesIn: 5, bytesOut: 5 })
  })

  it('for an app of HTTP/2 that knows no extended CONNECT is refused, and other calls go on', async () => {
    await using app = await startTunnelApp(false)
    await using mesh = await startTickets(app)
    for (let nth = 0; nth < 2; nth += 1) {
      const { status } = await upgrade(mesh.planner)
      expect(status).toBe(501)
      expect((await request(`${mesh.planner.urlOf('tickets')}/tickets/1`)).status).toBe(200)
    }
  })

  it('half-closes: the app says more when the client has said all', async () => {
    await using app = await startTunnelApp(true)
    await using mesh = await startTickets(app)
    const { socket } = await upgrade(mesh.planner)
    socket.end('last')
    let heard = ''
    for await (const chunk of socket as AsyncIterable<Buffer>) heard += chunk.toString()
    expect(heard).toBe('lastover')
    for (const { records } of [mesh.planner, mesh.tickets])
      expect(await records.end()).toMatchObject({ outcome: 'completed', status: 200 })
  })

  it('of a local client of HTTP/2 reaches an app of HTTP/1.1', async () => {
    await using app = await startSocketApp()
    await using mesh = await startTickets(app)
    const session = http2.connect(`http://127.0.0.1:${mesh.planner.ports.egress}`)
    const stream = await connect(session, { 'x-troth-local-credential': mesh.planner.credential })
    stream.write(ASKED)
    expect(await nextOf(stream)).toEqual(ECHOED)
    session.destroy()
    expect(await mesh.tickets.records.end()).toMatchObject({ outcome: 'aborted' })
  })

  it('of a client with a certificate and no sidecar reaches an app of HTTP/1.1', async () => {
    await using app = await startSocketApp()
    await using mesh = await startTickets(app)
    const { keyPem, chainPem } = identityOf(await issueLeaf(mesh.hierarchy, mesh.id('planner')))
    const socket = tls.connect({
      ...TLS_FLOOR,
      host: '127.0.0.1',
      port: mesh.tickets.ports.ingress,
      key: keyPem,
      cert: chainPem,
      ca: mesh.hierarchy.rootPem,
      servername: 'tickets.mesh',
      ALPNProtocols: ['h2'],
    })
    const session = http2.connect('https://tickets.mesh', { createConnection: () => socket })
    const stream = await connect(session, {})
    stream.write(ASKED)
    expect(await nextOf(stream)).toEqual(ECHOED)
    expect(mesh.tickets.records.decisions).toMatchObject([
      { callerKind: 'foreign', operation: 'GET /tickets/live', decision: 'permit' },
    ])
    session.destroy()
    expect(await mesh.tickets.records.end()).toMatchObject({ outcome: 'aborted' })
  })

  it('is cut when either end is revoked, and both ledgers say why', async () => {
    await using app = await startTunnelApp(true)
    for (const name of ['planner', 'tickets'] as const) {
      await using mesh = await startTickets(app)
      const { socket } = await upgrade(mesh.planner)
      const closed = new Promise((resolve) => socket.once('close', resolve))
      mesh.revoke(name)
      await closed
      const [own, other] = name === 'planner' ? [mesh.planner, mesh.tickets] : [mesh.tickets, mesh.planner]
      expect(await own.records.end()).toMatchObject({ outcome: 'cut', reason: 'SELF_REVOKED' })
      expect(await other.records.end()).toMatchObject({ outcome: 'cut', reason: 'PEER_REVOKED' })
    }
  })
})

it('a problem that refuses a WebSocket is read by its client', async () => {
  await using app = await startTunnelApp(false)
  await using mesh = await startTickets(app)
  const { answer } = await upgrade(mesh.planner)
  const chunks: Buffer[] = []
  for await (const chunk of answer as AsyncIterable<Buffer>) chunks.push(chunk)
  expect(problemIn({ body: Buffer.concat(chunks) })).toMatchObject({ code: 'APP_WEBSOCKET_UNSUPPORTED' })
})
