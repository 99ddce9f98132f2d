// The member's way to the CA: TLS 1.3 with Node's verification on, and beside it the judge, which awaits exactly
// `spiffe://<trust domain>/ca`. Whatever name or address was dialled proves nothing. No secret leaves before both agree.

import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { DetailedPeerCertificate, PeerCertificate } from 'node:tls'
import type { Clock } from '../../host/clock.js'
import { type JsonRequest, requestJson, type Target } from '../../host/http-client.js'
import { TLS_FLOOR } from '../../host/tls.js'
import { isMeshError, MeshError } from '../../mesh/errors.js'
import type { Revocations } from '../../mesh/revocation.js'
import { caId, type TrustDomain } from '../../mesh/spiffe-id.js'
import { bundlePem, type TrustBundle } from '../../mesh/trust-bundle.js'
import { verifyPeer } from '../../mesh/verify-peer.js'
import {
  type EnrolLocalRequest,
  type Enrolment,
  type EnrolRequest,
  MEMBER_ALPN,
  READ_ENROLMENT,
  READ_RENEW_NONCE,
  type RenewExpiredRequest,
  type RenewNonce,
} from '../../mesh/wire/enrolment.js'
import type { Identity } from './credentials.js'

/** How the CA is reached and by what it is known. */
export interface CaPeer {
  readonly address: CaAddress
  readonly bundle: TrustBundle
  readonly revocations: Revocations
  readonly clock: Clock
}

export interface CaAddress {
  readonly host: string
  readonly port: number
}

/** TLS options of a connection to the CA, for https and ws alike. */
export interface CaTls {
  readonly host: string
  readonly port: number
  readonly servername: string
  readonly ca: string
  readonly ALPNProtocols: string[]
  readonly minVersion: 'TLSv1.3'
  readonly secureOptions: number
  readonly checkServerIdentity: (host: string, presented: PeerCertificate) => Error | undefined
}

const TIMEOUT_MS = 15_000
const ENROL = '/v1/enrol'
const RENEW_EXPIRED = '/v1/renew-expired'
const MAX_PRESENTED = 4

/**
 * Reads `host:port`; IPv6 stands in brackets.
 * @throws MeshError WIRE_MALFORMED
 */
export function parseCaAddress(address: string): CaAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(address)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port < 1 || port > 65_535)
    throw new MeshError('WIRE_MALFORMED', `${JSON.stringify(address.slice(0, 300))} is not host:port`)
  return { host, port }
}

/** True for an address that means this host, wherever it is read. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

/** The server name of TLS: absent for an IP address (RFC 6066 §3). */
export const serverNameOf = (host: string): string => (isIP(host) === 0 ? host : '')

/** TLS options of the public door: the CA proves itself, the member does not. */
export function publicDoor({ address, bundle, revocations, clock }: CaPeer): CaTls {
  return {
    ...TLS_FLOOR,
    host: address.host,
    port: address.port,
    servername: serverNameOf(address.host),
    ca: bundlePem(bundle),
    ALPNProtocols: ['http/1.1'],
    checkServerIdentity: (_host: string, presented: PeerCertificate): Error | undefined =>
      whyNotTheCa(presented, { bundle, revocations, now: clock.now() }),
  }
}

/** TLS options of the member door: both sides prove themselves. */
export function memberDoor(peer: CaPeer, identity: Identity): CaTls & { cert: string; key: string } {
  return {
    ...publicDoor(peer),
    ALPNProtocols: [MEMBER_ALPN],
    cert: identity.chainPem,
    key: identity.keyPem,
  }
}

/** @throws MeshError the CA's refusal, CA_UNREACHABLE | CA_IDENTITY_WRONG | WIRE_MALFORMED */
export function postEnrol(peer: CaPeer, request: EnrolRequest): Promise<Enrolment> {
  return post({ ...publicDoor(peer), agent: false }, ENROL, request)
}

/** @throws MeshError the CA's refusal, CA_UNREACHABLE | CA_IDENTITY_WRONG | WIRE_MALFORMED */
export function postRenew(
  peer: CaPeer,
  identity: Identity,
  csrPem: string,
  signal: AbortSignal,
): Promise<Enrolment> {
  return post({ ...memberDoor(peer, identity), agent: false, signal }, '/v1/renew', { csrPem })
}

/** @throws MeshError as `postRenewExpired` */
export function fetchRenewNonce(peer: CaPeer, signal: AbortSignal): Promise<RenewNonce> {
  const target = { ...publicDoor(peer), agent: false, signal }
  return send(target, { method: 'GET', path: RENEW_EXPIRED, read: READ_RENEW_NONCE, what: 'renewal' })
}

/** @throws MeshError the CA's refusal, CA_UNREACHABLE | CA_IDENTITY_WRONG | CLOCK_SKEW | WIRE_MALFORMED */
export function postRenewExpired(
  peer: CaPeer,
  request: RenewExpiredRequest,
  signal: AbortSignal,
): Promise<Enrolment> {
  return post({ ...publicDoor(peer), agent: false, signal }, RENEW_EXPIRED, request)
}

