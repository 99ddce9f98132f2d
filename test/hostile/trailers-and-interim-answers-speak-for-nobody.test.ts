import net, { type AddressInfo } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { data, END_HEADERS, HELLO, headers, PREFACE } from '../support/http2-raw.js'
import { connectPlain, request, sendRaw } from '../support/raw-http.js'
import { startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** An app of plain bytes. */
async function startByteApp(answer: (socket: net.Socket, bytes: Buffer) => void): Promise<number> {
  const server = net.createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk) => answer(socket, chunk))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => server.close())
  return (server.address() as AddressInfo).port
}

async function pair(app: {
  port: number
  http?: 'h2c'
}): Promise<TestMesh & { tickets: TestSidecar; planner: TestSidecar }> {
  const mesh = await startMesh()
  closers.push(() => mesh[Symbol.asyncDispose]())
  const place = { host: '127.0.0.1', port: app.port, ...(app.http === undefined ? {} : { http: app.http }) }
  const tickets = await mesh.start('tickets', { app: place })
  return { ...mesh, tickets, planner: await mesh.start('planner') }
}

const SPOKEN = [
  'X-Troth-Caller: spiffe://flow.test/agent/boss',
  'X_Troth_Scopes: tickets:write',
  'Troth-Call: v=1; id=01890000-0000-7000-8000-000000000000',
  'X-Forwarded-Client-Cert: By=x',
  'Proxy-Authorization: Bearer secret',
]

it('trailers of a request bring the app nothing that only the sidecars may say', async () => {
  let seen = ''
  const port = await startByteApp((socket, bytes) => {
    seen += bytes.toString('latin1')
    if (seen.endsWith('\r\n\r\n') && seen.includes('\r\n0\r\n'))
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok')
  })
  const { planner } = await pair({ port })
  const socket = await connectPlain(planner.ports.egress)
  socket.write(
    `POST /~${planner.credential}/@tickets/tickets/1 HTTP/1.1\r\nHost: 127.0.0.1:${planner.ports.egress}\r\n` +
      `Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n${SPOKEN.join('\r\n')}\r\n\r\n`,
  )
  await new Promise((resolve) => socket.resume().once('close', resolve))
  const [, trailers = ''] = seen.split('\r\n0\r\n')
  expect(trailers).toBe('x-sum: 1\r\n\r\n')
})

it('trailers of an answer bring the agent nothing that only the sidecars may say', async () => {
  const port = await startByteApp((socket) =>
    socket.write(
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n${SPOKEN.join('\r\n')}\r\n\r\n`,
    ),
  )
  const { planner } = await pair({ port })
  const socket = await connectPlain(planner.ports.egress)
  let answer = ''
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1')
  })
  socket.write(
    `GET /~${planner.credential}/@tickets/tickets/1 HTTP/1.1\r\nHost: 127.0.0.1:${planner.ports.egress}\r\nConnection: close\r\n\r\n`,
  )
  await new Promise((resolve) => socket.once('close', resolve))
  const [, trailers = ''] = answer.split('\r\n0\r\n')
  expect(trailers).toBe('x-sum: 1\r\n\r\n')
})

it('interim answers bring nothing either, and only a few of them pass', async () => {
  const interim = `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n${SPOKEN.join('\r\n')}\r\n\r\n`
  const port = await startByteApp((socket) =>
    socket.write(`${interim.repeat(90)}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`),
  )
  const { planner } = await pair({ port })
  const socket = await connectPlain(planner.ports.egress)
  let answer = ''
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1')
  })
  socket.write(
    `GET /~${planner.credential}/@tickets/tickets/1 HTTP/1.1\r\nHost: 127.0.0.1:${planner.ports.egress}\r\nConnection: close\r\n\r\n`,
  )
  await new Promise((resolve) => socket.once('close', resolve))
  const heads = answer.split('\r\n\r\n')
  const early = heads.filter((head) => head.startsWith('HTTP/1.1 103'))
  expect(new Set(early)).toEqual(new Set(['HTTP/1.1 103 Early Hints\r\nlink: </a>']))
  expect(early.length).toBeLessThanOrEqual(16)
  expect(answer).toContain('HTTP/1.1 200 OK')
})

it('trailers that HTTP/1.1 cannot say, behind a body that is held back, end no process', async () => {
  const trailers = [
    ['http2-settings', 'x'],
    ['x-sum', '1'],
  ] as const
  const port = await startByteApp((socket, bytes) => {
    if (!bytes.includes(PREFACE)) return
    const body = Buffer.alloc(16_384, 'a')
    const frames = Array.from({ length: 15 }, () => data(1, body, 0))
    socket.write(
      Buffer.concat([HELLO, headers(1, [[':status', '200']], END_HEADERS), ...frames, headers(1, trailers)]),
    )
  })
  const { planner } = await pair({ port, http: 'h2c' })
  const socket = await connectPlain(planner.ports.egress)
  const raw = await sendRaw(
    socket,
    `GET /~${planner.credential}/@tickets/tickets/1 HTTP/1.1\r\nHost: 127.0.0.1:${planner.ports.egress}\r\nConnection: close\r\n\r\n`,
  )
  expect(raw.endsWith('\r\n0\r\nx-sum: 1\r\n\r\n')).toBe(true)
  expect(await planner.records.end()).toMatchObject({ outcome: 'completed' })
})

it('a HEAD that is denied is told so, and recorded so on both sides', async () => {
  const port = await startByteApp((socket) => socket.end())
  const { planner, tickets } = await pair({ port })
  const answer = await request(`${planner.urlOf('tickets')}/elsewhere`, { method: 'HEAD' })
  expect(answer.status).toBe(403)
  expect((await tickets.records.decision()).decision).toBe('deny')
  expect(await planner.records.end()).toMatchObject({
    outcome: 'failed',
    reason: (await tickets.records.end()).reason,
    status: 403,
  })
})

it('a WebSocket that is refused is over, on both sides', async () => {
  const port = await startByteApp((socket) =>
    socket.write('HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno'),
  )
  const { planner, tickets } = await pair({ port })
  const open = (path: string): string =>
    `GET /~${planner.credential}/@tickets${path} HTTP/1.1\r\nHost: 127.0.0.1:${planner.ports.egress}\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`
  for (const [nth, [path, status, reason]] of (
    [
      ['/tickets/1', 404, 'OK'],
      ['/elsewhere', 403, 'POLICY_NO_OPERATION'],
    ] as const
  ).entries()) {
    const socket = await connectPlain(planner.ports.egress)
    const said = new Promise<string>((resolve) => socket.once('data', (chunk) => resolve(chunk.toString())))
    socket.write(open(path))
    expect(await said).toContain(`HTTP/1.1 ${status}`)
    expect((await tickets.records.end(nth)).status).toBe(status)
    expect(await planner.records.end(nth)).toMatchObject({ status, reason })
    socket.destroy()
  }
})
