// What the two doors of the CA's port serve. Public: enrolment, and renewal by key after expiry. Member: renewal and the feed, each request judged by
// the one judge and looked up in the store; a member path on the public door does not exist.

import type { IncomingMessage, RequestListener } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Clock } from '../host/clock.js'
import { type Answer, type Request, type Route, serveRoutes } from '../host/http-server.js'
import { errorFields, type Log } from '../host/log.js'
import { asMeshError, isMeshError, MeshError } from '../mesh/errors.js'
import { NAMED_KINDS } from '../mesh/spiffe-id.js'
import {
  ENROLMENT_MAX_BYTES,
  READ_ENROL,
  READ_RENEW,
  READ_RENEW_EXPIRED,
  type RenewNonce,
} from '../mesh/wire/enrolment.js'
import { FEED_PATH } from '../mesh/wire/feed.js'
import { memberActor } from './actor.js'
import type { CaAudit } from './audit.js'
import type { Authority } from './authority.js'
import { admitMember, counted, peerOf, provenAs, sourceOf } from './door-peer.js'
import type { Feed } from './feed.js'
import type { Hierarchy } from './hierarchy.js'
import { endWithProblem } from './plain-door.js'
import { type ByKey, certificateByKey } from './renewal/by-key.js'
import type { RenewalLimits } from './renewal/limits.js'
import type { CaStore, Certificate } from './store/model.js'
import type { TryLimit } from './try-limit.js'

export interface PublicDoorOptions {
  /** What anybody may have: lists, certificates, the trust bundle. */
  readonly published: readonly Route[]
  readonly authority: Authority
  readonly audit: CaAudit
  /** Of failed attempts, by address. */
  readonly limit: TryLimit
  readonly renewals: RenewalLimits
  readonly byKey: ByKey
  readonly log: Log
}

/** `POST /v1/enrol`, `GET` and `POST /v1/renew-expired`, and what is published */
export function publicDoor(options: PublicDoorOptions): RequestListener {
  const { published, authority, audit, limit, log, byKey } = options
  const enrol: Route = {
    method: 'POST',
    path: '/v1/enrol',
    maxBytes: ENROLMENT_MAX_BYTES,
    answer: (request) =>
      limited(limit, request, async (source) => {
        const query = await request.body(READ_ENROL, 'enrolment')
        return { json: await authority.enrol({ ...query, source }) }
      }),
  }
  const nonce: Route = {
    method: 'GET',
    path: '/v1/renew-expired',
    answer: ({ raw }) => {
      limit.check(sourceOf(raw.socket))
      return { json: { nonce: byKey.nonces.issue() } satisfies RenewNonce }
    },
  }
  const renewExpired: Route = {
    method: 'POST',
    path: '/v1/renew-expired',
    maxBytes: ENROLMENT_MAX_BYTES,
    answer: async (request) => {
      const { holder, csrPem } = await limited(limit, request, async () => {
        const wanted = await request.body(READ_RENEW_EXPIRED, 'renewal')
        const checkOften = (holder: Certificate): void => checkRenewals(options, holder)
        return { holder: await certificateByKey(byKey, wanted, checkOften), csrPem: wanted.csrPem }
      })
      return renewFor(options, { request, holder, csrPem })
    },
  }
  return serveRoutes([...counted(audit, [enrol, nonce, renewExpired]), ...published], log)
}

/** Counts failures by the address they come from. @throws MeshError JOIN_TOKEN_TRIES, or that of `work` */
async function limited<T>(
  limit: TryLimit,
  { raw }: Request,
  work: (source: string) => Promise<T>,
): Promise<T> {
  const source = sourceOf(raw.socket)
  const forgive = limit.take(source)
  try {
    const done = await work(source)
    forgive()
    return done
  } catch (error) {
    // it has proved who it is
    if (isMeshError(error, 'AGENT_SUSPENDED')) forgive()
    throw error
  }
}

/** @throws MeshError RENEW_TOO_OFTEN */
function checkRenewals({ renewals }: { renewals: RenewalLimits }, holder: Certificate): void {
  provenAs(holder, () => renewals(holder).check(holder.instanceId))
}

/** A renewal of the certificate that the caller has proved to hold. */
async function renewFor(
  { authority, renewals }: { authority: Authority; renewals: RenewalLimits },
  { request, holder, csrPem }: { request: Request; holder: Certificate; csrPem: string },
): Promise<Answer> {
  const { instanceId } = holder
  const limit = renewals(holder)
  checkRenewals({ renewals }, holder)
  try {
    const json = await authority.renew(memberActor(holder, sourceOf(request.raw.socket)), holder, csrPem)
    limit.count(instanceId)
    return { json }
  } catch (error) {
    const { code } = asMeshError(error)
    // our own failures are not its fault; one that is suspended asks on until it is resumed, and all do while a restored CA waits
    if (!['INTERNAL', 'AGENT_SUSPENDED', 'CA_RESTORED'].includes(code)) limit.count(instanceId)
    throw error
  }
}

export interface MemberDoorOptions {
  /** The admin wire, for operators. */
  readonly operators: readonly Route[]
  readonly authority: Authority
  readonly audit: CaAudit
  readonly feed: Feed
  readonly store: CaStore
  readonly hierarchy: Hierarchy
  readonly renewals: RenewalLimits
  readonly clock: Clock
  readonly log: Log
}

export interface MemberDoor {
  readonly listener: RequestListener
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
}

/** `POST /v1/renew`, `GET /v1/feed` (WebSocket), and the admin wire for operators */
export function memberDoor(options: MemberDoorOptions): MemberDoor {
  const { operators, audit, log, feed } = options
  const renew: Route = {
    method: 'POST',
    path: '/v1/renew',
    maxBytes: ENROLMENT_MAX_BYTES,
    answer: async (request) => {
      const holder = await admitMember(options, request.raw.socket, NAMED_KINDS)
      const { csrPem } = await request.body(READ_RENEW, 'renewal')
      return renewFor(options, { request, holder, csrPem })
    },
  }
  const upgrade = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    if (request.url !== FEED_PATH) throw new MeshError('NOT_FOUND', 'no such path')
    const member = await admitMember(options, socket, NAMED_KINDS)
    feed.accept({ request, socket, head, source: sourceOf(socket) }, member)
  }
  return {
    listener: serveRoutes([...counted(audit, [renew]), ...operators], log),
    upgrade: (request, socket, head) => {
      socket.on('error', (error: Error) => log.debug('ca.socket', errorFields(error)))
      upgrade(request, socket, head).catch((error: unknown) => {
        audit.turnedAway({ peer: peerOf(error), source: sourceOf(socket) }, error)
        refuseUpgrade(log, socket, error)
      })
    },
  }
}

function refuseUpgrade(log: Log, socket: Duplex, error: unknown): void {
  const problem = asMeshError(error)
  log[problem.code === 'INTERNAL' ? 'error' : 'info']('feed.refused', errorFields(problem))
  endWithProblem(socket, problem)
}
