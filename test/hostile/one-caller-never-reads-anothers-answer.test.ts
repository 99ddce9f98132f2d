import net from 'node:net'
import { expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { MeshError } from '../../mesh/errors.js'
import { codeOf, connectPlain, connectTls, request, sendRaw, statusOf } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { identityOf, startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

interface ByteApp extends AsyncDisposable {
  readonly place: { readonly host: string; readonly port: number }
}

/** An app that answers bytes, chosen by the number of the request. */
async function startByteApp(answer: (socket: net.Socket, nth: number) => void): Promise<ByteApp> {
  let count = 0
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('data', () => answer(socket, count++))
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  return {
    place: { host: '127.0.0.1', port },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

async function pair(
  app: ByteApp['place'],
): Promise<TestMesh & { tickets: TestSidecar; planner: TestSidecar }> {
  const mesh = await startMesh()
  const tickets = await mesh.start('tickets', { app })
  return { ...mesh, tickets, planner: await mesh.start('planner') }
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nGOOD'

it.each([
  ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n'],
  ['GET', 'HTTP/1.1 204 No Content\r\nContent-Length: 42\r\n\r\n'],
  ['GET', 'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n'],
])('a body after the answer to %s, where none may be, is not the next answer: %j', async (method, head) => {
  let late: net.Socket | undefined
  await using app = await startByteApp((socket, nth) => {
    if (nth === 0) {
      late = socket
      socket.write(head)
      return
    }
    late?.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL')
    setImmediate(() => socket.write(OK))
  })
  await using mesh = await pair(app.place)
  const url = `${mesh.planner.urlOf('tickets')}/tickets/1`
  await request(url, { method })
  expect((await request(url)).body.toString()).toBe('GOOD')
})

it('a 101 that nobody asked for is no answer', async () => {
  await using app = await startByteApp((socket) => socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\nx'))
  await using mesh = await pair(app.place)
  const answer = await request(`${mesh.planner.urlOf('tickets')}/tickets/1`)
  expect([answer.status, codeOf(answer.body.toString())]).toEqual([502, 'APP_RESPONSE_INVALID'])
  expect(await mesh.tickets.records.end()).toMatchObject({
    outcome: 'failed',
    reason: 'APP_RESPONSE_INVALID',
  })
})

it('an answer in a transfer coding that is not chunked alone is no answer', async () => {
  for (const codings of ['gzip, chunked', 'chunked\r\nTransfer-Encoding: chunked']) {
    await using app = await startByteApp((socket) =>
      socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: ${codings}\r\n\r\n0\r\n\r\n`),
    )
    await using mesh = await pair(app.place)
    const answer = await request(`${mesh.planner.urlOf('tickets')}/tickets/1`)
    expect([answer.status, codeOf(answer.body.toString())]).toEqual([502, 'APP_RESPONSE_INVALID'])
  }
})

it('pipelined requests are served one after the other, and thousands at once wait unread', async () => {
  await using app = await startApp((incoming, response) => {
    if (incoming.url !== '/tickets/never') response.end(incoming.url)
  })
  await using mesh = await pair(app.place)
  const { tickets, planner } = mesh
  const client = identityOf(await issueLeaf(mesh.hierarchy, mesh.id('planner')))
  const doors = [
    {
      side: planner,
      prefix: `/~${planner.credential}/@tickets`,
      open: () => connectPlain(planner.ports.egress),
    },
    {
      side: tickets,
      prefix: '',
      open: () =>
        connectTls(tickets.ports.ingress, client, { ca: mesh.hierarchy.rootPem, servername: 'tickets.mesh' }),
    },
  ]
  for (const { side, prefix, open } of doors) {
    const get = (path: string, more = ''): string =>
      `GET ${prefix}${path} HTTP/1.1\r\nHost: 127.0.0.1:${planner.ports.egress}\r\n${more}\r\n`
    const three = [1, 2, 3].map((n) => get(`/tickets/${n}`, n === 3 ? 'Connection: close\r\n' : ''))
    const raw = await sendRaw(await open(), three.join(''))
    expect(raw.match(/\/tickets\/\d/g)).toEqual(['/tickets/1', '/tickets/2', '/tickets/3'])

    const decided = side.records.decisions.length
    expect(await sendRaw(await open(), get('/tickets/never').repeat(5000), 500)).toBe('')
    expect(side.records.decisions.length - decided).toBeLessThanOrEqual(1)
    expect(statusOf(await sendRaw(await open(), get('/tickets/4', 'Connection: close\r\n')))).toBe(200)
  }
})

it('an expectation other than 100-continue is refused and counted', async () => {
  await using app = await startApp()
  await using mesh = await pair(app.place)
  const answer = await request(`${mesh.planner.urlOf('tickets')}/tickets/1`, { headers: { expect: 'more' } })
  expect([answer.status, codeOf(answer.body.toString())]).toEqual([400, 'CALL_MALFORMED'])
  expect(await mesh.planner.records.refusal()).toMatchObject({ reason: 'CALL_MALFORMED' })
})

it('no spelling of an identity, framing or override header reaches the app, and the credential leaves in no Referer', async () => {
  await using app = await startApp()
  await using mesh = await pair(app.place)
  const answer = await request(`${mesh.planner.urlOf('tickets')}/tickets/1`, {
    headers: {
      'X.Troth.Caller': 'LIE',
      'x-troth_caller': 'LIE',
      'X~Troth~Scopes': 'LIE',
      'X+Forwarded+Client.Cert': 'LIE',
      'X.Forwarded.For': 'LIE',
      'X-HTTP-Method-Override': 'LIE',
      'x-http-method': 'LIE',
      X_Method_Override: 'LIE',
      'X-Original-URL': '/LIE',
      'X-Rewrite-URL': '/LIE',
      Content_Length: '1000',
      'Transfer.Encoding': 'LIE',
      referer: `${mesh.planner.urlOf('tickets')}/tickets`,
    },
  })
  expect(answer.status).toBe(200)
  const raw = app.seen[0]?.rawHeaders ?? []
  expect(raw.filter((text) => /LIE|1000/.test(text) || text.includes(mesh.planner.credential))).toEqual([])
})

it('header values pass byte for byte in both directions, with and without a body', async () => {
  await using app = await startApp((incoming, response) => {
    incoming.resume()
    response.writeHead(200, { 'x-name': incoming.headers['x-name'] ?? '' })
    response.end('ok')
  })
  await using mesh = await pair(app.place)
  for (const body of [undefined, 'body']) {
    const method = body === undefined ? 'GET' : 'POST'
    const answer = await request(`${mesh.planner.urlOf('tickets')}/tickets/1`, {
      method,
      headers: { 'x-name': 'caf\u00e9', ...(body === undefined ? {} : { 'content-length': 4 }) },
      ...(body === undefined ? {} : { body: Buffer.from(body) }),
    })
    expect(app.seen.at(-1)?.headers['x-name']).toBe('caf\u00e9')
    expect(answer.headers['x-name']).toBe('caf\u00e9')
  }
})

it('a caller that leaves in the middle of its body is an aborted call, and nothing was malformed', async () => {
  await using app = await startApp()
  app.server.removeAllListeners('request')
  await using mesh = await pair(app.place)
  const { planner, tickets } = mesh
  const socket = await connectPlain(planner.ports.egress)
  socket.write(
    `POST /~${planner.credential}/@tickets/tickets/1 HTTP/1.1\r\nHost: 127.0.0.1:${planner.ports.egress}\r\nContent-Length: 9\r\n\r\nabc`,
  )
  await tickets.records.decision()
  socket.end()
  expect(await planner.records.end()).toMatchObject({ outcome: 'aborted' })
  expect(await tickets.records.end()).toMatchObject({ outcome: 'aborted' })
  expect([planner.records.refusals, tickets.records.refusals]).toEqual([[], []])
})

it('a call id that another instance is using is refused, and the refusal counted', async () => {
  await using app = await startApp()
  await using mesh = await pair(app.place)
  mesh.tickets.records.failing = new MeshError('CALL_ID_INVALID', 'a call of that id is running already')
  const answer = await request(`${mesh.planner.urlOf('tickets')}/tickets/1`)
  expect([answer.status, codeOf(answer.body.toString())]).toEqual([400, 'CALL_ID_INVALID'])
  expect(await mesh.tickets.records.refusal()).toMatchObject({
    reason: 'CALL_ID_INVALID',
    peer: { id: mesh.planner.id },
  })
  expect(app.seen).toEqual([])
})
