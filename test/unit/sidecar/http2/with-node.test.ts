// Our codec and node:http2 (nghttp2) with each other over real sockets, in both roles.

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http2 from 'node:http2'
import { type AddressInfo, connect, type Server } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { afterEach, describe, expect, it } from 'vitest'
import type { RequestHead } from '../../../../sidecar/http/message.js'
import { ClientConnection, type ServerConnection } from '../../../../sidecar/http2/connection.js'
import type { Http2Stream } from '../../../../sidecar/http2/contract.js'
import { helloServer } from '../../../support/http2-hello.js'
import { NO_EVENTS, NO_RESPONSE, onSocket } from '../../../support/http2-socket.js'

const BIG = randomBytes(1024 * 1024)
const BIG_TIMES = 12
const closing: (() => void)[] = []

afterEach(() => {
  for (const close of closing.splice(0)) close()
})

const sum = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port

describe('a client of node:http2 with our server', () => {
  async function session(): Promise<{ client: http2.ClientHttp2Session; connections: ServerConnection[] }> {
    const connections: ServerConnection[] = []
    const server: Server = helloServer((connection) => connections.push(connection)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = http2.connect(`http://127.0.0.1:${portOf(server)}`)
    closing.push(() => {
      client.destroy()
      server.close()
    })
    return { client, connections }
  }

  it('asks a hundred times at once', async () => {
    const { client, connections } = await session()
    const bodies = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const call = client.request({ ':path': `/${index}`, 'x-a': 'v'.repeat(index) })
        return String(await buffer(call))
      }),
    )
    expect(new Set(bodies)).toEqual(new Set(['hello from troth\n']))
    expect(connections[0]?.openStreams).toBe(0)
  })

  it('uses its dynamic table and Huffman code, call after call', async () => {
    const { client } = await session()
    for (let call = 0; call < 50; call++) {
      const headers = { ':path': '/', 'user-agent': 'node', 'x-changes': `value ${call}`, cookie: 'a=b; c=d' }
      expect(String(await buffer(client.request(headers)))).toBe('hello from troth\n')
    }
  })

  it('sends a large body and reads it back', async () => {
    const { client } = await session()
    const call = client.request({ ':method': 'POST', ':path': '/echo' })
    const back = createHash('sha256')
    let bytes = 0
    const isRead = (async () => {
      for await (const piece of call as AsyncIterable<Buffer>) {
        bytes += piece.length
        back.update(piece)
      }
    })()
    const sent = createHash('sha256')
    for (let piece = 0; piece < BIG_TIMES; piece++) {
      sent.update(BIG)
      if (!call.write(BIG)) await once(call, 'drain')
    }
    call.end()
    await isRead
    expect(bytes).toBe(BIG.length * BIG_TIMES)
    expect(back.digest('hex')).toBe(sent.digest('hex'))
  })

  it('ends its session in order when our server drains', async () => {
    const { client, connections } = await session()
    const call = client.request({ ':method': 'POST', ':path': '/echo' })
    await once(call, 'response')
    connections[0]?.drain()
    await once(client, 'goaway')
    call.end('last words')
    expect(String(await buffer(call))).toBe('last words')
    await once(client, 'close')
    expect(connections[0]?.isClosed).toBe(true)
  })

  it('hears of a reset, and tells of one', async () => {
    const { client, connections } = await session()
    const call = client.request({ ':method': 'POST', ':path': '/echo' })
    await once(call, 'response')
    call.close(http2.constants.NGHTTP2_CANCEL)
    await once(call, 'close')
    expect(String(await buffer(client.request({ ':path': '/' })))).toBe('hello from troth\n')
    expect(connections[0]?.openStreams).toBe(0)
  })
})

