// One mutual-TLS connection to one callee instance, judged before a byte is written on it. Node's own refusal is off here, on one
// line, only because it would hide the certificate of whom it refuses: the judge asks for the same and more.

import type { X509Certificate } from 'node:crypto'
import tls, { type SecureContext, type TLSSocket } from 'node:tls'
import { presentedChain, TLS_FLOOR } from '../../host/tls.js'
import type { Identity } from '../../member/identity/credentials.js'
import type { Party } from '../../mesh/audit-record.js'
import { asMeshError, MeshError } from '../../mesh/errors.js'
import { meaningOf, type SpiffeId, type TrustDomain } from '../../mesh/spiffe-id.js'
import type { Svid } from '../../mesh/svid.js'
import type { TrustBundle } from '../../mesh/trust-bundle.js'
import { PeerRefused, verifyPeer } from '../../mesh/verify-peer.js'
import type { WITNESS_ALPN } from '../../mesh/wire/witness.js'
import { checkStanding } from '../call/authorize.js'
import type { Parts } from '../parts.js'

export interface Place {
  readonly id: SpiffeId
  readonly host: string
  readonly port: number
}

/** What this identity shows and whom it can follow to a root. Made at rotation, not at each dial. */
export interface Shown {
  readonly svid: Svid
  readonly context: SecureContext
}

export function shownBy(identity: Identity, bundles: ReadonlyMap<TrustDomain, TrustBundle>): Shown {
  const roots = [...bundles.values()].flatMap((bundle) =>
    bundle.roots.map((root: X509Certificate) => root.toString()),
  )
  const { svid, keyPem, chainPem } = identity
  return { svid, context: tls.createSecureContext({ ...TLS_FLOOR, key: keyPem, cert: chainPem, ca: roots }) }
}

/** Whom to connect to, as whom, for what. */
export interface Dial {
  readonly place: Place
  readonly shown: Shown
  /** ALPN. */
  readonly protocol: 'h2' | 'http/1.1' | typeof WITNESS_ALPN
}

/**
 * Connects and judges.
 * @returns a socket on which nothing was written; it is in the table of connections
 * @throws MeshError CALLEE_UNREACHABLE | CALLEE_REFUSED, PEER_* of the judge, or SELF_REVOKED | SELF_EXPIRED
 */
export function dial(parts: Parts, { place, shown, protocol }: Dial): Promise<TLSSocket> {
  const meaning = meaningOf(place.id)
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      host: place.host,
      port: place.port,
      servername: 'name' in meaning ? `${meaning.name}.mesh` : place.host,
      ALPNProtocols: [protocol],
      ...TLS_FLOOR,
      secureContext: shown.context,
      // The judge runs before any byte is written, and demands `authorized` too: so a refusal has a name (docs/architecture.md, 4.1).
      rejectUnauthorized: false,
      // The callee is asked for by its SPIFFE ID, which the judge demands exactly; its DNS name adds nothing to that.
      checkServerIdentity: () => undefined,
    })
    // head and body leave in two writes: Nagle would hold the second until the first is acknowledged, some 40 ms
    socket.setNoDelay(true)
    const deadline = parts.clock.after(parts.limits.connectTimeoutMs, () =>
      socket.destroy(new Error(`no connection within ${parts.limits.connectTimeoutMs} ms`)),
    )
    const fail = (error: MeshError): void => {
      settle()
      reject(error)
      socket.destroy()
    }
    const onError = (error: NodeJS.ErrnoException): void => fail(failureOf(parts, place, error))
    const onClose = (): void =>
      fail(new MeshError('CALLEE_UNREACHABLE', `${place.id} closed the connection in the handshake`))
    const settle = (): void => {
      deadline.cancel()
      socket.off('close', onClose).off('error', onError)
      // What breaks later is told to whoever uses the connection.
      socket.on('error', () => socket.destroy())
    }
    socket.on('error', onError)
    socket.once('close', onClose)
    socket.once('secureConnect', () => {
      const refusal = ownFault(parts) ?? judge(parts, place, socket) ?? deviation(place, protocol, socket)
      if (refusal !== undefined) {
        fail(refusal)
        return
      }
      settle()
      resolve(socket)
    })
  })
}

/** What has befallen this side while it connected: until now no table knew the socket. What else stands against new calls lets this one go on. */
function ownFault(parts: Parts): MeshError | undefined {
  try {
    checkStanding({ ...parts.standing(), draining: false, staleDenied: false })
    return undefined
  } catch (error) {
    return asMeshError(error)
  }
}

/** Registers, then judges. @returns the refusal; undefined when the peer is the callee */
function judge(parts: Parts, place: Place, socket: TLSSocket): MeshError | undefined {
  const connection = parts.connections.register(socket, 'egress')
  const { bundles, revocations } = parts.world.current()
  try {
    const svid = verifyPeer({
      chain: presentedChain(socket),
      tlsAuthorized: socket.authorized,
      bundles,
      revocations,
      expected: { exactly: place.id },
      now: parts.clock.now(),
    })
    connection.admit(svid)
    return undefined
  } catch (error) {
    const refusal = asMeshError(error)
    refuse(parts, refusal, socket.remoteAddress ?? place.host)
    return refusal
  }
}

/** A callee that speaks something else, when what it speaks decides how it is heard. */
function deviation(place: Place, protocol: Dial['protocol'], socket: TLSSocket): MeshError | undefined {
  if (protocol !== 'h2' || socket.alpnProtocol === protocol) return undefined
  return new MeshError('CALLEE_REFUSED', `${place.id} does not speak HTTP/2 here`)
}

const NOBODY: Party = { id: null, instance: null, serial: null }

function refuse(parts: Parts, error: MeshError, remoteAddress: string): void {
  parts.recorder.refused({
    direction: 'egress',
    reason: error.code,
    peer: error instanceof PeerRefused ? error.peer : NOBODY,
    remoteAddress,
  })
}

function failureOf(parts: Parts, place: Place, cause: NodeJS.ErrnoException): MeshError {
  const code = cause.code ?? ''
  if (!code.startsWith('ERR_SSL') && code !== 'EPROTO')
    return new MeshError('CALLEE_UNREACHABLE', `${place.id} is not reached: ${code || cause.message}`, {
      cause,
    })
  refuse(parts, new MeshError('PEER_HANDSHAKE_FAILED', 'TLS failed', { cause }), place.host)
  return new MeshError('CALLEE_REFUSED', `TLS with ${place.id} failed: ${code}`, { cause })
}
