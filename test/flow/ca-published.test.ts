import { execFile, execFileSync } from 'node:child_process'
import { createPublicKey, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { request as secureRequest } from 'node:https'
import { tmpdir } from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import { describe, expect, it } from 'vitest'
import { TLS_FLOOR } from '../../host/tls.js'
import { crlText } from '../../mesh/certificate-text.js'
import { type Answer, whole } from '../support/raw-http.js'
import { startCa, type TestCa } from '../support/running-ca.js'

/** Without TLS, at the CA's one port. */
const plain = (ca: TestCa, target: string, method = 'GET', headers = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const where = { host: '127.0.0.1', port: ca.running.port, agent: false }
    request({ ...where, path: target, method, headers }, (answer) => void whole(answer).then(resolve, reject))
      .on('error', reject)
      .end()
  })

/** At the public door, with no certificate of its own. */
const overTls = (ca: TestCa, target: string): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const where = { ...TLS_FLOOR, host: '127.0.0.1', port: ca.running.port, ca: ca.rootPem, agent: false }
    secureRequest({ ...where, path: target }, (answer) => void whole(answer).then(resolve, reject))
      .on('error', reject)
      .end()
  })

const pem = (der: Buffer): string =>
  `-----BEGIN X509 CRL-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END X509 CRL-----\n`

