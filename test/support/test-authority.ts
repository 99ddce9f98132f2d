// A small CA for tests of members: real TLS doors chosen by ALPN, real certificates of certs-dev, a real WebSocket feed. What it answers
// is what the test tells it; it checks nothing, so that tests can make it lie.

import 'reflect-metadata'
import { createPublicKey, randomUUID, type X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import net, { type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { Pkcs10CertificateRequest } from '@peculiar/x509'
import { type WebSocket, WebSocketServer } from 'ws'
import { type Hierarchy, issueLeaf, type Leaf, makeHierarchy } from '../../certs-dev/hierarchy.js'
import { TLS_FLOOR } from '../../host/tls.js'
import { EMPTY_POLICY } from '../../mesh/policy/model.js'
import { type NamedKind, parseAgentName } from '../../mesh/spiffe-id.js'
import { fingerprintOf } from '../../mesh/trust-bundle.js'
import { type Enrolment, formatJoinToken, MEMBER_ALPN } from '../../mesh/wire/enrolment.js'
import {
  type Change,
  FEED_PROTOCOL,
  type FromCa,
  type FromMember,
  type Position,
  type View,
} from '../../mesh/wire/feed.js'

export interface TestAuthority extends AsyncDisposable {
  readonly hierarchy: Hierarchy
  readonly port: number
  /** `127.0.0.1:<port>` */
  readonly address: string
  token(kind: NamedKind, name: string): string
  /** Bodies of the enrolments and renewals that arrived, in order. */
  readonly requests: readonly { readonly path: string; readonly body: Record<string, string> }[]
  /** Frames of members, and serials of the leaves that sent them, in order. */
  readonly frames: readonly { readonly frame: FromMember; readonly serial: string }[]
  /** Resolves with the first frame, already there or to come, that satisfies. */
  frame(satisfies: (frame: FromMember, serial: string) => boolean): Promise<FromMember>
  /** What is true from now on; members get it as a delta, newcomers in the snapshot. */
  advance(changes: Change[], view: Partial<View>): Position
  /** Sends this frame to everybody, as it is. */
  send(frame: FromCa | Record<string, unknown>): void
  /** Opens an admin socket that enrols without a token. */
  openAdminSocket(file: string): Promise<void>
  /** Cuts every feed. */
  dropFeeds(): void
  readonly position: Position
  readonly behaviour: Behaviour
}

export interface Behaviour {
  /** Added to the clock that answers carry. */
  skewMs: number
  renewAfterSeconds: number
  ttlMs: number
  /** Renewals and enrolments whose answer is lost, from now. */
  loseAnswers: number
  /** Answered to all instead of anything else: a problem code and its status. */
  refuseWith: { status: number; code: string } | undefined
  /** Changes an answer before it leaves. */
  twist: (answer: Enrolment) => Enrolment
}

export interface AuthorityOptions {
  readonly trustDomain?: string
  readonly dev?: boolean
  /** Another identity than `spiffe://<td>/ca` for its server certificate. */
  readonly serverId?: string
  readonly server?: Parameters<typeof issueLeaf>[2]
}

const DEADLINE_MS = 10_000

export async function startTestAuthority(options: AuthorityOptions = {}): Promise<TestAuthority> {
  const { trustDomain = 'acme.internal', dev = true } = options
  const hierarchy = await makeHierarchy({ trustDomain, dev })
  const server = await issueLeaf(
    hierarchy,
    options.serverId ?? `spiffe://${trustDomain}/ca`,
    options.server ?? {},
  )
  const behaviour: Behaviour = {
    skewMs: 0,
    renewAfterSeconds: 12 * 3600,
    ttlMs: 24 * 3_600_000,
    loseAnswers: 0,
    refuseWith: undefined,
    twist: (answer) => answer,
  }
  const requests: { path: string; body: Record<string, string> }[] = []
  const frames: { frame: FromMember; serial: string }[] = []
  const watchers = new Set<() => void>()
  const feeds = new Set<WebSocket>()
  const sockets = new Set<Socket>()
  const issued = new Map<string, Leaf>()
  const position = { generation: randomUUID(), epoch: 1 }
  let view: View = {
    trustDomain: hierarchy.trustDomain,
    bundles: [
      { trustDomain: hierarchy.trustDomain, rootsPem: hierarchy.rootPem, issuingPem: '', crossPem: '' },
    ],
    revokedIds: [],
    revokedSerials: [],
    revokedIssuers: [],
    policy: EMPTY_POLICY,
    callees: [],
    endpoints: [],
  }
  let address = ''

  const issue = async (id: string, csrPem: string): Promise<Leaf> => {
    const csr = new Pkcs10CertificateRequest(csrPem)
    const der = Buffer.from(csr.publicKey.rawData)
    const known = issued.get(der.toString('hex'))
    if (known !== undefined) return known
    const publicPem = createPublicKey({ key: der, format: 'der', type: 'spki' })
      .export({ type: 'spki', format: 'pem' })
      .toString()
    const [instanceId = ''] = csr.subjectName.getField('2.5.4.5')
    const now = Date.now() + behaviour.skewMs
    const dates = { notBefore: now - 300_000, notAfter: now + behaviour.ttlMs }
    const leaf = await issueLeaf(hierarchy, id, { publicPem, instanceId, ...dates })
    issued.set(der.toString('hex'), leaf)
    return leaf
  }
  const answerTo = async (request: IncomingMessage): Promise<Enrolment> => {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, string>
    requests.push({ path: request.url ?? '', body })
    const id =
      request.url === '/v1/renew' ? idOf(request) : `spiffe://${trustDomain}/${body['kind']}/${body['name']}`
    const leaf = await issue(id, body['csrPem'] ?? '')
    return behaviour.twist({
      trustDomain: hierarchy.trustDomain,
      spiffeId: id as Enrolment['spiffeId'],
      chainPem: leaf.chainPem,
      bundlePem: hierarchy.rootPem,
      caAddress: address,
      renewAfterSeconds: behaviour.renewAfterSeconds,
      now: Date.now() + behaviour.skewMs,
    })
  }
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    if (request.url === '/v1/renew-expired') {
      // this CA knows no renewal by key: running-ca.ts does
      response.writeHead(404, { 'content-type': 'application/problem+json' })
      response.end(JSON.stringify({ code: 'NOT_FOUND', detail: 'no such path' }))
      return
    }
    answerTo(request).then(
      (answer) => {
        if (behaviour.loseAnswers > 0) {
          behaviour.loseAnswers -= 1
          request.socket.destroy()
        } else if (behaviour.refuseWith !== undefined) {
          response.writeHead(behaviour.refuseWith.status, { 'content-type': 'application/problem+json' })
          response.end(JSON.stringify({ code: behaviour.refuseWith.code, detail: 'as told' }))
        } else response.end(JSON.stringify(answer))
      },
      () => request.socket.destroy(),
    )
  }
  const secrets = { ...TLS_FLOOR, key: server.keyPem, cert: server.chainPem + hierarchy.rootPem }
  const publicDoor = https.createServer({ ...secrets, ALPNProtocols: ['http/1.1'] }, listener)
  const memberDoor = https.createServer(
    { ...secrets, requestCert: true, ca: hierarchy.rootPem, ALPNProtocols: [MEMBER_ALPN] },
    listener,
  )
  const admin = http.createServer(listener)
  const webSockets = new WebSocketServer({ noServer: true, handleProtocols: () => FEED_PROTOCOL })
  memberDoor.on('upgrade', (request, socket, head) => {
    if (behaviour.refuseWith !== undefined) {
      const { status, code } = behaviour.refuseWith
      const problem = JSON.stringify({ code, detail: 'as told' })
      const head1 = `HTTP/1.1 ${status} No\r\ncontent-type: application/problem+json\r\nconnection: close`
      socket.end(`${head1}\r\ncontent-length: ${problem.length}\r\n\r\n${problem}`)
      return
    }
    webSockets.handleUpgrade(request, socket, head, (feed) => {
      const serial = peerOf(request).serialNumber.toLowerCase()
      feeds.add(feed)
      feed.on('close', () => feeds.delete(feed))
      feed.on('error', () => undefined)
      feed.on('message', (data: Buffer) => {
        const frame = JSON.parse(data.toString()) as FromMember
        frames.push({ frame, serial })
        if (frame.type === 'hello' || frame.type === 'resync')
          feed.send(JSON.stringify({ type: 'snapshot', position, sentAt: Date.now(), view }))
        for (const look of watchers) look()
      })
    })
  })
  const port = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
    socket.once('data', (hello: Buffer) => {
      socket.pause()
      socket.unshift(hello)
      const door = hello.includes(MEMBER_ALPN) ? memberDoor : publicDoor
      door.emit('connection', socket)
    })
  })
  for (const door of [publicDoor, memberDoor]) door.on('tlsClientError', () => undefined)
  port.listen(0, '127.0.0.1')
  await once(port, 'listening')
  const { port: number } = port.address() as net.AddressInfo
  address = `127.0.0.1:${number}`

  const sendAll = (frame: FromCa | Record<string, unknown>): void => {
    for (const feed of feeds) feed.send(JSON.stringify(frame))
  }
  return {
    hierarchy,
    port: number,
    address,
    requests,
    frames,
    behaviour,
    get position() {
      return { ...position }
    },
    token: (kind, name) =>
      formatJoinToken({
        trustDomain: hierarchy.trustDomain,
        caAddress: address,
        rootFingerprints: [fingerprintOf(hierarchy.root.certificate)],
        kind,
        name: parseAgentName(name),
        secret: 'a-secret-for-tests',
      }),
    frame: (satisfies) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          watchers.delete(look)
          reject(new Error(`no such frame within ${DEADLINE_MS} ms; saw ${JSON.stringify(frames)}`))
        }, DEADLINE_MS)
        const look = (): void => {
          const found = frames.find(({ frame, serial }) => satisfies(frame, serial))
          if (found === undefined) return
          clearTimeout(timer)
          watchers.delete(look)
          resolve(found.frame)
        }
        watchers.add(look)
        look()
      }),
    advance(changes, changed) {
      const from = position.epoch
      position.epoch += 1
      view = { ...view, ...changed }
      sendAll({ type: 'delta', from, position, sentAt: Date.now(), changes })
      return { ...position }
    },
    send: sendAll,
    async openAdminSocket(file) {
      admin.listen(file)
      await once(admin, 'listening')
    },
    dropFeeds() {
      for (const feed of feeds) feed.terminate()
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      admin.close()
      port.close()
      await once(port, 'close')
    },
  }
}

function peerOf({ socket }: IncomingMessage): X509Certificate {
  const peer = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined
  if (peer === undefined) throw new Error('a request at the member door without a certificate')
  return peer
}

function idOf(request: IncomingMessage): string {
  const names = peerOf(request).subjectAltName?.split(', ') ?? []
  return names.find((name) => name.startsWith('URI:'))?.slice(4) ?? ''
}
