// A whole CA in this process, in a home of its own, on port 0, and members of it with real certificates: what the tests of the
// CA stand on. Everything is over the wire; the CA's inside is not touched.

import { randomUUID, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import { WebSocket } from 'ws'
import { initCa } from '../../ca/init.js'
import { type RunningCa, serveCa } from '../../ca/main.js'
import { type Clock, systemClock } from '../../host/clock.js'
import { openLifecycle } from '../../host/lifecycle.js'
import { TLS_FLOOR } from '../../host/tls.js'
import { makeKeyAndCsr } from '../../member/identity/csr.js'
import { type Reader, readValue } from '../../mesh/parse.js'
import { type NamedKind, parseTrustDomain } from '../../mesh/spiffe-id.js'
import { READ_TOKEN_MINTED } from '../../mesh/wire/admin.js'
import { type Enrolment, MEMBER_ALPN, parseJoinToken, READ_ENROLMENT } from '../../mesh/wire/enrolment.js'
import { FEED_PROTOCOL, type FromCa, type FromMember, readFromCa } from '../../mesh/wire/feed.js'
import { type MemoryLog, memoryLog } from './memory-log.js'

export const TRUST_DOMAIN = parseTrustDomain('acme.internal')
export const PASSPHRASES = { root: 'root passphrase', issuing: 'issuing passphrase' }
const DEADLINE_MS = 5000

export interface Reply {
  readonly status: number
  readonly json: unknown
}

/** The code of a refusal, undefined for another answer. */
export const codeOf = (reply: Reply): unknown =>
  typeof reply.json === 'object' && reply.json !== null && 'code' in reply.json ? reply.json.code : undefined

/** The answer as its wire reads it. @throws when it is not of that shape, e.g. a problem */
export function answerOf<T>(reply: Reply, read: Reader<T>): T {
  return readValue(reply.json, read, `answer ${JSON.stringify(reply.json)}`)
}

export interface TestMember {
  readonly name: string
  readonly instanceId: string
  readonly keyPem: string
  readonly chainPem: string
  readonly leaf: X509Certificate
  readonly serial: string
  readonly enrolment: Enrolment
}

export interface TestCa extends AsyncDisposable {
  readonly home: string
  readonly running: RunningCa
  readonly log: MemoryLog
  readonly rootPem: string
  /** Over the admin socket. */
  admin(method: string, path: string, body?: unknown): Promise<Reply>
  /** At the public door. */
  public(method: string, path: string, body?: unknown): Promise<Reply>
  /** At the member door, as that member. */
  member(
    as: Pick<TestMember, 'keyPem' | 'chainPem'>,
    method: string,
    path: string,
    body?: unknown,
  ): Promise<Reply>
  /** Registers and enrols over the admin socket. */
  enrol(name: string, kind?: NamedKind): Promise<TestMember>
  /** A token's secret. */
  mint(name: string, kind?: NamedKind): Promise<string>
  feed(as: Pick<TestMember, 'keyPem' | 'chainPem'>, path?: string): Promise<TestFeed>
  /** Stops the CA and serves the same home again on the same port. */
  restart(): Promise<void>
}

export interface TestFeed {
  send(frame: FromMember): void
  /** What no member of ours would send. */
  sendRaw(data: string | Buffer): void
  ping(): void
  /** The next frame of that type, heartbeats and others passed over. */
  next<T extends FromCa['type']>(type: T): Promise<Extract<FromCa, { type: T }>>
  /** Resolves with the close code. */
  readonly closed: Promise<number>
  /** Stops reading from the network. */
  pause(): void
  close(): void
}

/** `there`: a home whose CA was made already, with the port that its members know. */
export async function startCa(
  options: { clock?: Clock; leafTtlMs?: number; dev?: boolean; there?: { home: string; port: number } } = {},
): Promise<TestCa> {
  const { clock = systemClock, leafTtlMs = 86_400_000, dev = true, there } = options
  const home = there?.home ?? mkdtempSync(path.join(tmpdir(), 'tca-'))
  const log = memoryLog()
  if (there === undefined)
    await initCa({
      home,
      trustDomain: TRUST_DOMAIN,
      address: '127.0.0.1',
      dev,
      passphrases: PASSPHRASES,
      tokens: null,
      clock,
    })
  const serve = (port: number): Promise<RunningCa> =>
    serveCa({
      home,
      listen: '127.0.0.1',
      port,
      adminPort: null,
      passphrase: PASSPHRASES.issuing,
      dev,
      leafTtlMs,
      clock,
      log,
      lifecycle: openLifecycle(),
    })
  let running = await serve(there?.port ?? 0)
  const admin = (method: string, where: string, body?: unknown): Promise<Reply> =>
    exchange(httpRequest({ socketPath: running.adminSocket, method, path: where, agent: false }), body)
  const enrolLocal = async (name: string, kind: NamedKind): Promise<TestMember> => {
    const instanceId = randomUUID()
    const { keyPem, csrPem } = await makeKeyAndCsr({ commonName: name, instanceId })
    const reply = await admin('POST', '/v1/enrol-local', { kind, name, instanceId, csrPem })
    return memberOf(name, { instanceId, keyPem, enrolment: answerOf(reply, READ_ENROLMENT) })
  }
  const rootPem = readFileSync(path.join(home, 'ca', 'root.pem'), 'utf8')
  const tls = (): RequestOptions => ({
    ...TLS_FLOOR,
    host: '127.0.0.1',
    port: running.port,
    ca: rootPem,
    agent: false,
  })
  const memberTls = (
    as: Pick<TestMember, 'keyPem' | 'chainPem'>,
  ): RequestOptions & Pick<ConnectionOptions, 'ALPNProtocols'> => ({
    ...tls(),
    ALPNProtocols: [MEMBER_ALPN],
    key: as.keyPem,
    cert: as.chainPem,
  })
  return {
    home,
    log,
    rootPem,
    get running() {
      return running
    },
    admin,
    public: (method, where, body) => exchange(httpsRequest({ ...tls(), method, path: where }), body),
    member: (as, method, where, body) =>
      exchange(httpsRequest({ ...memberTls(as), method, path: where }), body),
    enrol: async (name, kind = 'agent') => {
      await admin('POST', '/v1/agents', { kind, name })
      return enrolLocal(name, kind)
    },
    mint: async (name, kind = 'agent') => {
      const minted = await admin('POST', '/v1/tokens', { kind, name })
      return parseJoinToken(answerOf(minted, READ_TOKEN_MINTED).token).secret
    },
    feed: (as, where = '/v1/feed') => openTestFeed(`wss://127.0.0.1:${running.port}${where}`, memberTls(as)),
    restart: async () => {
      const { port } = running
      await running.close()
      running = await serve(port)
    },
    [Symbol.asyncDispose]: async () => {
      await running.close()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

export function memberOf(
  name: string,
  from: { instanceId: string; keyPem: string; enrolment: Enrolment },
): TestMember {
  const leaf = new X509Certificate(from.enrolment.chainPem)
  return {
    name,
    ...from,
    chainPem: from.enrolment.chainPem,
    leaf,
    serial: leaf.serialNumber.toLowerCase(),
  }
}

/** Sends a request with a JSON body and reads the JSON answer. */
export function exchange(outgoing: ReturnType<typeof httpRequest>, body: unknown): Promise<Reply> {
  return new Promise((resolve, reject) => {
    outgoing.on('error', reject)
    outgoing.on('response', (response: IncomingMessage) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        resolve({ status: response.statusCode ?? 0, json: text === '' ? null : JSON.parse(text) })
      })
    })
    if (body === undefined) outgoing.end()
    else {
      if (!outgoing.headersSent) outgoing.setHeader('content-type', 'application/json')
      outgoing.end(typeof body === 'string' ? body : JSON.stringify(body))
    }
  })
}

function openTestFeed(url: string, tls: RequestOptions): Promise<TestFeed> {
  const ws = new WebSocket(url, [FEED_PROTOCOL], tls)
  const frames: FromCa[] = []
  let wake = (): void => undefined
  ws.on('message', (data: Buffer) => {
    const frame = readFromCa(data.toString('utf8'))
    if (frame !== undefined) frames.push(frame)
    wake()
  })
  const closed = new Promise<number>((resolve) => ws.on('close', (code) => resolve(code)))
  const next = async (type: string): Promise<never> => {
    const until = performance.now() + DEADLINE_MS
    for (;;) {
      const index = frames.findIndex((frame) => frame.type === type)
      const found = frames[index]
      if (found !== undefined) {
        frames.splice(0, index + 1)
        return found as never
      }
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`no ${type} frame within ${DEADLINE_MS} ms`)),
          Math.max(0, until - performance.now()),
        )
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
  return new Promise((resolve, reject) => {
    ws.on('error', reject)
    ws.on('unexpected-response', (_request, response: IncomingMessage) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => reject(new Refused(Buffer.concat(chunks).toString('utf8'))))
    })
    ws.on('open', () =>
      resolve({
        send: (frame) => ws.send(JSON.stringify(frame)),
        sendRaw: (data) => ws.send(data),
        ping: () => ws.ping(),
        next,
        closed,
        pause: () => ws.pause(),
        close: () => ws.close(),
      }),
    )
  })
}

/** The feed was answered with a problem. */
export class Refused extends Error {
  readonly code: string

  constructor(body: string) {
    const { code } = JSON.parse(body) as { code: string }
    super(`refused: ${code}`)
    this.code = code
  }
}
