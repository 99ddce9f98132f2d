import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import type { Identity } from '../../member/identity/credentials.js'
import { codeOf, connectPlain, connectTls, sendRaw, statusOf } from '../support/raw-http.js'
import { startApp, type TestApp } from '../support/sse.js'
import { identityOf, startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

/** `%T`: a path at this door; `%H`: the Host it wants. */
const HOSTILE: readonly (readonly [name: string, code: string, bytes: string])[] = [
  ['two Host lines', 'CALL_MALFORMED', 'GET %T HTTP/1.1\r\nHost: %H\r\nHost: %H\r\n\r\n'],
  ['no Host', 'CALL_MALFORMED', 'GET %T HTTP/1.1\r\n\r\n'],
  ['an empty Host', 'CALL_MALFORMED', 'GET %T HTTP/1.1\r\nHost:\r\n\r\n'],
  ['a Host with userinfo', 'CALL_MALFORMED', 'GET %T HTTP/1.1\r\nHost: a@%H\r\n\r\n'],
  ['a Host with a path', 'CALL_MALFORMED', 'GET %T HTTP/1.1\r\nHost: %H/x\r\n\r\n'],
  [
    'an absolute form with another Host',
    'CALL_MALFORMED',
    'GET http://tickets.mesh/tickets/1 HTTP/1.1\r\nHost: search.mesh\r\n\r\n',
  ],
  ['the asterisk form', 'CALL_MALFORMED', 'OPTIONS * HTTP/1.1\r\nHost: %H\r\n\r\n'],
  ['an https target', 'CALL_MALFORMED', 'GET https://tickets.mesh/ HTTP/1.1\r\nHost: tickets.mesh\r\n\r\n'],
  ['HTTP/0.9', 'CALL_VERSION_UNSUPPORTED', 'GET %T\r\n\r\n'],
  ['HTTP/2.0 in words', 'CALL_VERSION_UNSUPPORTED', 'GET %T HTTP/2.0\r\nHost: %H\r\n\r\n'],
  [
    'Content-Length with Transfer-Encoding',
    'CALL_MALFORMED',
    'POST %T HTTP/1.1\r\nHost: %H\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  [
    'two Content-Lengths',
    'CALL_MALFORMED',
    'POST %T HTTP/1.1\r\nHost: %H\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
  ],
  [
    'a signed Content-Length',
    'CALL_MALFORMED',
    'POST %T HTTP/1.1\r\nHost: %H\r\nContent-Length: +1\r\n\r\na',
  ],
  [
    'gzip, chunked',
    'CALL_CODING_UNSUPPORTED',
    'POST %T HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
  ],
  [
    'Transfer-Encoding on HTTP/1.0',
    'CALL_MALFORMED',
    'POST %T HTTP/1.0\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  [
    'an upgrade with a body',
    'CALL_UPGRADE_REFUSED',
    'POST %T HTTP/1.1\r\nHost: %H\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc',
  ],
  [
    'a websocket upgrade',
    'CALL_UPGRADE_REFUSED',
    'GET %T HTTP/1.1\r\nHost: %H\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  ],
  [
    'Connection that nominates Host',
    'CALL_MALFORMED',
    'GET %T HTTP/1.1\r\nHost: %H\r\nConnection: host\r\n\r\n',
  ],
  [
    'Connection that nominates Content-Length',
    'CALL_MALFORMED',
    'POST %T HTTP/1.1\r\nHost: %H\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\na',
  ],
  [
    'Connection that nominates an identity header',
    'CALL_MALFORMED',
    'GET %T HTTP/1.1\r\nHost: %H\r\nConnection: x_troth_caller\r\n\r\n',
  ],
  [
    'Connection that nominates Authorization',
    'CALL_MALFORMED',
    'GET %T HTTP/1.1\r\nHost: %H\r\nConnection: close, Authorization\r\n\r\n',
  ],
  ['TRACE', 'CALL_MALFORMED', 'TRACE %T HTTP/1.1\r\nHost: %H\r\n\r\n'],
  ['a folded header', 'CALL_MALFORMED', 'GET %T HTTP/1.1\r\nHost: %H\r\nX-A: 1\r\n 2\r\n\r\n'],
  ['a space before the colon', 'CALL_MALFORMED', 'GET %T HTTP/1.1\r\nHost: %H\r\nX-A : 1\r\n\r\n'],
  ['a bare LF', 'CALL_MALFORMED', 'GET %T HTTP/1.1\nHost: %H\n\n'],
  ['a NUL in a value', 'CALL_MALFORMED', 'GET %T HTTP/1.1\r\nHost: %H\r\nX-A: \0\r\n\r\n'],
  ['a parent segment', 'CALL_PATH_REFUSED', 'GET %T/../2 HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n'],
  [
    'an encoded parent segment',
    'CALL_PATH_REFUSED',
    'GET %T/%2e%2e/2 HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n',
  ],
  ['an encoded slash', 'CALL_PATH_REFUSED', 'GET %T%2f2 HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n'],
  ['a backslash', 'CALL_PATH_REFUSED', 'GET %T\\2 HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n'],
  ['an empty segment', 'CALL_PATH_REFUSED', 'GET %T//2 HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n'],
  ['a fragment', 'CALL_PATH_REFUSED', 'GET %T#x HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n'],
  [
    'an oversized head',
    'CALL_HEAD_TOO_LARGE',
    `GET %T HTTP/1.1\r\nHost: %H\r\nX-A: ${'a'.repeat(70_000)}\r\n\r\n`,
  ],
  ['too many fields', 'CALL_HEAD_TOO_LARGE', `GET %T HTTP/1.1\r\nHost: %H\r\n${'X: 1\r\n'.repeat(300)}\r\n`],
  ['TLS bytes', 'CALL_MALFORMED', '\u0016\u0003\u0001\u0002\u0000\u0001\r\n\r\n'],
]

/** After a head that cannot be trusted a good one must not be served either; a refused path leaves the framing whole. */
const followUp = (code: string): string =>
  code === 'CALL_PATH_REFUSED' ? '' : 'GET %T HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n'

describe('malformed HTTP', () => {
  let mesh: TestMesh
  let app: TestApp
  let tickets: TestSidecar
  let planner: TestSidecar
  let client: Identity

  beforeAll(async () => {
    mesh = await startMesh()
    app = await startApp((incoming, response) => {
      incoming.resume()
      incoming.on('end', () => response.end('ok'))
    })
    tickets = await mesh.start('tickets', { app: app.place })
    planner = await mesh.start('planner')
    client = identityOf(await issueLeaf(mesh.hierarchy, mesh.id('planner')))
  })
  afterAll(async () => {
    await mesh[Symbol.asyncDispose]()
    await app[Symbol.asyncDispose]()
  })

  const atEgress = async (bytes: string): Promise<string> =>
    sendRaw(
      await connectPlain(planner.ports.egress),
      bytes
        .replaceAll('%T', `/~${planner.credential}/@tickets/tickets/1`)
        .replaceAll('%H', `127.0.0.1:${planner.ports.egress}`),
      3000,
    )
  const atIngress = async (bytes: string): Promise<string> =>
    sendRaw(
      await connectTls(tickets.ports.ingress, client, {
        ca: mesh.hierarchy.rootPem,
        servername: 'tickets.mesh',
      }),
      bytes.replaceAll('%T', '/tickets/1').replaceAll('%H', 'tickets.mesh'),
      3000,
    )

  it('is refused at the local door with a code of its own, and nothing after it is served', async () => {
    for (const [name, code, bytes] of HOSTILE) {
      const before = planner.records.refusals.length
      const answer = await atEgress(bytes + followUp(code))
      expect([name, codeOf(answer)]).toEqual([name, code])
      expect(statusOf(answer), name).toBeGreaterThanOrEqual(400)
      expect(await planner.records.refusal(before)).toMatchObject({ direction: 'egress', reason: code })
      expect([name, app.seen.length]).toEqual([name, 0])
    }
  })

  it('is refused at the mutual-TLS door just so, under the name of the peer', async () => {
    for (const [name, code, bytes] of HOSTILE) {
      const before = tickets.records.refusals.length
      const answer = await atIngress(bytes + followUp(code))
      expect([name, codeOf(answer)]).toEqual([name, code])
      expect(await tickets.records.refusal(before)).toMatchObject({
        direction: 'ingress',
        reason: code,
        peer: { id: 'spiffe://flow.test/agent/planner' },
      })
      expect([name, app.seen.length]).toEqual([name, 0])
    }
  })

  it('is not what an ordinary request is: that one is served at both doors', async () => {
    expect(statusOf(await atEgress('GET %T HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n'))).toBe(200)
    expect(statusOf(await atEgress('GET %T HTTP/1.0\r\nHost: %H\r\n\r\n'))).toBe(200)
    expect(statusOf(await atIngress('GET %T HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n'))).toBe(200)
    expect(statusOf(await atIngress('GET %T HTTP/1.0\r\n\r\n'))).toBe(200)
  })

  it('is not an offer to speak h2c: that may be passed over, and goes no further', async () => {
    app.seen.splice(0)
    const answer = await atEgress(
      'GET %T HTTP/1.1\r\nHost: %H\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n',
    )
    expect(statusOf(answer)).toBe(200)
    expect(app.seen.map(({ headers }) => [headers.upgrade, headers['http2-settings']])).toEqual([
      [undefined, undefined],
    ])
  })

  it('with a broken chunk ends the call at both ends', async () => {
    const before = planner.records.ends.length
    const answer = await atEgress(
      'POST %T HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n\r\n',
    )
    expect(answer).not.toContain('200 OK')
    expect(await planner.records.end(before)).toMatchObject({ outcome: 'aborted' })
  })

  it('with a body where none has a meaning is framed anew, and never smuggles', async () => {
    app.seen.splice(0)
    const answer = await atEgress(
      'GET %T HTTP/1.1\r\nHost: %H\r\nContent-Length: 31\r\nConnection: close\r\n\r\nGET /tickets/2 HTTP/1.1\r\nX: 123',
    )
    expect(statusOf(answer)).toBe(200)
    expect(app.seen.map(({ url }) => url)).toEqual(['/tickets/1'])
  })
})
