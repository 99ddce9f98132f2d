// The mutual-TLS door. Node's own refusal of a peer is off, on one line, only because it would hide the certificate of whom it refuses:
// every connection passes the judge before a byte of it is read, and the judge asks for what TLS found as well.

import https from 'node:https'
import type { Duplex } from 'node:stream'
import type { TLSSocket, TlsOptions } from 'node:tls'
import { listen } from '../../host/http-server.js'
import { errorFields } from '../../host/log.js'
import { TLS_FLOOR } from '../../host/tls.js'
import { MeshError } from '../../mesh/errors.js'
import { partyOf } from '../../mesh/svid.js'
import { joinPem } from '../../mesh/trust-bundle.js'
import { WITNESS_ALPN } from '../../mesh/wire/witness.js'
import { isIdentityField } from '../call/headers.js'
import { answerOnSocket, answerProblem } from '../call/problem-answer.js'
import { type CallReply, formatReply, TROTH_CALL } from '../call/troth-call.js'
import { HTTP1_LIMITS, remoteAddressOf, serveHttp1 } from '../http1/server.js'
import type { Parts } from '../parts.js'
import { type Admitted, admit } from './admit.js'
import type { App } from './app.js'
import { openInbound } from './call.js'
import { openWitnessStand } from './witness.js'

export interface IngressOptions {
  readonly parts: Parts
  readonly app: App | null
  readonly host: string
  readonly port: number
}

export interface IngressDoor {
  readonly port: number
  readonly server: https.Server
}

const NOBODY = { id: null, instance: null, serial: null }

/**
 * Opens the door.
 * @throws MeshError PORT_BUSY | CONFIG_INVALID
 */
export async function openIngress({ parts, app, host, port }: IngressOptions): Promise<IngressDoor> {
  const server = https.createServer({
    ...HTTP1_LIMITS,
    headersTimeout: parts.doors.headMs,
    ...identityOf(parts),
    requestCert: true,
    // The judge runs before any byte is read, and demands `authorized` too: so a refusal has a name (docs/architecture.md, 4.1).
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1', WITNESS_ALPN],
    handshakeTimeout: parts.limits.connectTimeoutMs,
  })
  server.maxConnections = parts.doors.maxConnections
  const admitted = new WeakMap<Duplex, Admitted>()
  const holdWitness = openWitnessStand()
  readAdmitted(server, (socket) => {
    const admission = admit(parts, socket)
    if (admission === undefined) return false
    if (socket.alpnProtocol === WITNESS_ALPN) {
      holdWitness(admission.connection)
      return false
    }
    admitted.set(socket, admission)
    return true
  })
  const refused = (error: MeshError, socket: Duplex): void => {
    const svid = admitted.get(socket)?.caller.svid
    parts.recorder.refused({
      direction: 'ingress',
      reason: error.code,
      peer: svid === undefined ? NOBODY : partyOf(svid),
      remoteAddress: remoteAddressOf(socket),
    })
  }
  // node:https would report a failed handshake as malformed HTTP as well.
  server.removeAllListeners('tlsClientError')
  server.on('tlsClientError', (cause, socket) => {
    refused(new MeshError('PEER_HANDSHAKE_FAILED', 'TLS failed', { cause }), socket)
    socket.destroy()
    parts.log.debug('ingress.handshake-failed', { error: cause.message })
  })
  const serve = openInbound(parts, app, refused)
  serveHttp1(server, {
    isIdentity: isIdentityField,
    refuseSilently: refused,
    serve(arrived) {
      const admission = admitted.get(arrived.request.socket)
      if (admission === undefined) arrived.request.socket.destroy()
      else serve(arrived, admission)
    },
    refuse(error, request, response) {
      refused(error, request.socket)
      answerProblem(response, error, { fields: replyFields({ id: null, denied: error.code }) })
    },
    refuseSocket(error, socket) {
      refused(error, socket)
      answerOnSocket(socket, error, {
        clock: parts.clock,
        fields: replyFields({ id: null, denied: error.code }),
      })
    },
  })
  followIdentity(parts, server)
  const listening = await listen(server, { host, port, flag: '--ingress-port' })
  // accepting can fail while it runs (too many open files); the door stays
  server.on('error', (error) => parts.log.error('ingress.door', errorFields(error)))
  return { server, port: listening }
}

const replyFields = (reply: CallReply): Record<string, string> => ({ [TROTH_CALL]: formatReply(reply) })

/** node:https starts to read in its own listener for the event: it comes second, and only for who was admitted to make calls. */
function readAdmitted(server: https.Server, isToBeRead: (socket: TLSSocket) => boolean): void {
  const readers = server.listeners('secureConnection')
  server.removeAllListeners('secureConnection')
  server.on('secureConnection', (socket: TLSSocket) => {
    if (!isToBeRead(socket)) return
    for (const read of readers) read.call(server, socket)
  })
}

/** What the door shows and whom it can follow to a root. Also for setSecureContext, which replaces all of it. */
function identityOf(parts: Parts): TlsOptions {
  const { keyPem, chainPem } = parts.credentials.current()
  const world = parts.world.current()
  const bundles = [...world.bundles.values()]
  // for clients outside that know only the root before this one
  const crosses = world.bundles.get(world.trustDomain)?.crosses ?? []
  return {
    ...TLS_FLOOR,
    key: keyPem,
    cert: chainPem + joinPem(crosses),
    ca: bundles.flatMap(({ roots }) => roots.map((root) => root.toString())),
  }
}

/** New handshakes show the new certificate and know the new roots; connections that stand are not touched. */
function followIdentity(parts: Parts, server: https.Server): void {
  parts.credentials.onRotate(() => server.setSecureContext(identityOf(parts)))
  parts.world.onChange((world, previous) => {
    if (world.bundles !== previous.bundles) server.setSecureContext(identityOf(parts))
    return 0
  })
}
