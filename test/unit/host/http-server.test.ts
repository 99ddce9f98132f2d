import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import type { Server } from 'node:http'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { closeServer, createHttpServer, listen, type Route, serveRoutes } from '../../../host/http-server.js'
import type { MeshError } from '../../../mesh/errors.js'
import { flag, record, text } from '../../../mesh/parse.js'
import { type MemoryLog, memoryLog } from '../../support/memory-log.js'

const routes: Route[] = [
  { method: 'GET', path: '/v1/things', answer: ({ query }) => ({ json: { q: query.get('q') } }) },
  { method: 'GET', path: '/v1/things/:name', answer: ({ params }) => ({ json: params }) },
  { method: 'DELETE', path: '/v1/things/:name', answer: () => ({ status: 202, json: {} }) },
  { method: 'GET', path: '/text', answer: () => ({ text: 'plain', type: 'text/plain' }) },
  {
    method: 'POST',
    path: '/v1/things',
    maxBytes: 100,
    answer: async ({ body }) => ({ json: await body(record({ a: text(), b: flag }), 'thing') }),
  },
  {
    method: 'GET',
    path: '/bug',
    answer: () => {
      throw new TypeError('secret of the inside')
    },
  },
]

const open: Server[] = []
afterEach(async () => {
  for (const server of open.splice(0)) await closeServer(server, 0)
})

async function serve(): Promise<{ url: string; port: number; log: MemoryLog; server: Server }> {
  const log = memoryLog()
  const server = createHttpServer(serveRoutes(routes, log))
  open.push(server)
  const port = await listen(server, { host: '127.0.0.1', port: 0, flag: '--port' })
  return { url: `http://127.0.0.1:${port}`, port, log, server }
}

async function answerOf(
  url: string,
  init: RequestInit = {},
): Promise<{ status: number; body: unknown; type: string }> {
  const response = await fetch(url, init)
  const body: unknown = await response.json()
  return { status: response.status, body, type: response.headers.get('content-type') ?? '' }
}

