// The admission of one mutual-TLS connection: into the table first, then before the judge. Nothing the peer sent has been read yet.

import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { clientChain, presentedLeaf } from '../../host/tls.js'
import { asMeshError, type MeshError } from '../../mesh/errors.js'
import type { Svid } from '../../mesh/svid.js'
import { PeerRefused, verifyAgain, verifyPeer } from '../../mesh/verify-peer.js'
import { checkStanding } from '../call/authorize.js'
import { formatXfcc, isIdentityField, type ProvenCaller } from '../call/headers.js'
import { answerOnSocket, answerProblem, LINGER_MS } from '../call/problem-answer.js'
import { formatReply, TROTH_CALL } from '../call/troth-call.js'
import type { Connection } from '../connections.js'
import type { RawFields } from '../http/message.js'
import type { StreamSink } from '../http/stream.js'
import { Recogniser } from '../operation/http.js'
import type { Parts } from '../parts.js'
import { ServedConnection, type Service } from '../transport/serve.js'
import type { Guest, Guests } from './guests.js'

export interface Admitted {
  readonly connection: Connection
  readonly caller: ProvenCaller
  /** Names the instance of the caller among all. */
  readonly instance: string
  /** What it shares with the other connections of the same caller. */
  readonly guest: Guest
  readonly recogniser: Recogniser
}

const EXPECTED = { kinds: ['agent', 'operator', 'foreign'] } as const
const NOBODY = { id: null, instance: null, serial: null }

/**
 * Registers, then judges; a refused peer is told why, and is gone within a second.
 * @returns undefined when it was refused
 */
export function admit(parts: Parts, socket: TLSSocket, guests: Guests): Admitted | undefined {
  const connection = parts.connections.register(socket, 'ingress')
  try {
    checkStanding(parts.standing())
    const { svid, subject } = judge(parts, socket)
    const guest = guests.enter(svid, socket)
    connection.admit(svid)
    const caller = { svid, xfcc: formatXfcc(parts.id, svid, subject) }
    return { connection, guest, caller, instance: instanceOf(svid), recogniser: new Recogniser() }
  } catch (error) {
    turnAway(parts, socket, asMeshError(error))
    return undefined
  }
}

/**
 * Who it is; `subject` as node:crypto gives it. Clients without keep-alive come with the same leaf for each call.
 * @throws MeshError PEER_*
 */
function judge(parts: Parts, socket: TLSSocket): { readonly svid: Svid; readonly subject: string } {
  const { bundles, revocations } = parts.world.current()
  const now = parts.clock.now()
  const question = { tlsAuthorized: socket.authorized, bundles, revocations, expected: EXPECTED, now }
  const leafDer = presentedLeaf(socket)
  const proven = leafDer === undefined ? undefined : verifyAgain(leafDer, question)
  if (proven !== undefined) return { svid: proven.svid, subject: proven.path[0].certificate.subject }
  const chain = clientChain(socket, issuingKnown(parts))
  return { svid: verifyPeer({ ...question, chain }), subject: chain[0]?.subject ?? '' }
}

const instanceOf = ({ id, instanceId, issuer, serial }: Svid): string =>
  `${id} ${instanceId ?? `${issuer}:${serial}`}`

/** Of peers of this mesh: the CAs that sign now, or did before a rotation. */
function issuingKnown({ world, credentials }: Parts): X509Certificate[] {
  const { bundles, trustDomain } = world.current()
  return [credentials.current().issuing, ...(bundles.get(trustDomain)?.issuing ?? [])]
}

function turnAway(parts: Parts, socket: TLSSocket, refusal: MeshError): void {
  parts.recorder.refused({
    direction: 'ingress',
    reason: refusal.code,
    peer: refusal instanceof PeerRefused ? refusal.peer : NOBODY,
    remoteAddress: socket.remoteAddress ?? null,
  })
  const fields = [TROTH_CALL, formatReply({ id: null, denied: refusal.code })]
  // A client of HTTP/2 would see a broken frame in plain text. Strangers are not worth a codec; and what is refused for our own sake is told
  // in text, which a sidecar reads before it sends anything, and goes elsewhere.
  const isKnown = refusal instanceof PeerRefused && refusal.peer.id !== null
  const speaksHttp2 = socket.alpnProtocol === 'h2' && isKnown
  if (speaksHttp2) answerInHttp2(parts, socket, { refusal, fields })
  else answerOnSocket(socket, refusal, { clock: parts.clock, fields })
}

/** Every request of the second that is left is answered alike; its body is never taken. */
function answerInHttp2(
  { clock, turn, sweep, doors }: Parts,
  socket: TLSSocket,
  { refusal, fields }: { refusal: MeshError; fields: RawFields },
): void {
  const service: Service = {
    onRequest(stream, { method }) {
      answerProblem(stream, refusal, { fields, method })
      return DEAF
    },
    onRefused: () => undefined,
  }
  const serving = { turn, sweep, headMs: doors.headMs, reads: null, protects: isIdentityField }
  new ServedConnection(socket, 'h2', service, serving)
  clock.after(LINGER_MS, () => socket.destroy())
}

/** Of a stream that was answered, or refused, at its head. */
export const DEAF: StreamSink = {
  onData: () => undefined,
  onTrailers: () => undefined,
  onEnd: () => undefined,
  onReset: () => undefined,
  onDrain: () => undefined,
}
