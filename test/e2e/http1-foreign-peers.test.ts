// The HTTP/1.1 codec with peers that we did not write, in both roles: curl, wrk where it is installed, and Python's http.client and http.server.

import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Http1Client } from '../../sidecar/http1/client-connection.js'
import { DEFAULT_HTTP1_LIMITS } from '../../sidecar/http1/contract.js'
import { helloServer } from '../support/http1-hello.js'
import { onSocket } from '../support/http1-socket.js'
import { GET } from '../support/http1-talk.js'

const run = promisify(execFile)
const PYTHON = '/usr/bin/python3'
const HELLO = 'hello from troth\n'

let server: Server
let origin: string
const dir = mkdtempSync(path.join(tmpdir(), 'troth-h1-'))

beforeAll(async () => {
  server = helloServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterAll(() => {
  server.close()
  rmSync(dir, { recursive: true })
})

describe('our server', () => {
  it('answers curl twice on one connection, in both versions, and HEAD', async () => {
    const { stdout } = await run('curl', ['-sS', '-w', '%{num_connects}\n', origin, origin])
    expect(stdout).toBe(`${HELLO}1\n${HELLO}0\n`)
    const old = await run('curl', ['-sS', '--http1.0', '-w', '%{response_code}', origin])
    expect(old.stdout).toBe(`${HELLO}200`)
    const kept = await run('curl', [
      '-sS',
      '--http1.0',
      '-H',
      'Connection: keep-alive',
      '-w',
      '%{num_connects}',
      origin,
      origin,
    ])
    expect(kept.stdout).toBe(`${HELLO}1${HELLO}0`)
    expect((await run('curl', ['-sSI', origin])).stdout).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  })

  it('echoes megabytes to curl, by length and in chunks', async () => {
    const body = path.join(dir, 'body')
    const back = path.join(dir, 'back')
    writeFileSync(body, Buffer.alloc(8_000_000, 'curl'))
    for (const options of [[], ['-H', 'Transfer-Encoding: chunked']]) {
      await run('curl', [
        '-sS',
        '-H',
        'Expect:',
        ...options,
        '--data-binary',
        `@${body}`,
        '-o',
        back,
        `${origin}/echo`,
      ])
      await run('cmp', [body, back])
    }
  })

  it('does not hear an offer of h2c, and answers in HTTP/1.1', async () => {
    const { stdout } = await run('curl', ['-sS', '--http2', '-w', '%{http_version}', origin])
    expect(stdout).toBe(`${HELLO}1.1`)
  })

  it('talks with http.client of Python: kept connections, chunks, and a refusal', async () => {
    const { stdout } = await run(PYTHON, ['-c', PYTHON_CLIENT, origin.split(':').at(-1) ?? ''])
    expect(stdout.trim().split('\n')).toEqual(['200 17', '200 17', '200 300000', '400 CALL_MALFORMED'])
  })

  it.runIf(spawnSync('wrk', ['-v']).error === undefined)('serves wrk without one failure', async () => {
    const { stdout } = await run('wrk', ['-c', '8', '-t', '1', '-d', '1s', origin])
    expect(stdout).toMatch(/requests in/)
    expect(stdout).not.toMatch(/Socket errors|Non-2xx/)
  })
})

const PYTHON_CLIENT = `
import http.client, sys
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
for _ in range(2):
    c.request("GET", "/"); r = c.getresponse(); print(r.status, len(r.read()))
c.request("POST", "/echo", body=(b"x" * 1000 for _ in range(300)), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
r = c.getresponse(); print(r.status, len(r.read()))
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
c.putrequest("GET", "/", skip_host=True); c.endheaders(); r = c.getresponse(); print(r.status, r.getheader("x-code"))
`

const PYTHON_SERVER = `
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = sys.argv[1]
    def log_message(self, *_): pass
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        if self.protocol_version == "HTTP/1.1": self.send_header("Content-Length", str(len(body)))
        self.end_headers(); self.wfile.write(body)
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H); print(s.server_port, flush=True); s.serve_forever()
`

describe('our client', () => {
  it.each(['HTTP/1.1', 'HTTP/1.0'])('talks with http.server of Python in %s', async (version) => {
    const python = spawn(PYTHON, ['-c', PYTHON_SERVER, version], { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      const [port] = (await once(createInterface(python.stdout), 'line')) as [string]
      const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
      let received = 0
      const end = await new Promise<string>((resolve, reject) => {
        const events = { onIdle: () => resolve('idle'), onClose: () => resolve('close') }
        const client = onSocket(
          socket,
          (wire) => new Http1Client({ wire, limits: DEFAULT_HTTP1_LIMITS, now: () => 0 }, events),
        )
        const head = { ...GET, method: 'POST', fields: ['content-length', '200000'] }
        const stream = client.request(head, 'more', {
          onInterim: () => undefined,
          onHead: ({ status }) => expect(status).toBe(200),
          onData: (bytes) => {
            received += bytes.length
            stream.consume(bytes.length)
          },
          onTrailers: () => undefined,
          onEnd: () => undefined,
          onReset: reject,
          onDrain: () => undefined,
        })
        stream.end(Buffer.alloc(200_000, 'x'))
      })
      expect(end).toBe(version === 'HTTP/1.1' ? 'idle' : 'close')
      expect(received).toBe(200_000)
      socket.destroy()
    } finally {
      python.kill()
    }
  })
})
