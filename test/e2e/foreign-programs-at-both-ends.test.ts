// Programs that we did not write behind and before two whole sidecars: curl, nghttp, h2load, and httpx, requests and websockets of Python as
// callers; nghttpd, http.server, a Unix socket and gRPC of Python as apps.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { has, PYTHON, run, startProgram } from '../support/foreign-programs.js'
import { until } from '../support/real-sidecars.js'
import { startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

const BODY = Buffer.alloc(5_000_000, 'body')
const DIGEST = createHash('sha256').update(BODY).digest('hex')
const dir = mkdtempSync(path.join(tmpdir(), 'troth-both-'))
const file = (name: string): string => path.join(dir, name)

/** Echoes what it needs to tell: the version it was spoken to, its caller, the digest of a body; events; WebSocket messages. */
function startEchoApp(): http.Server {
  const app = http.createServer((incoming, response) => {
    if (incoming.url === '/tickets/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const nth of [1, 2, 3]) response.write(`data: ${nth}\n\n`)
      response.end()
    } else if (incoming.url === '/tickets/bulk') response.end(BODY)
    else if (incoming.method === 'GET') {
      response.writeHead(200, { trailer: 'x-sum' })
      response.write(`${incoming.httpVersion} ${String(incoming.headers['x-troth-caller'])}`)
      response.addTrailers({ 'x-sum': '42' })
      response.end()
    } else {
      const hash = createHash('sha256')
      incoming.on('data', (chunk: Buffer) => hash.update(chunk))
      incoming.on('end', () => response.end(hash.digest('hex')))
    }
  })
  const sockets = new WebSocketServer({ server: app })
  sockets.on('connection', (socket) =>
    socket.on('message', (text: Buffer) => socket.send(`echo ${text.toString()}`)),
  )
  return app.listen(0, '127.0.0.1')
}

const placeOf = (server: http.Server): { host: string; port: number } => ({
  host: '127.0.0.1',
  port: (server.address() as AddressInfo).port,
})

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}

const isListening = (port: number): Promise<true | undefined> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(undefined))
  })

let app: http.Server
let mesh: TestMesh
let tickets: TestSidecar
let planner: TestSidecar

beforeAll(async () => {
  app = startEchoApp()
  await once(app, 'listening')
  mesh = await startMesh()
  tickets = await mesh.start('tickets', { app: placeOf(app) })
  planner = await mesh.start('planner')
  writeFileSync(file('body'), BODY)
})

afterAll(async () => {
  await mesh[Symbol.asyncDispose]()
  app.close()
  app.closeAllConnections()
  rmSync(dir, { recursive: true })
})

const url = (rest: string): string => `${planner.urlOf('tickets')}${rest}`
const told = (): string => `1.1 ${mesh.id('planner')}`
const python = async (program: string): Promise<string> => (await run(PYTHON, ['-c', program])).stdout

describe('a caller that knows nothing of the mesh', () => {
  it.each(['--http1.1', '--http2', '--http2-prior-knowledge'])(
    'curl %s is served, loads 5 MB both ways, reads events, and is denied what it may not do',
    async (version) => {
      const curl = async (...args: string[]): Promise<string> =>
        (await run('curl', ['-sS', '--max-time', '20', version, ...args])).stdout
      const ended = tickets.records.ends.length
      expect(await curl(url('/tickets/1'))).toBe(told())
      expect(await curl('-T', file('body'), '-X', 'POST', url('/tickets/1'))).toBe(DIGEST)
      await curl('-o', file('back'), url('/tickets/bulk'))
      await run('cmp', [file('body'), file('back')])
      expect(await curl('-N', url('/tickets/events'))).toBe('data: 1\n\ndata: 2\n\ndata: 3\n\n')
      expect(await curl('-o', '/dev/null', '-w', '%{http_code}', url('/other'))).toBe('403')
      await tickets.records.end(ended + 4)
      const outcomes = tickets.records.ends.slice(ended).map(({ outcome }) => outcome)
      expect(outcomes).toEqual(['completed', 'completed', 'completed', 'completed', 'failed'])
    },
  )

  it.runIf(has('nghttp', '--version'))('nghttp is told the trailers, and may send some', async () => {
    const { stdout } = await run('nghttp', [
      '-v',
      '--trailer=x-own: 1',
      '-d',
      file('body'),
      url('/tickets/1'),
    ])
    expect(stdout).toContain(DIGEST)
    const got = await run('nghttp', ['-v', url('/tickets/1')])
    expect(got.stdout).toContain('x-sum: 42')
  })

  it.runIf(has('h2load', '--version'))('h2load gets an answer to each of 2000 calls', async () => {
    const { stdout } = await run('h2load', ['-n', '2000', '-c', '4', '-m', '50', url('/tickets/1')])
    expect(stdout).toMatch(/2000 succeeded, 0 failed, 0 errored/)
    expect(stdout).toMatch(/status codes: 2000 2xx/)
  })

  it.runIf(has(PYTHON, '-c', 'import httpx, h2'))('httpx of Python is served in both versions', async () => {
    const program = `
import httpx
for http2 in (False, True):
    with httpx.Client(http1=not http2, http2=http2) as client:
        answers = [client.get('${url('/tickets/1')}') for _ in range(3)]
        print(answers[-1].http_version, [a.status_code for a in answers])
        print(client.post('${url('/tickets/1')}', content=open('${file('body')}', 'rb').read()).text)
        print(len(client.get('${url('/tickets/bulk')}').content))
`
    const lines = (version: string): string => `${version} [200, 200, 200]\n${DIGEST}\n5000000\n`
    expect(await python(program)).toBe(lines('HTTP/1.1') + lines('HTTP/2'))
  })

  it.runIf(has(PYTHON, '-c', 'import websockets'))('websockets of Python talks to the app', async () => {
    const program = `
import asyncio, websockets
async def main():
    async with websockets.connect('${url('/tickets/live').replace('http:', 'ws:')}') as socket:
        for text in ('one', 'x' * 200000):
            await socket.send(text)
            answer = await socket.recv()
            print(answer[:8], len(answer))
asyncio.run(main())
`
    expect(await python(program)).toBe('echo one 8\necho xxx 200005\n')
  })
})

