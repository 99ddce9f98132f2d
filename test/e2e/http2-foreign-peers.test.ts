// The HTTP/2 codec with peers that we did not write, in both roles: curl, nghttp and h2load (nghttp2), Python's h2; and h2spec itself, where
// somebody has installed it.

import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ClientConnection, type ServerConnection } from '../../sidecar/http2/connection.js'
import type { Http2Stream } from '../../sidecar/http2/contract.js'
import { helloServer } from '../support/http2-hello.js'
import { listen } from '../support/http2-log.js'
import { NO_EVENTS, onSocket } from '../support/http2-socket.js'

const run = promisify(execFile)
// Debian's h2 belongs to Debian's python, not to whichever python3 comes first.
const PYTHON = '/usr/bin/python3'
const has = (program: string): boolean => spawnSync(program, ['--version']).error === undefined

let server: Server
let origin: string
const connections: ServerConnection[] = []
const dir = mkdtempSync(path.join(tmpdir(), 'troth-h2-'))

beforeAll(async () => {
  server = helloServer((connection) => connections.push(connection)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterAll(() => {
  server.close()
  rmSync(dir, { recursive: true })
})

describe('our server', () => {
  it('answers curl, and echoes megabytes', async () => {
    const body = path.join(dir, 'body')
    const back = path.join(dir, 'back')
    writeFileSync(body, Buffer.alloc(8_000_000, 'curl'))
    const { stdout } = await run('curl', ['-sS', '--http2-prior-knowledge', '-w', ' %{http_version}', origin])
    expect(stdout).toBe('hello from troth\n 2')
    await run('curl', [
      '-sS',
      '--http2-prior-knowledge',
      '--data-binary',
      `@${body}`,
      '-o',
      back,
      `${origin}/echo`,
    ])
    await run('cmp', [body, back])
  })

  it('answers nghttp, with trailers, padding and windows of any size', async () => {
    const body = path.join(dir, 'small')
    writeFileSync(body, Buffer.alloc(100_000, 'n'))
    const options = ['-v', '--trailer=x-sum: 1', '--padding=200', '-w', '4', '-W', '10', '-d', body]
    const { stdout } = await run('nghttp', [...options, `${origin}/echo`], { maxBuffer: 10_000_000 })
    expect(stdout).toMatch(/:status: 200/)
    expect(stdout).not.toMatch(/INVALID|ERROR(?!\(0x00\))/)
  })

  it('serves h2load without one failure', async () => {
    const { stdout } = await run('h2load', ['-n', '20000', '-c', '4', '-m', '100', origin])
    expect(stdout).toMatch(/20000 succeeded, 0 failed, 0 errored, 0 timeout/)
    await expect.poll(() => connections.every((connection) => connection.openStreams === 0)).toBe(true)
  })

  it('talks with h2 of Python: dynamic table, trailers, a reset, a ping, a window that opens slowly', async () => {
    const port = origin.split(':').at(-1) ?? ''
    const { stdout, stderr } = await run(PYTHON, ['-c', PYTHON_CLIENT, port])
    expect(stderr).toBe('')
    expect(stdout.trim().split('\n')).toEqual(['200 17', '200 17', '200 300000', 'pong', '200 17', 'closed'])
  })
})

describe('our client', () => {
  it('talks with a server of h2 of Python: bodies both ways, trailers, interim heads, GOAWAY', async () => {
    const python = spawn(PYTHON, ['-c', PYTHON_SERVER], { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      const [port] = (await once(createInterface(python.stdout), 'line')) as [string]
      const socket = connect(Number(port), '127.0.0.1')
      await once(socket, 'connect')
      const connection = onSocket(socket, (options) => new ClientConnection(options, NO_EVENTS))
      const answers = [0, 1, 2].map(() => {
        const heard = listen(() => stream)
        const head = {
          method: 'POST',
          scheme: 'http',
          authority: 'python',
          path: '/',
          protocol: null,
          fields: [],
        }
        const stream: Http2Stream = connection.request(head, 'more', heard.sink)
        stream.write(Buffer.alloc(200_000, 'x'))
        stream.endWithTrailers(['x-sum', '200000'])
        return heard.lines
      })
      await expect.poll(() => answers.map((lines) => lines.at(-1))).toEqual(['end', 'end', 'end'])
      for (const lines of answers) {
        expect(lines.filter((line) => !line.startsWith('data ') && line !== 'drain')).toEqual([
          'interim 103',
          'head 200 x-got 200000 x-sum',
          'trailers grpc-status 0',
          'end',
        ])
        expect(
          lines
            .filter((line) => line.startsWith('data '))
            .join('')
            .replaceAll('data ', ''),
        ).toBe('y'.repeat(100_000))
      }
      await expect.poll(() => connection.isClosed).toBe(true)
    } finally {
      python.kill()
    }
  })
})

describe.skipIf(!has('h2spec'))('h2spec', () => {
  it('finds nothing in our server', async () => {
    const { stdout } = await run('h2spec', [
      '-S',
      '-h',
      '127.0.0.1',
      '-p',
      origin.split(':').at(-1) ?? '',
      '-o',
      '1',
    ])
    expect(stdout).toMatch(/147 tests, 147 passed, 0 skipped, 0 failed/)
  })
})

const PYTHON_CLIENT = `
import socket, sys
from h2.connection import H2Connection
from h2.config import H2Configuration
from h2 import events as e
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=10)
c = H2Connection(H2Configuration(client_side=True))
c.initiate_connection(); s.sendall(c.data_to_send())
def head(method, path, *more):
    return [(':method', method), (':scheme', 'http'), (':path', path), (':authority', 'localhost'), ('user-agent', 'python'), *more]
def pump(want, stream=None):
    status, size = None, 0
    while True:
        for event in c.receive_data(s.recv(65536)):
            if isinstance(event, e.ResponseReceived): status = dict(event.headers)[b':status'].decode()
            if isinstance(event, e.DataReceived):
                size += len(event.data)
                c.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if isinstance(event, want) and (stream is None or event.stream_id == stream):
                s.sendall(c.data_to_send()); return status, size
        s.sendall(c.data_to_send())
for n in (1, 3):
    c.send_headers(n, head('GET', '/', ('x-repeated', 'the same each time')), end_stream=True); s.sendall(c.data_to_send())
    print(*pump(e.StreamEnded, n))
c.send_headers(5, head('POST', '/echo')); sent = 0; status, size = None, 0; done = False
while not done:
    room = min(c.local_flow_control_window(5), c.max_outbound_frame_size, 300000 - sent)
    if room > 0: c.send_data(5, b'p' * room); sent += room
    if sent == 300000 and room >= 0 and sent is not None and room == 0 and c.streams[5].open and not getattr(c, 'over', False):
        c.over = True; c.send_headers(5, [('x-sum', '300000')], end_stream=True)
    s.sendall(c.data_to_send())
    if sent < 300000 and room > 0: continue
    for event in c.receive_data(s.recv(65536)):
        if isinstance(event, e.ResponseReceived): status = dict(event.headers)[b':status'].decode()
        if isinstance(event, e.DataReceived): size += len(event.data); c.acknowledge_received_data(event.flow_controlled_length, 5)
        if isinstance(event, e.StreamEnded): done = True
    s.sendall(c.data_to_send())
print(status, size)
c.ping(b'python!!'); s.sendall(c.data_to_send()); pump(e.PingAckReceived); print('pong')
c.send_headers(7, head('POST', '/echo')); c.send_data(7, b'cut short'); c.reset_stream(7, 8)
c.send_headers(9, head('GET', '/'), end_stream=True); s.sendall(c.data_to_send())
print(*pump(e.StreamEnded, 9))
c.close_connection(); s.sendall(c.data_to_send())
while s.recv(65536): pass
print('closed')
`

const PYTHON_SERVER = `
import socket
from h2.connection import H2Connection
from h2.config import H2Configuration
from h2 import events as e
l = socket.create_server(('127.0.0.1', 0)); print(l.getsockname()[1], flush=True)
s, _ = l.accept()
c = H2Connection(H2Configuration(client_side=False, header_encoding='utf-8'))
c.initiate_connection(); s.sendall(c.data_to_send())
got, sums, left, ended = {}, {}, {}, 0
def send():
    global ended
    for n in list(left):
        while left[n] and c.local_flow_control_window(n) > 0:
            room = min(left[n], c.local_flow_control_window(n), c.max_outbound_frame_size)
            c.send_data(n, b'y' * room); left[n] -= room
        if not left[n]:
            del left[n]; ended += 1
            c.send_headers(n, [('grpc-status', '0')], end_stream=True)
while True:
    data = s.recv(65536)
    if not data: break
    for event in c.receive_data(data):
        if isinstance(event, e.RequestReceived):
            got[event.stream_id] = 0
            c.send_headers(event.stream_id, [(':status', '103')])
        if isinstance(event, e.DataReceived):
            got[event.stream_id] += len(event.data)
            c.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if isinstance(event, e.TrailersReceived): sums[event.stream_id] = event.headers[0][0]
        if isinstance(event, e.StreamEnded):
            n = event.stream_id
            c.send_headers(n, [(':status', '200'), ('x-got', str(got[n])), (sums[n], '')]); left[n] = 100000
    send()
    if ended == 3: ended = 4; c.close_connection(last_stream_id=5)
    s.sendall(c.data_to_send())
`