describe('our client with a server of node:http2', () => {
  async function opened(
    onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
    settings: http2.Settings = {},
  ): Promise<{ connection: ClientConnection; server: http2.Http2Server; sessions: http2.Http2Session[] }> {
    const sessions: http2.Http2Session[] = []
    const server = http2.createServer({ settings })
    server.on('session', (session: http2.Http2Session) => sessions.push(session))
    server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
      stream.on('error', () => undefined)
      onStream(stream, headers)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const socket = connect(portOf(server), '127.0.0.1')
    closing.push(() => {
      socket.destroy()
      server.close()
    })
    await once(socket, 'connect')
    return {
      connection: onSocket(socket, (options) => new ClientConnection(options, NO_EVENTS)),
      server,
      sessions,
    }
  }

  const head = (changes: Partial<RequestHead> = {}): RequestHead => ({
    method: 'GET',
    scheme: 'http',
    authority: 'localhost',
    path: '/',
    protocol: null,
    fields: [],
    ...changes,
  })

  interface Answer {
    status: number
    body: Buffer
    trailers: readonly string[]
  }

  /** Sends `body` with respect for back-pressure, and takes the whole answer. */
  function ask(
    connection: ClientConnection,
    request: RequestHead,
    body: readonly Buffer[] = [],
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const answer: Answer = { status: 0, body: Buffer.alloc(0), trailers: [] }
      const pieces: Buffer[] = []
      const rest = [...body]
      const send = (stream: Http2Stream): void => {
        for (let piece = rest.shift(); piece !== undefined; piece = rest.shift())
          if (!stream.write(piece)) return
        stream.end(new Uint8Array())
      }
      const stream: Http2Stream = connection.request(request, body.length > 0 ? 'more' : 'nothing', {
        ...NO_RESPONSE,
        onHead: ({ status }) => {
          answer.status = status
        },
        onData: (bytes) => {
          pieces.push(Buffer.from(bytes))
          stream.consume(bytes.length)
        },
        onTrailers: (fields) => {
          answer.trailers = fields
        },
        onEnd: () => resolve({ ...answer, body: Buffer.concat(pieces) }),
        onReset: reject,
        onDrain: () => send(stream),
      })
      if (body.length > 0) send(stream)
    })
  }

  it('gets heads, bodies and trailers', async () => {
    const { connection } = await opened((stream, headers) => {
      stream.respond({ ':status': 201, 'x-method': headers[':method'] }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      stream.end('hello')
    })
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask(connection, head())))
    for (const answer of answers)
      expect([answer.status, String(answer.body), answer.trailers]).toEqual([
        201,
        'hello',
        ['grpc-status', '0'],
      ])
  })

  it('follows a table of no size, and a small window', async () => {
    const { connection } = await opened((stream) => stream.end('hello'), {
      headerTableSize: 0,
      initialWindowSize: 10,
    })
    await ask(connection, head())
    const answer = await ask(connection, head({ method: 'POST' }), [Buffer.alloc(5000)])
    expect(String(answer.body)).toBe('hello')
  })

  it('sends and takes a large body', async () => {
    const { connection } = await opened((stream) => {
      stream.respond({ ':status': 200 })
      stream.pipe(stream)
    })
    const pieces = Array.from({ length: BIG_TIMES }, () => BIG)
    const { body } = await ask(connection, head({ method: 'POST' }), pieces)
    expect(sum(body)).toBe(sum(Buffer.concat(pieces)))
  })

  it('makes a server wait whose answer nobody takes', async () => {
    const { connection } = await opened((stream) => stream.end(Buffer.alloc(4_000_000)))
    let held = 0
    const stream: Http2Stream = connection.request(head(), 'nothing', {
      ...NO_RESPONSE,
      onData: (bytes) => {
        held += bytes.length
      },
    })
    await ask(connection, head({ path: '/other' })).catch(() => undefined)
    expect(held).toBeLessThanOrEqual(256 * 1024)
    stream.reset(http2.constants.NGHTTP2_CANCEL)
    const { body } = await ask(connection, head())
    expect(body.length).toBe(4_000_000)
  })

  it('hears of resets and refusals', async () => {
    const { connection } = await opened((stream, headers) =>
      stream.close(
        headers[':path'] === '/refused'
          ? http2.constants.NGHTTP2_REFUSED_STREAM
          : http2.constants.NGHTTP2_INTERNAL_ERROR,
      ),
    )
    await expect(ask(connection, head({ path: '/refused' }))).rejects.toMatchObject({
      code: 'HTTP2_STREAM_REFUSED',
    })
    await expect(ask(connection, head())).rejects.toMatchObject({ code: 'HTTP2_STREAM_RESET', h2: 2 })
  })

  it('closes when the server goes away in order, with its last call whole', async () => {
    const { connection, sessions } = await opened((stream) => {
      sessions[0]?.close()
      setImmediate(() => stream.end('last'))
    })
    expect(String((await ask(connection, head())).body)).toBe('last')
    await expect.poll(() => connection.isClosed).toBe(true)
    expect(() => connection.request(head(), 'nothing', NO_RESPONSE)).toThrow(
      expect.objectContaining({ code: 'HTTP2_STREAM_REFUSED' }) as Error,
    )
  })

  it('loses its calls with a server that breaks off', async () => {
    const { connection, sessions } = await opened(() => sessions[0]?.destroy())
    await expect(ask(connection, head())).rejects.toMatchObject({ code: 'HTTP2_CONNECTION_LOST' })
  })

  it('measures the line', async () => {
    const { connection } = await opened((stream) => stream.end())
    await new Promise<void>((resolve) => connection.ping(resolve))
  })
})
