// One call from the local agent into the mesh: find the callee, get a proven connection, have the ledger hold the decision, and only
// then send. The egress decides about destination, identity and revocation; the scope is the callee's to decide.

import type { IncomingMessage } from 'node:http'
import type { Decided } from '../../mesh/audit-record.js'
import { asMeshError, MeshError, type MeshErrorCode } from '../../mesh/errors.js'
import { formatOperation } from '../../mesh/operation.js'
import type { AgentName, SpiffeId } from '../../mesh/spiffe-id.js'
import { partyOf } from '../../mesh/svid.js'
import { checkStanding } from '../call/authorize.js'
import { newCallId } from '../call/call-id.js'
import { type AnswerHead, type Exchanged, exchange, mayRepeat } from '../call/exchange.js'
import { headOfAnswer, headToMesh } from '../call/headers.js'
import { dropRest } from '../call/linger.js'
import { type Account, endedWith, openAccount, whenDecided } from '../call/outcome.js'
import { answerProblem } from '../call/problem-answer.js'
import { traceOf } from '../call/trace.js'
import { type CallReply, parseReply } from '../call/troth-call.js'
import { openUpstream, type Upstream } from '../call/upstream.js'
import { type RawFields, valuesOf } from '../http1/fields.js'
import type { Arrived } from '../http1/server.js'
import { type Recognised, recognise } from '../operation/http.js'
import type { Parts } from '../parts.js'
import type { PooledHead, Pools } from './pool.js'
import { calleeId, placesOf } from './resolve.js'

export interface Outbound {
  readonly arrived: Arrived
  readonly callee: AgentName
  readonly recognised: Recognised
}

/** Failures to get through, as opposed to refusals to try: the decision was to permit. */
const NOT_REACHED: ReadonlySet<MeshErrorCode> = new Set([
  'CALLEE_OFFLINE',
  'CALLEE_REFUSED',
  'CALLEE_TIMEOUT',
  'CALLEE_UNREACHABLE',
])

/** Reads what the call is. @throws MeshError CALL_* */
export function readOutbound(
  parts: Parts,
  arrived: Arrived,
  address: { callee: AgentName; originForm: string },
): Outbound {
  const { method, framing } = arrived.head
  const recognised = recognise(method, address.originForm)
  if (framing.kind === 'length' && framing.bytes > parts.limits.bodyMaxBytes)
    throw new MeshError('CALL_BODY_TOO_LARGE', 'the request body is larger than body.max')
  return { arrived, callee: address.callee, recognised }
}

/** Makes the call and answers. Rejects only for a bug. */
export async function callOut(parts: Parts, pools: Pools, outbound: Outbound): Promise<void> {
  const callId = newCallId(parts.clock.now())
  const account = openAccount({
    ledger: parts.recorder,
    clock: parts.clock,
    count: parts.count,
    callId,
    direction: 'egress',
  })
  const call = new CallOut(parts, pools, outbound, { callId, account })
  try {
    await call.run()
  } catch (error) {
    const problem = asMeshError(error)
    dropRest(outbound.arrived.request, parts.clock)
    const status = answerProblem(outbound.arrived.response, problem, { extras: { callId } })
    account.ended(endedWith(problem.code, status))
    if (problem.code === 'INTERNAL') throw error
  }
}

class CallOut {
  private readonly parts: Parts
  private readonly pools: Pools
  private readonly outbound: Outbound
  private readonly callId: string
  private readonly account: Account
  private readonly callee: SpiffeId
  private readonly head: PooledHead
  private readonly entry: Parameters<Account['decided']>[0]

  constructor(parts: Parts, pools: Pools, outbound: Outbound, ids: { callId: string; account: Account }) {
    const { arrived, recognised } = outbound
    const { fields, framing, method } = arrived.head
    this.parts = parts
    this.pools = pools
    this.outbound = outbound
    this.callId = ids.callId
    this.account = ids.account
    const world = parts.world.current()
    this.callee = calleeId(world, outbound.callee)
    const trace = traceOf(fields)
    this.head = {
      method,
      path: recognised.target,
      fields: headToMesh(
        { fields, framing, method, host: `${outbound.callee}.mesh`, trace },
        { id: ids.callId, sentAt: parts.clock.now() },
      ),
    }
    this.entry = {
      caller: partyOf(parts.credentials.current().svid),
      callerKind: 'agent',
      callee: { id: this.callee, instance: null, serial: null },
      operation: formatOperation(recognised.operation),
      scope: null,
      decision: 'permit',
      reason: 'OK',
      rule: null,
      grant: null,
      policyVersion: world.policyVersion,
      traceparent: trace.traceparent,
    }
  }

