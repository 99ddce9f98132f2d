// The mutual-TLS door. Node's own refusal of a peer is off, on one line, only because it would hide the certificate of whom it refuses:
// every connection passes the judge before a byte of it is read, and the judge asks for what TLS found as well.

import type { Socket } from 'node:net'
import tls, { type TLSSocket, type TlsOptions } from 'node:tls'
import { listen } from '../../host/http-server.js'
import { errorFields } from '../../host/log.js'
import { TLS_FLOOR } from '../../host/tls.js'
import { NOBODY, type Party } from '../../mesh/audit-record.js'
import { MeshError } from '../../mesh/errors.js'
import { partyOf } from '../../mesh/svid.js'
import { joinPem } from '../../mesh/trust-bundle.js'
import { WITNESS_ALPN } from '../../mesh/wire/witness.js'
import { isIdentityField } from '../call/headers.js'
import { answerProblem } from '../call/problem-answer.js'
import { formatReply, TROTH_CALL } from '../call/troth-call.js'
import type { RequestHead } from '../http/message.js'
import type { HttpStream, StreamSink } from '../http/stream.js'
import { H2 } from '../http/stream-error.js'
import type { Parts } from '../parts.js'
import { type Door, openDoor } from '../transport/door.js'
import { ServedConnection, type Service } from '../transport/serve.js'
import { type Admitted, admit, DEAF } from './admit.js'
import { CallIn, type Inside } from './call.js'
import { Guests } from './guests.js'
import { openWitnessStand } from './witness.js'

export interface IngressOptions {
  readonly inside: Inside
  readonly host: string
  readonly port: number
}

/**
 * Opens the door.
 * @throws MeshError PORT_BUSY | CONFIG_INVALID
 */
export async function openIngress({ inside, host, port }: IngressOptions): Promise<Door> {
  const { parts } = inside
  const { turn, sweep, reads, doors, log } = parts
  const server = tls.createServer({
    ...identityOf(parts),
    requestCert: true,
    // The judge runs before any byte is read, and demands `authorized` too: so a refusal has a name (docs/architecture.md, 4.1).
    rejectUnauthorized: false,
    ALPNProtocols: ['h2', 'http/1.1', WITNESS_ALPN],
    handshakeTimeout: parts.limits.connectTimeoutMs,
    noDelay: true,
  })
  const door = openDoor(server, doors.maxConnections)
  const guests = new Guests(doors.maxConnectionsOfPeer)
  const holdWitness = openWitnessStand()
  const serving = { turn, sweep, headMs: doors.headMs, reads, protects: isIdentityField }
  server.on('secureConnection', (socket: TLSSocket) => {
    const admitted = admit(parts, socket, guests)
    if (admitted === undefined) return
    if (socket.alpnProtocol === WITNESS_ALPN) {
      holdWitness(admitted.connection)
      return
    }
    const protocol = socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1'
    door.hold(new ServedConnection(socket, protocol, new PeerService(inside, admitted), serving))
  })
  server.on('tlsClientError', (cause, socket) => {
    countRefusal(parts, new MeshError('PEER_HANDSHAKE_FAILED', 'TLS failed', { cause }), NOBODY, socket)
    socket.destroy()
    log.debug('ingress.handshake-failed', { error: cause.message })
  })
  followIdentity(parts, server, door)
  const listening = await listen(server, { host, port, flag: '--ingress-port' })
  // accepting can fail while it runs (too many open files); the door stays
  server.on('error', (error) => log.error('ingress.door', errorFields(error)))
  return { ...door, port: listening }
}

function countRefusal({ recorder }: Parts, { code }: MeshError, peer: Party, socket: Socket): void {
  const remoteAddress = socket.remoteAddress ?? null
  recorder.refused({ direction: 'ingress', reason: code, peer, remoteAddress })
}

/** One admitted connection. */
class PeerService implements Service {
  readonly #inside: Inside
  readonly #admitted: Admitted

  constructor(inside: Inside, admitted: Admitted) {
    this.#inside = inside
    this.#admitted = admitted
  }

  onRequest(stream: HttpStream, head: RequestHead): StreamSink {
    if (this.#admitted.guest.calls >= this.#inside.parts.doors.maxCallsOfPeer) return this.#tooMany(stream)
    const call = new CallIn(this.#inside, this.#admitted, stream)
    call.start(head)
    return call.exchange
  }

  /** An answer would be one thing more to keep for who does not read. */
  #tooMany(stream: HttpStream): StreamSink {
    this.onRefused(new MeshError('PEER_CALLS_EXCEEDED', 'too many calls at once'), null)
    stream.reset(H2.REFUSED_STREAM)
    return DEAF
  }

  onRefused(error: MeshError, answer: HttpStream | null): void {
    const { caller, connection } = this.#admitted
    countRefusal(this.#inside.parts, error, partyOf(caller.svid), connection.socket)
    if (answer !== null)
      answerProblem(answer, error, {
        fields: [TROTH_CALL, formatReply({ id: null, denied: error.code })],
      })
  }
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

/**
 * New handshakes show the new certificate and know the new roots. Of the connections that stand, those that carry calls go on, but new
 * calls are asked to come over new ones.
 */
function followIdentity(parts: Parts, server: tls.Server, door: Pick<Door, 'drain'>): void {
  parts.credentials.onRotate(() => {
    server.setSecureContext(identityOf(parts))
    door.drain()
  })
  parts.world.onChange((world, previous) => {
    if (world.bundles !== previous.bundles) server.setSecureContext(identityOf(parts))
    return 0
  })
}
