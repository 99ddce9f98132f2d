// Our codec and node:http with each other over real sockets, in both roles; and WebSockets of the `ws` package through both of ours.

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, type Server } from 'node:net'
import { buffer, text } from 'node:stream/consumers'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { RequestHead, ResponseHead } from '../../../../sidecar/http/message.js'
import type { HttpStream, ResponseSink, StreamSink } from '../../../../sidecar/http/stream.js'
import { H2 } from '../../../../sidecar/http/stream-error.js'
import { Http1Client } from '../../../../sidecar/http1/client-connection.js'
import { DEFAULT_HTTP1_LIMITS } from '../../../../sidecar/http1/contract.js'
import { helloServer } from '../../../support/http1-hello.js'
import { onSocket } from '../../../support/http1-socket.js'
import { GET } from '../../../support/http1-talk.js'

const BIG = randomBytes(5 * 1024 * 1024)
const closing: (() => void)[] = []

afterEach(() => {
  for (const close of closing.splice(0)) close()
})

async function listening(server: Server | http.Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => server.close())
  return (server.address() as AddressInfo).port
}

describe('a client of node:http with our server', () => {
  it('asks over and over on one connection', async () => {
    const port = await listening(helloServer())
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    closing.push(() => agent.destroy())
    const ports = new Set<number | undefined>()
    for (let call = 0; call < 20; call++) {
      const asked = http.request({ port, agent, method: call % 2 === 0 ? 'GET' : 'POST', path: `/${call}` })
      asked.end(call % 2 === 0 ? undefined : 'body')
      const [answer] = (await once(asked, 'response')) as [IncomingMessage]
      ports.add(answer.socket.localPort)
      expect(await text(answer)).toBe('hello from troth\n')
    }
    expect(ports.size).toBe(1)
  })

  it('sends a large body in chunks and reads it back', async () => {
    const port = await listening(helloServer())
    const answer = await fetch(`http://127.0.0.1:${port}/echo`, {
      method: 'POST',
      body: new Blob([BIG]).stream(),
      duplex: 'half',
    })
    expect(Buffer.from(await answer.arrayBuffer()).equals(BIG)).toBe(true)
  })
})

interface Answer {
  head: ResponseHead
  body: Buffer
  trailers: readonly string[]
}

/** Sends one request and hears the whole answer. */
function ask(client: Http1Client, head: Partial<RequestHead>, body: Buffer | null): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const answer: Answer = { head: { status: 0, fields: [] }, body: Buffer.alloc(0), trailers: [] }
    const pieces: Buffer[] = []
    const sink: ResponseSink = {
      onInterim: () => undefined,
      onHead: (head) => {
        answer.head = head
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
      onDrain: () => undefined,
    }
    const stream = client.request({ ...GET, ...head }, body === null ? 'nothing' : 'more', sink)
    if (body !== null) stream.end(body)
  })
}

describe('our client with a server of node:http', () => {
  async function client(serve: http.RequestListener): Promise<Http1Client> {
    const port = await listening(http.createServer(serve))
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    closing.push(() => socket.destroy())
    const events = { onIdle: () => undefined, onClose: () => undefined }
    return onSocket(
      socket,
      (wire) => new Http1Client({ wire, limits: DEFAULT_HTTP1_LIMITS, now: () => 0 }, events),
    )
  }

  it('asks over and over on one connection, with bodies of every framing and trailers', async () => {
    const ours = await client((incoming, response) => {
      void buffer(incoming).then((body) => {
        if (incoming.url === '/chunks') {
          response.write(body.subarray(0, 10))
          response.addTrailers({ 'X-Sum': '1' })
        } else response.setHeader('Content-Length', body.length)
        response.end(incoming.url === '/chunks' ? body.subarray(10) : body)
      })
    })
    for (const path of ['/chunks', '/length', '/chunks']) {
      const answer = await ask(ours, { method: 'POST', path }, BIG)
      expect(answer.head.status).toBe(200)
      expect(answer.body.equals(BIG)).toBe(true)
      expect(answer.trailers).toEqual(path === '/chunks' ? ['x-sum', '1'] : [])
      expect(ours.isIdle).toBe(true)
    }
    expect((await ask(ours, { method: 'HEAD' }, null)).body.length).toBe(0)
  })

  it('reads an answer that only the end of the connection ends', async () => {
    const ours = await client((incoming, response) => {
      incoming.socket.end('HTTP/1.0 200 OK\r\n\r\nold')
      expect(response.headersSent).toBe(false)
    })
    expect(String((await ask(ours, {}, null)).body)).toBe('old')
    expect(ours.isReusable).toBe(false)
  })
})

describe('a WebSocket of the ws package', () => {
  /** What the two streams of a relay say to each other. */
  const relayed = (to: () => HttpStream | undefined, from: () => HttpStream | undefined): StreamSink => ({
    onData: (bytes) => {
      to()?.write(bytes)
      from()?.consume(bytes.length)
    },
    onTrailers: () => undefined,
    onEnd: () => to()?.end(Buffer.alloc(0)),
    onReset: () => to()?.reset(H2.CANCEL),
    onDrain: () => undefined,
  })

  /** Our server, with our client behind it. */
  async function relayTo(port: number): Promise<number> {
    return listening(
      helloServer({
        onRequest: (near, head) => {
          const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
          closing.push(() => socket.destroy())
          const events = { onIdle: () => undefined, onClose: () => undefined }
          const limits = DEFAULT_HTTP1_LIMITS
          const client = onSocket(socket, (wire) => new Http1Client({ wire, limits, now: () => 0 }, events))
          const far: HttpStream = client.request(head, 'more', {
            ...relayed(
              () => near,
              () => far,
            ),
            onInterim: () => undefined,
            onHead: (answer) => near.respond(answer, 'more'),
          })
          return relayed(
            () => far,
            () => near,
          )
        },
        onRefused: () => undefined,
        onClose: () => undefined,
      }),
    )
  }

  it('is opened, echoes large messages both ways, and is closed, through both of our roles', async () => {
    const app = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await once(app, 'listening')
    closing.push(() => app.close())
    app.on('connection', (socket) =>
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
    )
    const port = await relayTo((app.address() as AddressInfo).port)
    const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`, ['chat'])
    await once(socket, 'open')
    expect(socket.protocol).toBe('chat')
    for (const message of [Buffer.from('hello'), BIG]) {
      socket.send(message)
      const [back] = (await once(socket, 'message')) as [Buffer]
      expect(back.equals(message)).toBe(true)
    }
    socket.close(1000)
    expect((await once(socket, 'close'))[0]).toBe(1000)
  })

  it('that the app turns away hears its status', async () => {
    const port = await relayTo(
      await listening(
        http.createServer().on('upgrade', (_incoming: IncomingMessage, socket) => {
          socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
        }),
      ),
    )
    const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`)
    expect(String((await once(socket, 'error').catch((error: unknown) => [error]))[0])).toContain('403')
  })
})