  /** @throws MeshError when nothing was answered */
  async run(): Promise<void> {
    let upstream: Upstream
    try {
      checkStanding(this.parts.standing())
      upstream = await this.open('any')
    } catch (error) {
      await this.decideAgainst(asMeshError(error))
      throw error
    }
    const exchanged = await this.send(upstream, () => whenDecided(this.account, this.permitOver(upstream)))
    const final = mayRepeat(exchanged, this.outbound.arrived)
      ? await this.send(await this.open('new'), () => Promise.resolve())
      : exchanged
    if (final.error === null) {
      this.account.ended(final)
      return
    }
    const status = answerProblem(this.outbound.arrived.response, final.error, {
      extras: { callId: this.callId },
    })
    this.account.ended({ ...final, status })
  }

  private async decideAgainst(error: MeshError): Promise<void> {
    const denied = NOT_REACHED.has(error.code) ? {} : ({ decision: 'deny', reason: error.code } as const)
    await whenDecided(this.account, { ...this.entry, ...denied })
  }

  private permitOver(upstream: Upstream): Omit<Decided, 'kind' | 'at' | 'callId' | 'direction'> {
    const svid = this.parts.connections.of(upstream.socket)?.svid
    return svid === undefined ? this.entry : { ...this.entry, callee: partyOf(svid) }
  }

  /** A judged connection to one of the callee's instances; the next one is tried when nobody answers at one. */
  private async open(use: 'any' | 'new'): Promise<Upstream> {
    const places = placesOf(this.parts.world.current(), this.parts.id, this.callee)
    const first = Number.parseInt(this.callId.slice(-4), 16) % places.length
    let failure: unknown
    for (const place of [...places.slice(first), ...places.slice(0, first)]) {
      try {
        return await openUpstream(this.pools.request(place, this.head, use))
      } catch (error) {
        failure = error
      }
    }
    throw failure instanceof MeshError
      ? failure
      : new MeshError('CALLEE_UNREACHABLE', `${this.callee} is not reached`, { cause: failure })
  }

  private async send(upstream: Upstream, commit: () => Promise<void>): Promise<Exchanged> {
    const { arrived } = this.outbound
    const connection = this.parts.connections.of(upstream.socket)
    const release = this.pools.hold(upstream.socket)
    try {
      await commit()
      return await exchange({
        request: arrived.request,
        response: arrived.response,
        framing: arrived.head.framing,
        expectsContinue: arrived.expectsContinue,
        upstream,
        limits: this.parts.limits,
        clock: this.parts.clock,
        readAnswer: (answer) => this.readAnswer(answer),
        cutReason: () => connection?.cutReason,
        lost: (cause) =>
          new MeshError('CALLEE_UNREACHABLE', `the connection to ${this.callee} was lost`, { cause }),
      })
    } catch (error) {
      upstream.destroy()
      throw error
    } finally {
      release()
    }
  }

  /** @throws MeshError CALLEE_REFUSED when it is no answer to this call by the callee's sidecar */
  private readAnswer(answer: IncomingMessage): AnswerHead {
    const { rawHeaders, statusCode = 502 } = answer
    const reply = readReply(rawHeaders, this.callee)
    if (reply === undefined)
      throw new MeshError('CALLEE_REFUSED', `${this.callee} answered without troth-call: no sidecar is there`)
    if (reply.id === null)
      throw new MeshError(
        'CALLEE_REFUSED',
        `${this.callee} refused the connection: ${reply.denied ?? 'no reason'}`,
      )
    if (reply.id !== this.callId)
      throw new MeshError('CALLEE_REFUSED', `${this.callee} answered another call`)
    const codings = valuesOf(rawHeaders, 'transfer-encoding')
    if (codings.length > 1 || (codings[0] ?? 'chunked').toLowerCase() !== 'chunked')
      throw new MeshError('APP_RESPONSE_INVALID', `${this.callee} answered with an unknown transfer coding`)
    return {
      fields: [...headOfAnswer(rawHeaders, statusCode), 'x-troth-call-id', this.callId],
      denied: reply.denied,
    }
  }
}

/** @throws MeshError CALLEE_REFUSED: what the callee writes there is not the agent's mistake */
function readReply(fields: RawFields, callee: SpiffeId): CallReply | undefined {
  try {
    return parseReply(fields)
  } catch (cause) {
    throw new MeshError('CALLEE_REFUSED', `${callee} answered with a malformed troth-call`, { cause })
  }
}