/** The lists of root and issuing CA, PEM, once the issuing CA's names as many. */
async function lists(ca: TestCa, revoked: number): Promise<string[]> {
  const root = await plain(ca, '/crl/root.crl')
  for (;;) {
    const { body } = await plain(ca, '/crl/issuing.crl')
    if (crlText(body).filter((line) => line.includes('Serial Number')).length === revoked)
      return [pem(root.body), pem(body)]
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('what the CA publishes', () => {
  it('is a list and a certificate of each CA, with its type and validators, by name and by key', async () => {
    await using ca = await startCa()
    const { body, headers } = await plain(ca, '/crl/root.crl')
    expect(headers['content-type']).toBe('application/pkix-crl')
    expect(headers['cache-control']).toBe('public, max-age=60')
    expect(Date.parse(headers['last-modified'] ?? '')).toBeGreaterThan(Date.now() - 60_000)
    const head = await plain(ca, '/crl/root.crl', 'HEAD')
    expect([head.status, head.body.length, head.headers['content-length']]).toEqual([
      200,
      0,
      String(body.length),
    ])
    const again = await plain(ca, '/crl/root.crl', 'GET', { 'if-none-match': headers.etag })
    expect([again.status, again.body.length]).toEqual([304, 0])

    const root = await plain(ca, '/crt/root.crt')
    expect(root.headers['content-type']).toBe('application/pkix-cert')
    expect(new X509Certificate(root.body).toString()).toBe(ca.rootPem)
    const { crls } = (await ca.admin('GET', '/v1/crls')).json as { crls: { issuer: string; usage: string }[] }
    expect(crls.map(({ usage }) => usage)).toEqual(['root', 'issuing'])
    for (const { issuer, usage } of crls) {
      const named = await plain(ca, `/crl/${usage}.crl`)
      expect((await plain(ca, `/crl/${issuer}.crl`)).body.equals(named.body)).toBe(true)
      expect((await overTls(ca, `/crl/${issuer}.crl`)).body.equals(named.body)).toBe(true)
    }
  })

  it('lets openssl refuse a revoked certificate and take another, checking the whole chain', async () => {
    await using ca = await startCa()
    const [good, bad] = [await ca.enrol('planner'), await ca.enrol('tickets')]
    const crls = await (async () => {
      await ca.admin('POST', '/v1/revocations', { name: 'tickets', reason: 'keyCompromise' })
      return lists(ca, 1)
    })()
    const dir = mkdtempSync(path.join(tmpdir(), 'crl-'))
    try {
      const write = (name: string, text: string): string => {
        writeFileSync(path.join(dir, name), text)
        return path.join(dir, name)
      }
      const [root, list] = [write('root', ca.rootPem), write('crls', crls.join(''))]
      const verify = (chain: string): Promise<string> => {
        const file = write('chain', chain)
        const args = [
          '-x509_strict',
          '-crl_check_all',
          '-CRLfile',
          list,
          '-CAfile',
          root,
          '-untrusted',
          file,
          file,
        ]
        return new Promise((resolve) =>
          execFile('openssl', ['verify', ...args], (_error, stdout, stderr) => resolve(stdout + stderr)),
        )
      }
      expect(await verify(good.chainPem)).toContain(': OK')
      expect(await verify(bad.chainPem)).toContain('certificate revoked')
      const issuing = write('issuing', (await plain(ca, '/crl/issuing.crl')).body.toString('base64'))
      const text = execFileSync('sh', ['-c', `base64 -d ${issuing} | openssl crl -inform DER -noout -text`])
      expect(text.toString()).toContain('Key Compromise')
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  it('lets a Node server with both lists refuse a revoked client, and take another', async () => {
    await using ca = await startCa()
    const [good, bad] = [await ca.enrol('planner'), await ca.enrol('tickets')]
    await ca.admin('POST', '/v1/revocations', { name: 'tickets' })
    const server = tls.createServer(
      {
        ...TLS_FLOOR,
        key: good.keyPem,
        cert: good.chainPem,
        ca: ca.rootPem,
        crl: await lists(ca, 1),
        requestCert: true,
      },
      (socket) => socket.end('welcome'),
    )
    const refused: string[] = []
    server.on('tlsClientError', (error: NodeJS.ErrnoException) => refused.push(error.code ?? ''))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const ask = ({ keyPem, chainPem }: { keyPem: string; chainPem: string }): Promise<string> =>
      new Promise((resolve) => {
        const names = { checkServerIdentity: () => undefined }
        const options = { ...TLS_FLOOR, ...names, key: keyPem, cert: chainPem, ca: ca.rootPem }
        const socket = tls.connect({ ...options, port, host: '127.0.0.1' })
        let said = ''
        socket.on('data', (chunk: Buffer) => {
          said += chunk.toString()
        })
        socket.on('error', () => undefined)
        socket.on('close', () => resolve(said))
      })
    expect([await ask(good), await ask(bad)]).toEqual(['welcome', ''])
    expect(refused.length).toBe(1)
    await new Promise((resolve) => server.close(resolve))
  })

  it('lists what is suspended as held, what was removed as ended, and keeps numbers rising over a restart', async () => {
    await using ca = await startCa()
    for (const name of ['planner', 'tickets']) await ca.enrol(name)
    await ca.admin('POST', '/v1/agents/planner/suspend', {})
    await ca.admin('DELETE', '/v1/agents/tickets')
    await lists(ca, 2)
    const text = async (): Promise<string> => crlText((await plain(ca, '/crl/issuing.crl')).body).join('\n')
    const before = await text()
    expect(before).toContain('Reason: certificateHold')
    expect(before).toContain('Reason: cessationOfOperation')
    const numberIn = (said: string): number => Number(/CRL Number: (\d+)/.exec(said)?.[1])
    const root = (await plain(ca, '/crl/root.crl')).body
    await ca.restart()
    const after = await text()
    expect(numberIn(after)).toBeGreaterThan(numberIn(before))
    expect(after).toContain('Reason: certificateHold')
    expect((await plain(ca, '/crl/root.crl')).body.equals(root)).toBe(true)
  })
})

describe('the trust bundle endpoint', () => {
  it('gives a bundle that a strict reader takes, without a client certificate, from the SPIFFE ID of the CA', async () => {
    await using ca = await startCa()
    const answer = await overTls(ca, '/v1/bundle')
    expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/json'])
    expect((await plain(ca, '/v1/bundle')).status).toBe(404)
    const bundle = JSON.parse(answer.body.toString('utf8')) as Record<string, unknown>
    expect(Object.keys(bundle).sort()).toEqual(['keys', 'spiffe_refresh_hint', 'spiffe_sequence'])
    expect(Number.isSafeInteger(bundle['spiffe_sequence']) && Number(bundle['spiffe_sequence']) > 0).toBe(
      true,
    )
    expect(bundle['spiffe_refresh_hint']).toBe(300)
    const roots = (bundle['keys'] as Record<string, unknown>[]).map((key) => {
      // X509-SVID §6.1: no kid; what go-spiffe refuses the whole bundle for
      expect(Object.keys(key).sort()).toEqual(['crv', 'kty', 'use', 'x', 'x5c', 'y'])
      expect(key['use']).toBe('x509-svid')
      const x5c = key['x5c'] as string[]
      expect(x5c.length).toBe(1)
      expect(x5c[0]).toMatch(/^[A-Za-z0-9+/]+={0,2}$/)
      const certificate = new X509Certificate(Buffer.from(x5c[0] ?? '', 'base64'))
      expect(certificate.ca).toBe(true)
      const { kty, crv, x, y } = key as { kty: string; crv: string; x: string; y: string }
      expect(createPublicKey({ key: { kty, crv, x, y }, format: 'jwk' }).equals(certificate.publicKey)).toBe(
        true,
      )
      return certificate.toString()
    })
    expect(roots).toEqual([ca.rootPem])
    // https_spiffe: what was fetched verifies the next fetch
    const names = await new Promise<string>((resolve, reject) => {
      const socket = tls.connect(
        { ...TLS_FLOOR, host: '127.0.0.1', port: ca.running.port, ca: roots },
        () => {
          resolve(socket.getPeerX509Certificate()?.subjectAltName ?? '')
          socket.destroy()
        },
      )
      socket.on('error', reject)
    })
    expect(names).toContain('URI:spiffe://acme.internal/ca')
  })

  it('keeps its sequence while the roots are the same, over a restart too', async () => {
    await using ca = await startCa()
    const sequence = async (): Promise<unknown> =>
      (JSON.parse((await overTls(ca, '/v1/bundle')).body.toString('utf8')) as Record<string, unknown>)[
        'spiffe_sequence'
      ]
    const first = await sequence()
    await ca.restart()
    expect(await sequence()).toBe(first)
  })
})