/** Sends raw bytes and gives back everything that comes until the server ends. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  socket.end(bytes)
  let answer = ''
  socket.on('data', (chunk) => {
    answer += chunk.toString()
  })
  await once(socket, 'close')
  return answer
}

describe('a table of routes', () => {
  it('answers by method and path, with parameters and query', async () => {
    const { url } = await serve()
    expect(await answerOf(`${url}/v1/things?q=a%20b`)).toMatchObject({ status: 200, body: { q: 'a b' } })
    expect(await answerOf(`${url}/v1/things/web-1`)).toMatchObject({ status: 200, body: { name: 'web-1' } })
    expect(await answerOf(`${url}/v1/things/x`, { method: 'DELETE' })).toMatchObject({ status: 202 })
    const plain = await fetch(`${url}/text`)
    expect([plain.headers.get('content-type'), await plain.text()]).toEqual(['text/plain', 'plain'])
  })

  it.each([
    ['an unknown path', '/v2/things', 'GET', 'NOT_FOUND'],
    ['a path that goes on', '/v1/things/a/b', 'GET', 'NOT_FOUND'],
    ['a slash at its end', '/v1/things/', 'GET', 'NOT_FOUND'],
    ['a parameter that is encoded', '/v1/things/%2e%2e', 'GET', 'NOT_FOUND'],
    ['a parameter that is too long', `/v1/things/${'a'.repeat(129)}`, 'GET', 'NOT_FOUND'],
    ['another method', '/v1/things', 'PUT', 'METHOD_NOT_ALLOWED'],
  ])('refuses %s', async (_what, target, method, code) => {
    const { url } = await serve()
    const { body, type } = await answerOf(`${url}${target}`, { method })
    expect(body).toMatchObject({ code })
    expect(type).toBe('application/problem+json')
  })

  it('refuses a target in absolute form', async () => {
    const { port } = await serve()
    const answer = await raw(port, 'GET http://x/v1/things HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    expect(answer).toContain('NOT_FOUND')
  })

  it('reads a body', async () => {
    const { url } = await serve()
    const sent = { a: 'ä', b: true }
    expect(await answerOf(`${url}/v1/things`, { method: 'POST', body: JSON.stringify(sent) })).toMatchObject({
      body: sent,
    })
  })

  it.each([
    ['no JSON', '{', 400, 'WIRE_MALFORMED'],
    ['nothing', '', 400, 'WIRE_MALFORMED'],
    ['another shape', '{"a":1}', 400, 'WIRE_MALFORMED'],
    ['more than its limit', `"${'x'.repeat(100)}"`, 413, 'WIRE_TOO_LARGE'],
    ['much more than its limit', 'x'.repeat(8 * 1024 * 1024), 413, 'WIRE_TOO_LARGE'],
  ])('answers a body of %s', async (_what, body, status, code) => {
    const { url } = await serve()
    expect(await answerOf(`${url}/v1/things`, { method: 'POST', body })).toMatchObject({
      status,
      body: { code },
    })
  })

  it('notes a body that broke off, and no bug', async () => {
    const { port, log } = await serve()
    const socket = net.connect(port, '127.0.0.1')
    socket.write('POST /v1/things HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"a"')
    await once(socket, 'connect')
    setImmediate(() => socket.destroy())
    const line = await log.line('http.refused')
    expect([line.level, line.fields['code']]).toEqual(['info', 'WIRE_MALFORMED'])
  })

  it('answers a bug without saying what it was, and logs it', async () => {
    const { url, log } = await serve()
    const { status, body } = await answerOf(`${url}/bug`)
    expect([status, JSON.stringify(body).includes('secret')]).toEqual([500, false])
    const line = await log.line('http.refused')
    expect([line.level, line.fields['code']]).toEqual(['error', 'INTERNAL'])
    expect(line.fields['stack']).toContain('secret of the inside')
  })

  it('never logs the query', async () => {
    const { url, log } = await serve()
    await answerOf(`${url}/none?token=hunter2`)
    expect(JSON.stringify(await log.line('http.refused'))).not.toContain('hunter2')
  })

  it('refuses a head beyond its limit', async () => {
    const { port } = await serve()
    const answer = await raw(port, `GET /text HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1\.1 431 /)
  })
})

describe('listening', () => {
  it('on a port that is taken names the port and the flag that chooses another', async () => {
    const { port } = await serve()
    const second = createHttpServer(() => undefined)
    await expect(listen(second, { host: '127.0.0.1', port, flag: '--ca-port' })).rejects.toMatchObject({
      code: 'PORT_BUSY',
      message: expect.stringContaining(String(port)) as string,
      hint: expect.stringContaining('--ca-port') as string,
    })
  })

  it('on an address of another host is a mistake of configuration', async () => {
    const server = createHttpServer(() => undefined)
    await expect(listen(server, { host: '203.0.113.1', port: 0, flag: '--x' })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    })
  })

  it('on a Unix socket lets its owner in alone, and leaves no file behind', async () => {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'th-'))
    const socket = path.join(dir, 's')
    const server = createHttpServer(() => undefined)
    expect(await listen(server, { socket })).toBe(0)
    expect(statSync(socket).mode & 0o777).toBe(0o600)
    await closeServer(server, 0)
    expect(existsSync(socket)).toBe(false)
    rmSync(dir, { recursive: true })
  })

  it('survives that a connection cannot be accepted', async () => {
    const server = createHttpServer(() => undefined)
    await listen(server, { host: '127.0.0.1', port: 0, flag: '--x' })
    open.push(server)
    expect(() => server.emit('error', new Error('accept EMFILE'))).not.toThrow()
  })

  it('on a socket whose path the system would cut is refused', async () => {
    const socket = `/tmp/${'x'.repeat(104)}`
    await expect(
      listen(
        createHttpServer(() => undefined),
        { socket },
      ),
    ).rejects.toMatchObject({
      code: 'SOCKET_PATH_TOO_LONG',
    } satisfies Partial<MeshError>)
  })
})

describe('closing', () => {
  it('destroys a request that outlasts the grace', async () => {
    const server = createHttpServer(() => undefined)
    const port = await listen(server, { host: '127.0.0.1', port: 0, flag: '--x' })
    const socket = net.connect(port, '127.0.0.1')
    const asked = once(server, 'request')
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await asked
    const gone = once(socket, 'close')
    socket.on('error', () => undefined)
    await closeServer(server, 20)
    await gone
  })
})
