// The CA's one TCP port with its three doors. A client that offers the member protocol in its ClientHello gets mutual TLS with Node's own
// verification; every other gets server-authenticated TLS and can only enrol. (Node cannot ask for a client certificate
// optionally without switching verification off, and that is never off.) A whole GET or HEAD without TLS gets what is public.

import type { IncomingMessage, RequestListener } from 'node:http'
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https'
import { createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../host/clock.js'
import { listen } from '../host/http-server.js'
import { errorFields, type Log } from '../host/log.js'
import { TLS_FLOOR } from '../host/tls.js'
import { MEMBER_ALPN } from '../mesh/wire/enrolment.js'
import { HELLO_MAX_BYTES, peekClientHello, TLS_HANDSHAKE } from './client-hello.js'
import { openPassing, placeOf } from './passing.js'
import { endWithProblem, openPlainDoor } from './plain-door.js'
import { peekPlainHead } from './plain-head.js'

/** The server's key and chains, and the roots that members chain to. */
export interface ServerIdentity {
  readonly keyPem: string
  /** Ends with the root, so that an enrolling member can compare its fingerprint. */
  readonly chainPem: string
  /** For members: while a root is replaced it ends with the cross certificate, which leads to the old root as well. */
  readonly memberChainPem: string
  readonly rootsPem: string
}

export interface DoorOptions {
  readonly host: string
  readonly port: number
  readonly identity: ServerIdentity
  readonly publicListener: RequestListener
  /** Serves without TLS what anybody may have. */
  readonly plainListener: RequestListener
  readonly memberListener: RequestListener
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
  readonly clock: Clock
  readonly log: Log
  /** Counts a connection turned away before it reached a door. */
  readonly refused: (reason: 'junk' | 'slow' | 'crowd' | 'tls') => void
  /** A connection to the member door ended before its client had proved anything; `source` is the address it came from. */
  readonly unproven: (source: string) => void
}

export interface Door {
  readonly port: number
  /** For new connections. */
  setIdentity(identity: ServerIdentity): void
  close(): Promise<void>
}

/** From the first byte to the whole ClientHello, or the whole head of a plain request. */
const HELLO_MS = 5000
const HANDSHAKE_MS = 10_000
const CLOSE_GRACE_MS = 2000

/** @throws MeshError PORT_BUSY | CONFIG_INVALID */
export async function openDoor(options: DoorOptions): Promise<Door> {
  const { clock, log } = options
  const members = { requestCert: true, ALPNProtocols: [MEMBER_ALPN] }
  const outsiders = { ALPNProtocols: ['http/1.1'] }
  const limits = { ...TLS_FLOOR, handshakeTimeout: HANDSHAKE_MS, maxHeaderSize: 16 * 1024 }
  const toAll = ({ keyPem: key, chainPem: cert }: ServerIdentity) => ({ key, cert })
  const toMembers = ({ keyPem: key, memberChainPem: cert, rootsPem }: ServerIdentity) => ({
    key,
    cert,
    ca: [rootsPem],
  })
  const memberDoor = createHttpsServer(
    { ...limits, ...members, ...toMembers(options.identity) },
    options.memberListener,
  )
  const publicDoor = createHttpsServer(
    { ...limits, ...outsiders, ...toAll(options.identity) },
    options.publicListener,
  )
  const passing = openPassing(clock)
  memberDoor.on('upgrade', (request: IncomingMessage, socket: TLSSocket, head: Buffer) => {
    passing.stay(socket)
    options.upgrade(request, socket, head)
  })
  for (const server of [memberDoor, publicDoor]) bound(server, options)
  const plainDoor = openPlainDoor(options.plainListener, log)
  const doors = { member: memberDoor, public: publicDoor, plain: plainDoor }

  // those that are open
  const proven = new Set<string>()
  memberDoor.on('secureConnection', (socket: TLSSocket) => void proven.add(placeOf(socket)))
  const sockets = new Set<Socket>()
  const tcp = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', (error) => log.debug('ca.socket', errorFields(error)))
    if (!passing.enter(socket)) {
      options.refused('crowd')
      socket.destroy()
      return
    }
    // kept: a socket that is gone tells neither
    const place = placeOf(socket)
    const { remoteAddress: source = '' } = socket
    sort(options, socket, (door) => {
      if (door === undefined) return
      if (door === 'member')
        socket.once('close', () => {
          if (!proven.delete(place)) options.unproven(source)
        })
      doors[door].emit('connection', socket)
    })
  })
  const port = await listen(tcp, { host: options.host, port: options.port, flag: '--ca-port' })
  // accepting can fail while it runs (too many open files); the door stays
  tcp.on('error', (error) => log.error('ca.door', errorFields(error)))
  return {
    port,
    setIdentity(identity) {
      memberDoor.setSecureContext({ ...TLS_FLOOR, ...toMembers(identity) })
      publicDoor.setSecureContext({ ...TLS_FLOOR, ...toAll(identity) })
    },
    close: () =>
      new Promise((resolve) => {
        const cut = clock.after(CLOSE_GRACE_MS, () => {
          for (const socket of sockets) socket.destroy()
        })
        tcp.close(() => {
          cut.cancel()
          resolve()
        })
      }),
  }
}

type DoorName = 'member' | 'public' | 'plain'

/**
 * Reads until the ClientHello, or the head of a plain request, is whole, gives the bytes back to the socket, and says which door.
 * `undefined`: the connection is over. `sorted` is called exactly once.
 */
function sort(
  { clock, refused }: DoorOptions,
  socket: Socket,
  sorted: (door: DoorName | undefined) => void,
): void {
  let seen = Buffer.alloc(0)
  const settle = (door: DoorName | undefined): void => {
    timer.cancel()
    socket.off('readable', read)
    socket.off('close', gone)
    if (door !== undefined) socket.unshift(seen)
    sorted(door)
  }
  const turnAway = (reason: 'junk' | 'slow'): void => {
    refused(reason)
    settle(undefined)
    socket.destroy()
  }
  const gone = (): void => settle(undefined)
  const timer = clock.after(HELLO_MS, () => turnAway('slow'))
  const read = (): void => {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) return
    seen = Buffer.concat([seen, chunk])
    const peek =
      seen[0] === TLS_HANDSHAKE ? peekClientHello(seen.subarray(0, HELLO_MAX_BYTES)) : peekPlainHead(seen)
    switch (peek.state) {
      case 'more':
        return
      case 'junk':
        turnAway('junk')
        return
      case 'refused':
        refused('junk')
        settle(undefined)
        endWithProblem(socket, peek.error)
        return
      case 'hello':
        settle(peek.alpn.includes(MEMBER_ALPN) ? 'member' : 'public')
        return
      case 'whole':
        settle('plain')
    }
  }
  socket.on('readable', read)
  socket.once('close', gone)
}

/** One request a connection; its time is bounded as it is accepted. */
function bound(server: HttpsServer, { log, refused }: DoorOptions): void {
  server.maxRequestsPerSocket = 1
  server.on('tlsClientError', (error: Error) => {
    refused('tls')
    // anybody can cause these
    log.debug('ca.tls_refused', { error: error.message })
  })
  server.on('clientError', (_error: Error, socket: Duplex) => socket.destroy())
}
