// What the two doors of the CA's port serve. Public: enrolment, nothing else. Member: renewal and the feed, each request judged by
// the one judge and looked up in the store; a member path on the public door does not exist.

import type { IncomingMessage, RequestListener } from 'node:http'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import type { Clock } from '../host/clock.js'
import { type Route, serveRoutes } from '../host/http-server.js'
import { errorFields, type Log } from '../host/log.js'
import { clientChain } from '../host/tls.js'
import { asMeshError, MeshError } from '../mesh/errors.js'
import { revocationsOf } from '../mesh/revocation.js'
import { verifyPeer } from '../mesh/verify-peer.js'
import { ENROLMENT_MAX_BYTES, READ_ENROL, READ_RENEW } from '../mesh/wire/enrolment.js'
import { FEED_PATH } from '../mesh/wire/feed.js'
import { PROBLEM_TYPE, problemOf } from '../mesh/wire/problem.js'
import { memberActor } from './actor.js'
import type { Authority } from './authority.js'
import type { Feed } from './feed.js'
import type { Hierarchy } from './hierarchy.js'
import type { CaStore, Certificate } from './store/model.js'
import { plainAddress, type TryLimit } from './try-limit.js'

export interface PublicDoorOptions {
  readonly authority: Authority
  readonly limit: TryLimit
  readonly log: Log
}

/** `POST /v1/enrol` */
export function publicDoor({ authority, limit, log }: PublicDoorOptions): RequestListener {
  const enrol: Route = {
    method: 'POST',
    path: '/v1/enrol',
    maxBytes: ENROLMENT_MAX_BYTES,
    answer: async (request) => {
      const source = sourceOf(request.raw.socket)
      limit.check(source)
      try {
        const query = await request.body(READ_ENROL, 'enrolment')
        return { json: await authority.enrol({ ...query, source }) }
      } catch (error) {
        limit.count(source)
        throw error
      }
    },
  }
  return serveRoutes([enrol], log)
}

export interface MemberDoorOptions {
  readonly authority: Authority
  readonly feed: Feed
  readonly store: CaStore
  readonly hierarchy: Hierarchy
  /** Of renewals, by instance. */
  readonly limit: TryLimit
  readonly clock: Clock
  readonly log: Log
}

export interface MemberDoor {
  readonly listener: RequestListener
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
}

/** `POST /v1/renew`, `GET /v1/feed` (WebSocket) */
export function memberDoor(options: MemberDoorOptions): MemberDoor {
  const { authority, limit, log, feed } = options
  const renew: Route = {
    method: 'POST',
    path: '/v1/renew',
    maxBytes: ENROLMENT_MAX_BYTES,
    answer: async (request) => {
      const member = await admitMember(options, request.raw.socket)
      const { csrPem } = await request.body(READ_RENEW, 'renewal')
      limit.check(member.instanceId)
      try {
        const renewed = await authority.renew(
          memberActor(member, sourceOf(request.raw.socket)),
          member,
          csrPem,
        )
        limit.count(member.instanceId)
        return { json: renewed }
      } catch (error) {
        // our own failures are not its fault, and leave no row
        if (asMeshError(error).code !== 'INTERNAL') limit.count(member.instanceId)
        throw error
      }
    },
  }
  const upgrade = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    if (request.url !== FEED_PATH) throw new MeshError('NOT_FOUND', 'no such path')
    const member = await admitMember(options, socket)
    feed.accept({ request, socket, head, source: sourceOf(socket) }, member)
  }
  return {
    listener: serveRoutes([renew], log),
    upgrade: (request, socket, head) => {
      socket.on('error', (error: Error) => log.debug('ca.socket', errorFields(error)))
      upgrade(request, socket, head).catch((error: unknown) => refuseUpgrade(log, socket, error))
    },
  }
}

/**
 * The member behind a connection: judged like every peer, then looked up, because only the store knows what was issued here and
 * withdrawn since.
 * @throws MeshError PEER_*
 */
async function admitMember(
  { store, hierarchy, clock }: MemberDoorOptions,
  socket: unknown,
): Promise<Certificate> {
  if (!(socket instanceof TLSSocket)) throw new MeshError('PEER_NO_CERTIFICATE', 'the connection is not TLS')
  const now = clock.now()
  const { bundle, issuers } = hierarchy
  const chain = clientChain(
    socket,
    issuers.map((ca) => ca.issuing),
  )
  const { issuer, serial } = verifyPeer({
    chain,
    tlsAuthorized: socket.authorized,
    bundles: new Map([[bundle.trustDomain, bundle]]),
    revocations: revocationsOf([], []),
    expected: { kinds: ['agent', 'operator', 'collector'] },
    now,
  })
  return store.admit({ issuer, serial, pem: chain[0]?.toString() ?? '' }, now)
}

function refuseUpgrade(log: Log, socket: Duplex, error: unknown): void {
  const problem = asMeshError(error)
  log[problem.code === 'INTERNAL' ? 'error' : 'info']('feed.refused', errorFields(problem))
  const body = `${JSON.stringify(problemOf(problem))}\n`
  const head = [
    `HTTP/1.1 ${problem.spec.status} Refused`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy())
}

const sourceOf = (socket: unknown): string =>
  socket instanceof TLSSocket ? plainAddress(socket.remoteAddress ?? 'unknown') : 'unknown'