describe('an app that knows nothing of the mesh', () => {
  it.runIf(has('nghttpd', '--version'))('nghttpd serves behind --app h2c, also 5 MB', async () => {
    const port = await freePort()
    await run('mkdir', ['-p', file('www/tickets')])
    await run('cp', [file('body'), file('www/tickets/body')])
    const child = run('nghttpd', ['--no-tls', '-a', '127.0.0.1', '-d', file('www'), String(port)])
    await until('nghttpd', () => isListening(port))
    await using other = await startMesh()
    await other.start('tickets', { app: { host: '127.0.0.1', port, http: 'h2c' } })
    const caller = await other.start('planner')
    for (const version of ['--http1.1', '--http2-prior-knowledge']) {
      await run('curl', ['-sS', version, '-o', file('back'), `${caller.urlOf('tickets')}/tickets/body`])
      await run('cmp', [file('body'), file('back')])
    }
    child.child.kill()
    await child.catch(() => undefined)
  })

  it('http.server of Python, which knows HTTP/1.0 only, serves call after call', async () => {
    const program = `
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'from ' + self.protocol_version.encode())
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
`
    await using server = await startProgram('python3', ['-c', program])
    await using other = await startMesh()
    await other.start('tickets', { app: { host: '127.0.0.1', port: Number(server.said) } })
    const caller = await other.start('planner')
    const calls = Array.from({ length: 5 }, () => `${caller.urlOf('tickets')}/tickets/1`)
    const { stdout } = await run('curl', ['-sS', ...calls])
    expect(stdout).toBe('from HTTP/1.0'.repeat(5))
  })

  it('one at a Unix socket is served like any other', async () => {
    const socketPath = file('app.sock')
    const server = http.createServer((_request, response) => response.end('by socket')).listen(socketPath)
    await once(server, 'listening')
    await using other = await startMesh()
    await other.start('tickets', { app: { socketPath } })
    const caller = await other.start('planner')
    const { stdout } = await run('curl', ['-sS', `${caller.urlOf('tickets')}/tickets/1`])
    expect(stdout).toBe('by socket')
    server.close()
    server.closeAllConnections()
  })

  it.runIf(has(PYTHON, '-c', 'import grpc'))('gRPC of Python speaks to gRPC of Python', async () => {
    const serve = `
import grpc, time
from concurrent import futures
def whole(request, context):
    if request == b'wait':
        time.sleep(5)
    context.set_trailing_metadata((('x-sum', '42'),))
    return b'whole ' + request
def count(request, context):
    for n in range(int(request)):
        yield str(n).encode()
def gather(requests, context):
    return b''.join(requests)
def chat(requests, context):
    for request in requests:
        yield b'you said ' + request
handlers = {
    'Whole': grpc.unary_unary_rpc_method_handler(whole), 'Count': grpc.unary_stream_rpc_method_handler(count),
    'Gather': grpc.stream_unary_rpc_method_handler(gather), 'Chat': grpc.stream_stream_rpc_method_handler(chat)}
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler('tickets', handlers),))
print(server.add_insecure_port('127.0.0.1:0'), flush=True)
server.start()
server.wait_for_termination()
`
    await using server = await startProgram(PYTHON, ['-c', serve])
    await using other = await startMesh()
    await other.start('tickets', { app: { host: '127.0.0.1', port: Number(server.said) } })
    const port = await freePort()
    await other.start('planner', { to: [{ callee: 'tickets' as never, port, open: true }] })
    const ask = `
import grpc
channel = grpc.insecure_channel('127.0.0.1:${port}')
print(channel.unary_unary('/tickets/Whole')(b'x' * 1000000)[:7])
answer, call = channel.unary_unary('/tickets/Whole').with_call(b'a')
print(answer, [v for k, v in call.trailing_metadata() if k == 'x-sum'])
print(b' '.join(channel.unary_stream('/tickets/Count')(b'5')))
print(channel.stream_unary('/tickets/Gather')(iter([b'a', b'b', b'c'])))
print(list(channel.stream_stream('/tickets/Chat')(iter([b'one', b'two']))))
for method, body, timeout in (('Whole', b'wait', 0.3), ('None', b'', 5)):
    try:
        channel.unary_unary('/tickets/' + method)(body, timeout=timeout)
    except grpc.RpcError as error:
        print(error.code().name)
try:
    channel.unary_unary('/other/Whole')(b'', timeout=5)
except grpc.RpcError as error:
    print(error.code().name)
`
    expect(await python(ask)).toBe(
      [
        "b'whole x'",
        "b'whole a' ['42']",
        "b'0 1 2 3 4'",
        "b'abc'",
        "[b'you said one', b'you said two']",
        'DEADLINE_EXCEEDED',
        'UNIMPLEMENTED',
        'PERMISSION_DENIED',
        '',
      ].join('\n'),
    )
  })
})
