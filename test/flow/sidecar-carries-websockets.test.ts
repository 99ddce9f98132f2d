import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import WebSocket, { WebSocketServer } from 'ws'
import { revocationsOf } from '../../mesh/revocation.js'
import { startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

interface SocketApp extends AsyncDisposable {
  readonly place: { readonly host: string; readonly port: number }
  /** Ends every WebSocket without a word. */
  vanish(): void
}

/** Says what it hears; `/tickets/no` is refused. */
async function startSocketApp(): Promise<SocketApp> {
  const server = http.createServer((_request, response) => response.end('plain'))
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) => {
    if (request.url === '/tickets/no') {
      socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno')
      return
    }
    sockets.handleUpgrade(request, socket, head, (websocket) => {
      websocket.send(`caller ${String(request.headers['x-troth-caller'])}`)
      websocket.on('message', (data, isBinary) => websocket.send(data, { binary: isBinary }))
      websocket.on('error', () => undefined)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const vanish = (): void => {
    for (const websocket of sockets.clients) websocket.terminate()
  }
  return {
    place: { host: '127.0.0.1', port },
    vanish,
    async [Symbol.asyncDispose]() {
      vanish()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface Line {
  readonly websocket: WebSocket
  readonly next: () => Promise<Buffer>
  readonly closed: Promise<number>
}

function open(planner: TestSidecar, path: string): Line {
  const websocket = new WebSocket(`${planner.urlOf('tickets').replace('http:', 'ws:')}${path}`)
  const heard: Buffer[] = []
  const waiting: ((data: Buffer) => void)[] = []
  websocket.on('message', (data) => {
    const waiter = waiting.shift()
    if (waiter === undefined) heard.push(data as Buffer)
    else waiter(data as Buffer)
  })
  websocket.on('error', () => undefined)
  const closed = new Promise<number>((resolve) => websocket.once('close', resolve))
  const next = (): Promise<Buffer> => {
    const ready = heard.shift()
    return ready === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(ready)
  }
  return { websocket, next, closed }
}

async function pair(app: SocketApp): Promise<TestMesh & { tickets: TestSidecar; planner: TestSidecar }> {
  const mesh = await startMesh()
  const tickets = await mesh.start('tickets', { app: app.place })
  const planner = await mesh.start('planner')
  return Object.assign(mesh, { tickets, planner })
}

const refusalOf = (websocket: WebSocket): Promise<number | undefined> =>
  new Promise((resolve) => websocket.once('unexpected-response', (_, { statusCode }) => resolve(statusCode)))

describe('a WebSocket through two sidecars', () => {
  it('carries text, a megabyte of binary, a ping and the close, and is one call in both ledgers', async () => {
    await using app = await startSocketApp()
    await using mesh = await pair(app)
    const { websocket, next, closed } = open(mesh.planner, '/tickets/live')
    expect((await next()).toString()).toBe(`caller ${mesh.id('planner')}`)
    websocket.send('hello')
    expect((await next()).toString()).toBe('hello')
    const large = Buffer.alloc(1_000_000, 7)
    websocket.send(large)
    expect((await next()).equals(large)).toBe(true)
    const ponged = new Promise((resolve) => websocket.once('pong', resolve))
    websocket.ping()
    await ponged
    websocket.close(4001)
    expect(await closed).toBe(4001)
    for (const { records } of [mesh.planner, mesh.tickets]) {
      expect(records.decisions).toMatchObject([{ operation: 'GET /tickets/live', decision: 'permit' }])
      expect(await records.end()).toMatchObject({ outcome: 'completed', status: 200 })
    }
  })

  it('that the app refuses is refused with its own answer, and one that policy denies with 403', async () => {
    await using app = await startSocketApp()
    await using mesh = await pair(app)
    expect(await refusalOf(open(mesh.planner, '/tickets/no').websocket)).toBe(401)
    expect(await refusalOf(open(mesh.planner, '/elsewhere').websocket)).toBe(403)
    expect(await mesh.tickets.records.end(1)).toMatchObject({ outcome: 'failed', status: 403 })
  })

  it('ends at both ends when either is gone', async () => {
    await using app = await startSocketApp()
    await using mesh = await pair(app)
    const left = open(mesh.planner, '/tickets/live')
    await left.next()
    app.vanish()
    expect(await left.closed).toBe(1006)
    const right = open(mesh.planner, '/tickets/live')
    await right.next()
    right.websocket.terminate()
    expect(await mesh.tickets.records.end(1)).toBeDefined()
    expect(await mesh.planner.records.end(1)).toBeDefined()
  })

  it('is cut at once when its caller is revoked', async () => {
    await using app = await startSocketApp()
    await using mesh = await pair(app)
    const { next, closed } = open(mesh.planner, '/tickets/live')
    await next()
    mesh.tickets.world.replace({ revocations: revocationsOf([mesh.id('planner')], []) })
    expect(await closed).toBe(1006)
    expect(await mesh.tickets.records.end()).toMatchObject({ outcome: 'cut', reason: 'PEER_REVOKED' })
  })
})
