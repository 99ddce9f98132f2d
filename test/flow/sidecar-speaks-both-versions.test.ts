import http2, { type ClientHttp2Session, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { request } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { startMesh, type TestSidecar } from '../support/start-mesh.js'

interface Http2App extends AsyncDisposable {
  readonly place: { readonly host: string; readonly port: number }
}

/** An app that speaks HTTP/2 without TLS and nothing else. */
async function startHttp2App(
  serve: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
): Promise<Http2App> {
  const server = http2.createServer()
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (session) => sessions.add(session))
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined)
    serve(stream, headers)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    place: { host: '127.0.0.1', port },
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface Answer {
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly trailers: IncomingHttpHeaders
}

/** One request of an HTTP/2 client with prior knowledge, to `tickets.mesh` through the caller's egress. */
function ask(
  client: ClientHttp2Session,
  caller: TestSidecar,
  headers: Record<string, string>,
  body: Buffer = Buffer.alloc(0),
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = client.request({
      ':authority': 'tickets.mesh',
      'x-troth-local-credential': caller.credential,
      ...headers,
    })
    let head: IncomingHttpHeaders = {}
    let trailers: IncomingHttpHeaders = {}
    const chunks: Buffer[] = []
    stream.on('response', (received) => {
      head = received
    })
    stream.on('trailers', (received) => {
      trailers = received
    })
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => resolve({ headers: head, body: Buffer.concat(chunks), trailers }))
    stream.on('error', reject)
    if (!stream.writableEnded) stream.end(body)
  })
}

async function through<T>(caller: TestSidecar, use: (client: ClientHttp2Session) => Promise<T>): Promise<T> {
  const client = http2.connect(`http://127.0.0.1:${caller.ports.egress}`)
  client.on('error', () => undefined)
  try {
    return await use(client)
  } finally {
    client.destroy()
  }
}

const GRPC = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' }

/** A message as gRPC frames it: not compressed, its length, its bytes. */
function framed(text: string): Buffer {
  const message = Buffer.from(text)
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

describe('HTTP/2 and HTTP/1.1 at either end', () => {
  it('a client of HTTP/2 calls an app of HTTP/1.1, many times at once', async () => {
    await using app = await startApp((incoming, response) => {
      incoming.pipe(response)
    })
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    await through(planner, async (client) => {
      const bodies = Array.from({ length: 20 }, (_, nth) => Buffer.alloc(nth * 5000, nth))
      const answers = await Promise.all(
        bodies.map((body, nth) =>
          ask(client, planner, { ':method': 'POST', ':path': `/tickets/${nth}` }, body),
        ),
      )
      for (const [nth, { headers, body }] of answers.entries())
        expect([headers[':status'], body.equals(bodies[nth] ?? body)]).toEqual([200, true])
    })
  })

  it('a client of HTTP/1.1 calls an app of HTTP/2, and gets its trailers', async () => {
    await using app = await startHttp2App((stream, headers) => {
      stream.respond({ 'x-path': headers[':path'] }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '42' }))
      stream.end('ok')
    })
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: { ...app.place, http: 'h2c' } })
    const planner = await mesh.start('planner')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, answer.headers['x-path'], answer.body.toString()]).toEqual([
      200,
      '/tickets/1',
      'ok',
    ])
  })

  it('a request without local credential is refused over HTTP/2 too, and one for a foreign host', async () => {
    await using mesh = await startMesh()
    const planner = await mesh.start('planner')
    await through(planner, async (client) => {
      const refused = await ask(client, planner, { ':path': '/', 'x-troth-local-credential': 'wrong' })
      expect(refused.headers[':status']).toBe(407)
      const foreign = await ask(client, planner, { ':path': '/', ':authority': 'example.org' })
      expect(JSON.parse(foreign.body.toString())).toMatchObject({ code: 'NOT_A_MESH_HOST' })
    })
  })
})

describe('gRPC', () => {
  it('a unary call has its status in trailers, and needs no word about the app', async () => {
    await using app = await startHttp2App((stream, headers) => {
      expect(headers['te']).toBe('trailers')
      stream.respond({ 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      stream.pipe(stream)
    })
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    const answer = await through(planner, (client) =>
      ask(client, planner, { ...GRPC, ':path': '/tickets/Echo' }, framed('hello')),
    )
    expect([answer.headers[':status'], answer.body.equals(framed('hello'))]).toEqual([200, true])
    expect(answer.trailers['grpc-status']).toBe('0')
    expect(await tickets.records.end()).toMatchObject({ outcome: 'completed', bytesIn: 10, bytesOut: 10 })
  })

  it('an answer of trailers alone is passed on, and a denied call is an answer that clients read as PERMISSION_DENIED', async () => {
    await using app = await startHttp2App((stream) => {
      stream.respond({ 'content-type': 'application/grpc', 'grpc-status': '5' }, { endStream: true })
    })
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    await through(planner, async (client) => {
      const missing = await ask(client, planner, { ...GRPC, ':path': '/tickets/Get' }, framed(''))
      expect([missing.headers['grpc-status'], missing.body.length]).toEqual(['5', 0])
      const denied = await ask(client, planner, { ...GRPC, ':path': '/other/Get' }, framed(''))
      expect([denied.headers[':status'], denied.headers['content-type']]).toEqual([
        403,
        'application/problem+json',
      ])
    })
  })

  it('both sides speak while the other does, and a cancelled call ends at the app at once', async () => {
    let cancelled: (code: number) => void = () => undefined
    const over = new Promise<number>((resolve) => {
      cancelled = resolve
    })
    await using app = await startHttp2App((stream) => {
      stream.respond({ 'content-type': 'application/grpc' })
      stream.on('data', (chunk: Buffer) => stream.write(chunk))
      stream.on('close', () => cancelled(stream.rstCode))
    })
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    await through(planner, async (client) => {
      const stream = client.request({
        ...GRPC,
        ':authority': 'tickets.mesh',
        ':path': '/tickets/Chat',
        'x-troth-local-credential': planner.credential,
      })
      stream.on('error', () => undefined)
      for (const text of ['one', 'two']) {
        stream.write(framed(text))
        const chunk = await new Promise<Buffer>((resolve) => stream.once('data', resolve))
        expect(chunk.equals(framed(text))).toBe(true)
      }
      stream.close(http2.constants.NGHTTP2_CANCEL)
      expect(await over).toBe(http2.constants.NGHTTP2_CANCEL)
    })
    expect(await tickets.records.end()).toMatchObject({ outcome: 'aborted' })
  })
})
