// Programs that we did not write and sidecars started as a user starts them: what each called stands in both ledgers. Callers: curl, httpx
// and requests of Python; with a certificate of `troth cert issue`: ssl with h2 of Python. Apps: nginx, nghttpd, a Unix socket, gRPC.

import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort, jsonLines, type RunOptions, until } from '../support/cli-home.js'
import { type CliMesh, openCliMesh, pushPolicy, type StartedSidecar } from '../support/cli-mesh.js'
import { has, PYTHON } from '../support/foreign-programs.js'

const SERVICES = ['tickets', 'pages', 'files', 'local', 'talk']
const POLICY = `version: 1
agents:
  - {id: agent/planner, scopes: [all:use]}
  - {id: agent/job, scopes: [all:use]}
services:
${SERVICES.map(
  (name) => `  - id: agent/${name}
    operations:
      - {match: {method: GET, path: /**}, scope: all:use}
      - {match: {method: POST, path: /**}, scope: all:use}`,
).join('\n')}
`
const BODY = Buffer.alloc(5_000_000, 'body')
const DIGEST = createHash('sha256').update(BODY).digest('hex')

let mesh: CliMesh
let app: Server
let tickets: StartedSidecar
let planner: StartedSidecar
let open: number

const at = (...parts: string[]): string => path.join(mesh.home.dir, ...parts)

/** Tells its caller of GET, sends 5 MB at `/bulk`, and answers a body with its digest. */
function answering(said: string): Server {
  return createServer((incoming, response) => {
    if (incoming.url === '/bulk') response.end(BODY)
    else if (incoming.method === 'GET') response.end(`${said} ${String(incoming.headers['x-troth-caller'])}`)
    else {
      const hash = createHash('sha256')
      incoming.on('data', (chunk: Buffer) => hash.update(chunk))
      incoming.on('end', () => response.end(hash.digest('hex')))
    }
  })
}

const listening = (server: Server, where: object): Promise<void> =>
  new Promise((resolve) => server.listen(where, resolve))

beforeAll(async () => {
  mesh = await openCliMesh()
  for (const name of ['planner', 'job', ...SERVICES]) await mesh.home.ok('agent', 'add', name)
  await pushPolicy(mesh.home, POLICY)
  app = answering('tcp')
  const port = await freePort()
  await listening(app, { port, host: '127.0.0.1' })
  tickets = await mesh.sidecar('tickets', ['--app', `127.0.0.1:${port}`])
  open = await freePort()
  planner = await mesh.sidecar('planner', ['--to', `talk=${open},open`])
  await mesh.home.ok('cert', 'issue', 'job', '--out', at('job'))
  writeFileSync(at('body'), BODY)
})

afterAll(async () => {
  await mesh[Symbol.asyncDispose]()
  app.close()
  app.closeAllConnections()
})

const url = (callee: string, rest: string): string =>
  `http://127.0.0.1:${planner.ports.egress}/~${planner.credential()}/@${callee}${rest}`

async function say(program: string, args: readonly string[], options?: RunOptions): Promise<string> {
  const { code, stdout, stderr } = await mesh.home.run(program, args, options)
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${stderr}`)
  return stdout
}

type Row = Record<string, unknown>

/** Rows of an agent's own ledger for an operation, once `count` of them have ended. */
const rowsOf = (agent: string, operation: string, count = 1): Promise<Row[]> =>
  until(`${count} of ${operation} in the ledger of ${agent}`, async () => {
    const ledger = at('agents', agent, 'ledger.db')
    const all = jsonLines(await mesh.home.ok('audit', 'query', '--json', '--ledger', ledger))
    const rows = all.filter((row) => row['operation'] === operation && row['outcome'] !== null)
    return rows.length >= count ? rows : undefined
  })

/** The operation stands once in either ledger, by the same call ID. */
async function expectInBoth(callee: string, operation: string, outcome = 'completed'): Promise<void> {
  const [mine, theirs] = await Promise.all([rowsOf('planner', operation), rowsOf(callee, operation)])
  expect(mine).toEqual([expect.objectContaining({ outcome, decision: 'permit' })])
  expect(theirs).toEqual([expect.objectContaining({ decision: 'permit', callId: mine[0]?.['callId'] })])
}

describe('what a caller that knows nothing of the mesh called stands in both ledgers:', () => {
  it.each(['--http1.1', '--http2', '--http2-prior-knowledge'])('curl %s', async (version) => {
    const upload = `/up${version}`
    const curl = ['-sS', '--max-time', '20', version]
    expect(await say('curl', [...curl, '-T', at('body'), '-X', 'POST', url('tickets', upload)])).toBe(DIGEST)
    await expectInBoth('tickets', `POST ${upload}`)
  })

  it.runIf(has(PYTHON, '-c', 'import httpx, h2'))('httpx, HTTP/2 with prior knowledge', async () => {
    const program = `
import httpx
with httpx.Client(http1=False, http2=True) as client:
    answer = client.get('${url('tickets', '/httpx')}')
    print(answer.http_version, answer.text)`
    expect(await say(PYTHON, ['-c', program])).toBe('HTTP/2 tcp spiffe://acme.internal/agent/planner\n')
    await expectInBoth('tickets', 'GET /httpx')
  })

  it.runIf(has(PYTHON, '-c', 'import requests'))('requests, 5 MB both ways on one connection', async () => {
    const program = `
import requests
session = requests.Session()
session.trust_env = False
print(session.post('${url('tickets', '/requests')}', data=open('${at('body')}', 'rb')).text)
print(len(session.get('${url('tickets', '/bulk')}').content))`
    expect(await say(PYTHON, ['-c', program])).toBe(`${DIGEST}\n5000000\n`)
    await expectInBoth('tickets', 'POST /requests')
  })
})

describe('with a certificate of `troth cert issue` and no sidecar,', () => {
  it.runIf(has(PYTHON, '-c', 'import h2'))('ssl with h2 of Python is served', async () => {
    const program = `
import socket, ssl, h2.connection, h2.events
context = ssl.create_default_context(cafile='${at('job', 'bundle.pem')}')
context.load_cert_chain('${at('job', 'cert.pem')}', '${at('job', 'key.pem')}')
context.set_alpn_protocols(['h2'])
raw = socket.create_connection(('127.0.0.1', ${tickets.ports.ingress}), 10)
tls = context.wrap_socket(raw, server_hostname='tickets.mesh')
talk = h2.connection.H2Connection()
talk.initiate_connection()
talk.send_headers(1, [(':method', 'GET'), (':scheme', 'https'), (':authority', 'tickets.mesh'), (':path', '/h2')], end_stream=True)
tls.sendall(talk.data_to_send())
body, ended = b'', False
while not ended:
    for event in talk.receive_data(tls.recv(65536)):
        if isinstance(event, h2.events.ResponseReceived):
            print(dict(event.headers)[b':status'].decode())
        if isinstance(event, h2.events.DataReceived):
            body += event.data
        ended = ended or isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset))
    tls.sendall(talk.data_to_send())
print(tls.selected_alpn_protocol(), body.decode())`
    const said = await say(PYTHON, ['-c', program])
    expect(said).toBe('200\nh2 tcp spiffe://acme.internal/agent/job\n')
    const [row] = await rowsOf('tickets', 'GET /h2')
    expect(row).toMatchObject({ caller: 'spiffe://acme.internal/agent/job', outcome: 'completed' })
  })
})

describe('an app that knows nothing of the mesh serves behind', () => {
  it.runIf(has('nginx', '-v'))('--app HOST:PORT: nginx, also 5 MB, call after call', async () => {
    const port = await freePort()
    mkdirSync(at('www'))
    chmodSync(mesh.home.dir, 0o755)
    writeFileSync(at('www', 'body'), BODY)
    writeFileSync(
      at('nginx.conf'),
      `daemon off; pid ${at('nginx.pid')}; error_log stderr; events {}
http { access_log off; server { listen 127.0.0.1:${port}; root ${at('www')}; } }`,
    )
    mesh.home.spawn('nginx', ['-p', at(), '-c', at('nginx.conf')])
    await until('nginx', () =>
      fetch(`http://127.0.0.1:${port}/body`).then(
        (a) => a.ok || undefined,
        () => undefined,
      ),
    )
    await mesh.sidecar('pages', ['--app', `127.0.0.1:${port}`])
    for (const version of ['--http1.1', '--http2-prior-knowledge']) {
      await say('curl', ['-sS', version, '-o', at('back'), url('pages', '/body')])
      await say('cmp', [at('body'), at('back')])
      const status = ['-o', at('none'), '-w', '%{http_code}']
      expect(await say('curl', ['-sS', version, ...status, url('pages', '/no')])).toBe('404')
    }
    expect(await rowsOf('pages', 'GET /body', 2)).toHaveLength(2)
  })

  it.runIf(has('nghttpd', '--version'))('--app h2c:HOST:PORT: nghttpd', async () => {
    const port = await freePort()
    mkdirSync(at('h2www'))
    writeFileSync(at('h2www', 'served'), BODY)
    mesh.home.spawn('nghttpd', ['--no-tls', '-a', '127.0.0.1', '-d', at('h2www'), String(port)])
    await mesh.sidecar('files', ['--app', `h2c:127.0.0.1:${port}`])
    await say('curl', ['-sS', '-o', at('back'), url('files', '/served')])
    await say('cmp', [at('body'), at('back')])
    const [[mine], [theirs]] = await Promise.all([
      rowsOf('planner', 'GET /served'),
      rowsOf('files', 'GET /served'),
    ])
    expect(mine).toMatchObject({ status: 200, bytesOut: BODY.length, callId: theirs?.['callId'] })
  })

  it('--app unix:PATH: an app at a Unix socket', async () => {
    const server = answering('unix')
    await listening(server, { path: at('app.sock') })
    await mesh.sidecar('local', ['--app', `unix:${at('app.sock')}`])
    expect(await say('curl', ['-sS', url('local', '/u')])).toBe('unix spiffe://acme.internal/agent/planner')
    await expectInBoth('local', 'GET /u')
    server.close()
    server.closeAllConnections()
  })

  it.runIf(has(PYTHON, '-c', 'import grpc'))(
    '--app HOST:PORT: gRPC of Python, told when its caller cancels',
    async () => {
      const serve = `
import grpc, threading
from concurrent import futures
def endless(request, context):
    over = threading.Event()
    context.add_callback(over.set)
    yield b'first'
    over.wait(20)
    print('over', context.is_active(), flush=True)
def whole(request, context):
    return b'whole ' + request
handlers = {'Endless': grpc.unary_stream_rpc_method_handler(endless), 'Whole': grpc.unary_unary_rpc_method_handler(whole)}
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler('talk', handlers),))
print('port', server.add_insecure_port('127.0.0.1:0'), flush=True)
server.start()
server.wait_for_termination()`
      const server = mesh.home.spawn(PYTHON, ['-c', serve])
      const [, port] = await server.says(/port (\d+)/)
      await mesh.sidecar('talk', ['--app', `127.0.0.1:${port}`])
      const ask = `
import grpc
channel = grpc.insecure_channel('127.0.0.1:${open}')
print(channel.unary_unary('/talk/Whole')(b'a', timeout=10, wait_for_ready=True))
stream = channel.unary_stream('/talk/Endless')(b'', timeout=15)
print(next(stream), stream.cancel())
try:
    next(stream)
except grpc.RpcError as error:
    print(error.code().name)
print(channel.unary_unary('/talk/Whole')(b'after', timeout=10))`
      const told = await say(PYTHON, ['-c', ask])
      expect(told).toBe("b'whole a'\nb'first' True\nCANCELLED\nb'whole after'\n")
      await server.says(/over False/, 5000)
      const [mine, theirs] = await Promise.all([
        rowsOf('planner', 'POST /talk/Endless'),
        rowsOf('talk', 'POST /talk/Endless'),
      ])
      expect(mine).toEqual([expect.objectContaining({ outcome: 'aborted', callId: theirs[0]?.['callId'] })])
      expect(theirs).toEqual([expect.objectContaining({ outcome: 'aborted' })])
    },
  )
})
