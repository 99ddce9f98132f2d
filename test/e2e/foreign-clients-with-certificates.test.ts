// Clients that we did not write, with a certificate and no sidecar, at the ingress of a callee: curl in both versions, nghttp, gnutls-cli,
// openssl s_client, and httpx of Python where it is.

import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { has, PYTHON, run } from '../support/foreign-programs.js'
import { startApp, type TestApp } from '../support/sse.js'
import { identityOf, startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

const dir = mkdtempSync(path.join(tmpdir(), 'troth-foreign-'))
const file = (name: string): string => path.join(dir, name)

let app: TestApp
let mesh: TestMesh
let tickets: TestSidecar

beforeAll(async () => {
  app = await startApp((incoming, response) => {
    if (incoming.method === 'GET') {
      response.end(`${incoming.httpVersion} ${String(incoming.headers['x-troth-caller'])}`)
      return
    }
    const hash = createHash('sha256')
    incoming.on('data', (chunk: Buffer) => hash.update(chunk))
    incoming.on('end', () => response.end(hash.digest('hex')))
  })
  mesh = await startMesh()
  tickets = await mesh.start('tickets', { app: app.place })
  const { keyPem, chainPem } = identityOf(await issueLeaf(mesh.hierarchy, mesh.id('planner')))
  writeFileSync(file('key.pem'), keyPem, { mode: 0o600 })
  writeFileSync(file('chain.pem'), chainPem)
  writeFileSync(file('root.pem'), mesh.hierarchy.rootPem)
  writeFileSync(file('body'), Buffer.alloc(20_000_000, 'body'))
})

afterAll(async () => {
  await mesh[Symbol.asyncDispose]()
  await app[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true })
})

const port = (): number => tickets.ports.ingress
const origin = (): string => `https://tickets.mesh:${port()}`
const curl = async (...args: string[]): Promise<string> => {
  const shown = ['--cert', file('chain.pem'), '--key', file('key.pem'), '--cacert', file('root.pem')]
  const there = ['--resolve', `tickets.mesh:${port()}:127.0.0.1`]
  return (await run('curl', ['-sS', '--max-time', '20', ...shown, ...there, ...args])).stdout
}

describe('a client with a certificate and no sidecar', () => {
  it.each(['--http1.1', '--http2'])(
    'curl %s is served, uploads 20 MB, and is denied what it may not do',
    async (version) => {
      const digest = createHash('sha256').update(Buffer.alloc(20_000_000, 'body')).digest('hex')
      const spoken = version === '--http2' ? '2' : '1.1'
      const told = await curl(version, '-w', ' %{http_version}', `${origin()}/tickets/1`)
      expect(told).toBe(`1.1 ${mesh.id('planner')} ${spoken}`)
      const upload = ['-T', file('body'), '-X', 'POST']
      expect(await curl(version, ...upload, `${origin()}/tickets/1`)).toBe(digest)
      expect(
        await curl(
          version,
          ...upload,
          '-H',
          'content-length:',
          '-H',
          'transfer-encoding: chunked',
          `${origin()}/tickets/1`,
        ),
      ).toBe(digest)
      expect(
        await curl(version, '-I', '-o', '/dev/null', '-w', '%{http_code}', `${origin()}/tickets/1`),
      ).toBe('200')
      expect(
        await curl(version, '-o', '/dev/null', '-w', '%{http_code}', '-d', 'x=1', `${origin()}/other`),
      ).toBe('403')
    },
  )

  it.runIf(has('nghttp', '--version'))('nghttp is served', async () => {
    const shown = [`--cert=${file('chain.pem')}`, `--key=${file('key.pem')}`]
    const there = ['-H', ':authority: tickets.mesh', '-d', file('key.pem'), '--trailer=x-sum: 1']
    const { stdout } = await run('nghttp', [
      '-nv',
      ...shown,
      ...there,
      `https://127.0.0.1:${port()}/tickets/1`,
    ])
    expect(stdout).toMatch(/:status: 200/)
  })

  it.runIf(has('gnutls-cli', '--version'))('gnutls-cli is served in HTTP/1.1', async () => {
    const shown = [`--x509certfile=${file('chain.pem')}`, `--x509keyfile=${file('key.pem')}`]
    const checks = [
      `--x509cafile=${file('root.pem')}`,
      '--sni-hostname=tickets.mesh',
      '--verify-hostname=tickets.mesh',
    ]
    const child = run('gnutls-cli', [...shown, ...checks, '-p', String(port()), '127.0.0.1'])
    child.child.stdin?.write('GET /tickets/1 HTTP/1.1\r\nHost: tickets.mesh\r\nConnection: close\r\n\r\n')
    const { stdout } = await child
    expect(stdout).toContain('The certificate is trusted')
    expect(stdout).toMatch(/HTTP\/1\.1 200 OK[\s\S]*1\.1 spiffe:\/\/flow\.test\/agent\/planner/)
  })

  it('openssl s_client is served in HTTP/1.1, and is shown the name of the callee', async () => {
    const shown = ['-cert', file('chain.pem'), '-cert_chain', file('chain.pem'), '-key', file('key.pem')]
    const checks = ['-CAfile', file('root.pem'), '-verify_return_error', '-verify_hostname', 'tickets.mesh']
    const there = ['-connect', `127.0.0.1:${port()}`, '-servername', 'tickets.mesh', '-ign_eof']
    const child = run('openssl', ['s_client', ...shown, ...checks, ...there])
    child.child.stdin?.write('GET /tickets/1 HTTP/1.1\r\nHost: tickets.mesh\r\nConnection: close\r\n\r\n')
    const { stdout } = await child
    expect(stdout).toContain('Verification: OK')
    expect(stdout).toMatch(/HTTP\/1\.1 200 OK[\s\S]*1\.1 spiffe:\/\/flow\.test\/agent\/planner/)
  })

  it.runIf(has(PYTHON, '-c', 'import httpx, h2'))('httpx of Python is served in HTTP/2', async () => {
    const program = `
import httpx, socket, ssl
resolve = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: resolve('127.0.0.1' if host == 'tickets.mesh' else host, *rest, **more)
context = ssl.create_default_context(cafile='${file('root.pem')}')
context.load_cert_chain('${file('chain.pem')}', '${file('key.pem')}')
with httpx.Client(http2=True, verify=context) as client:
    for _ in range(3):
        answer = client.get('${origin()}/tickets/1')
    print(answer.http_version, answer.status_code)
    print(client.post('${origin()}/tickets/1', content=b'x' * 3000000).status_code)
`
    const { stdout } = await run(PYTHON, ['-c', program])
    expect(stdout).toBe('HTTP/2 200\n200\n')
  })
})
