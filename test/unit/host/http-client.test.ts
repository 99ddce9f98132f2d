import { mkdtempSync, rmSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type JsonRequest, requestJson, type Target } from '../../../host/http-client.js'
import { closeServer, createHttpServer, listen, sendProblem } from '../../../host/http-server.js'
import { MeshError } from '../../../mesh/errors.js'
import { record, text } from '../../../mesh/parse.js'

const read = record({ a: text() })
const request: JsonRequest<{ a: string }> = {
  method: 'POST',
  path: '/v1/x',
  body: { q: 'ä' },
  read,
  what: 'answer of x',
  timeoutMs: 5000,
  unreachable: 'CA_ADMIN_UNREACHABLE',
}

let dir: string
let closing: (() => Promise<void>)[]
beforeEach(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'th-'))
  closing = []
})
afterEach(async () => {
  for (const close of closing) await close()
  rmSync(dir, { recursive: true, force: true })
})

async function serve(listener: (raw: IncomingMessage, response: ServerResponse) => void): Promise<Target> {
  const server = createHttpServer(listener)
  const socketPath = path.join(dir, 's')
  await listen(server, { socket: socketPath })
  closing.push(() => closeServer(server, 0))
  return { socketPath }
}

describe('a request', () => {
  it('sends JSON with its length and reads the answer', async () => {
    let seen: unknown
    const target = await serve((raw, response) => {
      seen = [raw.method, raw.url, raw.headers['content-length'], raw.headers['content-type']]
      response.end('{"a":"b","later":1}')
    })
    expect(await requestJson(target, request)).toEqual({ a: 'b' })
    expect(seen).toEqual(['POST', '/v1/x', String(Buffer.byteLength('{"q":"ä"}')), 'application/json'])
  })

  it('uses a connection of its own each time', async () => {
    const sockets = new Set<unknown>()
    const target = await serve((raw, response) => {
      sockets.add(raw.socket)
      response.end('{"a":"b"}')
    })
    await requestJson(target, request)
    await requestJson(target, request)
    expect(sockets.size).toBe(2)
  })

  it('fails with the error that the server answered', async () => {
    const target = await serve((_raw, response) =>
      sendProblem(response, new MeshError('JOIN_TOKEN_SPENT', 'spent', { hint: 'mint one' })),
    )
    await expect(requestJson(target, request)).rejects.toMatchObject({
      code: 'JOIN_TOKEN_SPENT',
      message: 'spent',
      hint: 'mint one',
    })
  })

  it.each([
    ['no JSON', 200, 'x'],
    ['another shape', 200, '{"a":1}'],
    ['a failure that is no problem of ours', 502, '<html>'],
    ['a redirection', 302, ''],
  ])('refuses an answer of %s', async (_what, status, body) => {
    const target = await serve((_raw, response) => response.writeHead(status, { location: '/y' }).end(body))
    await expect(requestJson(target, request)).rejects.toMatchObject({ code: 'WIRE_MALFORMED' })
  })

  it('fails with the code of its caller when nobody listens', async () => {
    await expect(requestJson({ socketPath: path.join(dir, 'none') }, request)).rejects.toMatchObject({
      code: 'CA_ADMIN_UNREACHABLE',
      message: expect.stringContaining('ENOENT') as string,
    })
  })

  it('fails when the answer does not come in time', async () => {
    const target = await serve(() => undefined)
    await expect(requestJson(target, { ...request, timeoutMs: 50 })).rejects.toMatchObject({
      code: 'CA_ADMIN_UNREACHABLE',
      message: expect.stringContaining('50 ms') as string,
    })
  })

  it('fails when the answer begins and then dribbles beyond its time', async () => {
    const target = await serve((_raw, response) => {
      response.write('{"a":')
    })
    await expect(requestJson(target, { ...request, timeoutMs: 100 })).rejects.toMatchObject({
      code: 'CA_ADMIN_UNREACHABLE',
    })
  })

  it('fails when the connection breaks in the middle of the answer', async () => {
    const target = await serve((_raw, response) => {
      response.writeHead(200, { 'content-length': 100 })
      response.write('{"a":', () => response.destroy())
    })
    await expect(requestJson(target, request)).rejects.toMatchObject({ code: 'CA_ADMIN_UNREACHABLE' })
  })

  it('fails when the other side does not speak HTTP', async () => {
    const socketPath = path.join(dir, 'other')
    const server = net.createServer(
      (socket) =>
        void socket
          .on('error', () => undefined)
          .resume()
          .end('SSH-2.0-x\r\n'),
    )
    await listen(server, { socket: socketPath })
    closing.push(
      () =>
        new Promise((resolve) => {
          server.close(() => resolve())
        }),
    )
    await expect(requestJson({ socketPath }, request)).rejects.toMatchObject({ code: 'CA_ADMIN_UNREACHABLE' })
  })
})