/** Over the admin socket, as the CA's own OS user. @throws MeshError the CA's refusal, CA_ADMIN_UNREACHABLE */
export function postEnrolLocal(socketPath: string, request: EnrolLocalRequest): Promise<Enrolment> {
  return requestJson(
    { socketPath },
    {
      method: 'POST',
      path: '/v1/enrol-local',
      body: request,
      read: READ_ENROLMENT,
      what: 'enrolment',
      timeoutMs: TIMEOUT_MS,
      unreachable: 'CA_ADMIN_UNREACHABLE',
    },
  )
}

function post(target: Target, path: string, body: unknown): Promise<Enrolment> {
  const what = path === ENROL ? 'enrolment' : 'renewal'
  return send(target, { method: 'POST', path, body, read: READ_ENROLMENT, what })
}

/** Any request at the member door. @throws MeshError the CA's refusal, CA_UNREACHABLE | CA_IDENTITY_WRONG | WIRE_MALFORMED */
export function askMemberDoor<T>(
  peer: CaPeer,
  identity: Identity,
  request: Omit<JsonRequest<T>, 'unreachable'>,
): Promise<T> {
  return send({ ...memberDoor(peer, identity), agent: false }, request)
}

async function send<T>(
  target: Target,
  request: Omit<JsonRequest<T>, 'timeoutMs' | 'unreachable'> & { timeoutMs?: number },
): Promise<T> {
  try {
    return await requestJson(target, { timeoutMs: TIMEOUT_MS, ...request, unreachable: 'CA_UNREACHABLE' })
  } catch (error) {
    throw isMeshError(error, 'CA_UNREACHABLE') && isVerification(error.cause)
      ? refusedByTls(error.cause, request.path === ENROL ? 'newcomer' : 'member')
      : error
  }
}

/**
 * The CA's own certificate is of this minute or of this year: when only its dates are wrong, the clock is. A member knows the mesh's root: one
 * that leads nowhere is another CA's, or the root was replaced while the member was away.
 */
export function refusedByTls(cause: unknown, by: 'member' | 'newcomer'): MeshError {
  const code = codeOf(cause)
  if (by === 'member' && NO_ROOT.has(code))
    return new MeshError(
      'CA_ROOT_UNKNOWN',
      `the CA at its address has a root that is not known here (${code})`,
      {
        cause,
      },
    )
  return code === 'CERT_NOT_YET_VALID' || code === 'CERT_HAS_EXPIRED'
    ? new MeshError('CLOCK_SKEW', `by this host's clock the CA's certificate is not valid now (${code})`, {
        cause,
      })
    : new MeshError('CA_IDENTITY_WRONG', `TLS does not accept the server at the CA address (${code})`, {
        cause,
      })
}

/** Codes of OpenSSL's verification, as Node gives them to a connection it refuses. */
const VERIFICATION = /^(UNABLE_TO_|CERT_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_|PATH_LENGTH_|ERR_TLS_CERT)/

/** Those that say that the chain ends at no root that is trusted. */
const NO_ROOT: ReadonlySet<string> = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
])

/** True when a connection failed because TLS did not accept the server's certificate. */
export function isVerification(error: unknown): boolean {
  return VERIFICATION.test(codeOf(error))
}

/**
 * True when the CA was reached and cut the connection without a word. So it does, among other reasons, with a certificate that has
 * ended by its clock: in TLS 1.3 the client learns no more than that.
 */
export function isCutOff(error: unknown): boolean {
  if (!isMeshError(error, 'CA_UNREACHABLE')) return false
  const code = codeOf(error.cause)
  return code === 'ECONNRESET' || code.endsWith('ALERT_CERTIFICATE_EXPIRED')
}

export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''

/** Called only when TLS itself has accepted the chain. */
function whyNotTheCa(
  presented: PeerCertificate,
  by: { bundle: TrustBundle; revocations: Revocations; now: number },
): Error | undefined {
  const { trustDomain } = by.bundle
  try {
    verifyPeer({
      chain: chainOf(presented as DetailedPeerCertificate),
      tlsAuthorized: true,
      bundles: new Map<TrustDomain, TrustBundle>([[trustDomain, by.bundle]]),
      revocations: by.revocations,
      expected: { exactly: caId(trustDomain) },
      now: by.now,
    })
    return undefined
  } catch (error) {
    return new MeshError('CA_IDENTITY_WRONG', `the server at the CA address is not ${caId(trustDomain)}`, {
      cause: error,
    })
  }
}

function chainOf(leaf: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = []
  let next: DetailedPeerCertificate | undefined = leaf
  while (next?.raw !== undefined && chain.length < MAX_PRESENTED) {
    chain.push(new X509Certificate(next.raw))
    // Node links a root to itself
    next = next.issuerCertificate === next ? undefined : next.issuerCertificate
  }
  return chain
}
