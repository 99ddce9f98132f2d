// One call from the mesh to the app: whose it is was proved at admission; here it is recognised, decided, recorded, and only then the
// app hears of it. The ingress alone decides the scope.

import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { errorFields } from '../../host/log.js'
import { asMeshError, MeshError } from '../../mesh/errors.js'
import { formatOperation } from '../../mesh/operation.js'
import type { Permit } from '../../mesh/policy/decide.js'
import { meaningOf, type SpiffeId } from '../../mesh/spiffe-id.js'
import { partyOf, type Svid } from '../../mesh/svid.js'
import { authorize, type CallDecision, type CallDenial } from '../call/authorize.js'
import { newCallId } from '../call/call-id.js'
import { type AnswerHead, type Exchanged, exchange, mayRepeat } from '../call/exchange.js'
import { headOfAnswer, headToApp } from '../call/headers.js'
import { dropRest } from '../call/linger.js'
import { type Account, endedWith, openAccount, whenDecided } from '../call/outcome.js'
import { answerProblem } from '../call/problem-answer.js'
import { openReplayGuard, REPLAY_LIMITS, type ReplayGuard } from '../call/replay.js'
import { type Trace, traceOf } from '../call/trace.js'
import { formatReply, parseClaim, TROTH_CALL } from '../call/troth-call.js'
import { openUpstream, type Upstream } from '../call/upstream.js'
import { valuesOf } from '../http1/fields.js'
import type { Arrived } from '../http1/server.js'
import { type Recognised, recognise } from '../operation/http.js'
import type { Parts } from '../parts.js'
import type { Admitted } from './admit.js'
import type { App, AppHead } from './app.js'

interface Inbound extends Admitted {
  readonly arrived: Arrived
  readonly recognised: Recognised
  readonly callId: string
  /** False: the caller sent no call id, so it has no sidecar. */
  readonly isClaimed: boolean
}

/** Counts what was turned away without a decision. */
type Refuse = (error: MeshError, socket: Duplex) => void

/** @returns what serves one request of an admitted connection */
export function openInbound(
  parts: Parts,
  app: App | null,
  refused: Refuse,
): (arrived: Arrived, admitted: Admitted) => void {
  const replays = openReplayGuard(REPLAY_LIMITS)
  return (arrived, admitted) => {
    const { request, response } = arrived
    const end = parts.inFlight.begin()
    response.once('close', end)
    try {
      const inbound = readInbound(parts, replays, arrived, admitted)
      callIn(parts, app, inbound, refused).then(end, (error: unknown) => {
        end()
        parts.log.error('ingress.bug', errorFields(error))
      })
    } catch (error) {
      const problem = asMeshError(error)
      if (problem.code === 'INTERNAL') parts.log.error('ingress.bug', errorFields(problem))
      refused(problem, request.socket)
      dropRest(request, parts.clock)
      answerProblem(response, problem, {
        fields: { [TROTH_CALL]: formatReply({ id: claimedId(arrived), denied: problem.code }) },
      })
    }
  }
}

/** The id the caller gave, to answer under it even when the request is refused; null when it gave none that can be read. */
function claimedId({ head }: Arrived): string | null {
  try {
    return parseClaim(head.fields)?.id ?? null
  } catch {
    return null
  }
}

/** @throws MeshError CALL_* */
function readInbound(parts: Parts, replays: ReplayGuard, arrived: Arrived, admitted: Admitted): Inbound {
  const { method, framing, fields, originForm } = arrived.head
  const now = parts.clock.now()
  const claim = parseClaim(fields)
  const recognised = recognise(method, originForm)
  if (framing.kind === 'length' && framing.bytes > parts.limits.bodyMaxBytes)
    throw new MeshError('CALL_BODY_TOO_LARGE', 'the request body is larger than body.max')
  if (claim !== undefined) replays.use(instanceOf(admitted.caller.svid), claim.id, now)
  return {
    ...admitted,
    arrived,
    recognised,
    callId: claim?.id ?? newCallId(now),
    isClaimed: claim !== undefined,
  }
}

const instanceOf = ({ id, instanceId, issuer, serial }: Svid): string =>
  `${id} ${instanceId ?? `${issuer}:${serial}`}`

async function callIn(parts: Parts, app: App | null, inbound: Inbound, refused: Refuse): Promise<void> {
  const { callId, arrived } = inbound
  const account = openAccount({
    ledger: parts.recorder,
    clock: parts.clock,
    count: parts.count,
    callId,
    direction: 'ingress',
  })
  const trace = traceOf(arrived.head.fields)
  try {
    const decision = decideCall(parts, inbound)
    await whenDecided(account, recordOf(parts, inbound, { decision, trace }))
    if (decision.verdict === 'deny') {
      deny(parts, inbound, decision, account)
      return
    }
    if (app === null) throw new MeshError('APP_MISSING', `${parts.id} runs without an app`)
    const head = appHead(parts, inbound, { app, trace, permit: decision })
    const exchanged = await sendToApp(parts, app, inbound, head)
    if (exchanged.error === null) account.ended(exchanged)
    else account.ended({ ...exchanged, status: answer(parts, inbound, exchanged.error) })
  } catch (error) {
    const problem = asMeshError(error)
    // another instance runs a call of that id: the ledger holds no decision on this one
    if (problem.code === 'CALL_ID_INVALID') refused(problem, arrived.request.socket)
    account.ended(endedWith(problem.code, answer(parts, inbound, problem)))
    if (problem.code === 'INTERNAL') throw error
  }
}

function decideCall(parts: Parts, { caller, recognised }: Inbound): CallDecision {
  const { policy, revocations } = parts.world.current()
  return authorize({
    standing: parts.standing(),
    caller: caller.svid,
    operation: recognised.operation,
    policy,
    revocations,
  })
}

function recordOf(
  parts: Parts,
  { caller, recognised, isClaimed }: Inbound,
  { decision, trace }: { decision: CallDecision; trace: Trace },
): Parameters<Account['decided']>[0] {
  const isPermitted = decision.verdict === 'permit'
  return {
    caller: partyOf(caller.svid),
    callerKind: isClaimed ? 'agent' : 'foreign',
    callee: partyOf(parts.credentials.current().svid),
    operation: formatOperation(recognised.operation),
    scope: decision.scope,
    decision: decision.verdict,
    reason: isPermitted ? 'OK' : decision.code,
    rule: decision.rule,
    grant: isPermitted ? decision.grant : null,
    policyVersion: decision.policyVersion,
    traceparent: trace.traceparent,
  }
}

function deny(parts: Parts, inbound: Inbound, denial: CallDenial, account: Account): void {
  const { code, detail, scope, suggestion } = denial
  const error = new MeshError(code, detail)
  const extras = {
    callId: inbound.callId,
    ...(scope === null ? {} : { missing: scope }),
    ...(suggestion === null ? {} : { policy: suggestion }),
  }
  account.ended(endedWith(code, answer(parts, inbound, error, extras)))
}

function answer(parts: Parts, { arrived, callId }: Inbound, error: MeshError, extras = {}): number {
  const { request, response } = arrived
  dropRest(request, parts.clock)
  return answerProblem(response, error, {
    extras: { callId, ...extras },
    fields: { [TROTH_CALL]: formatReply({ id: callId, denied: error.code }) },
  })
}

function appHead(
  parts: Parts,
  { arrived, recognised, caller, callId }: Inbound,
  { app, trace, permit }: { app: App; trace: Trace; permit: Permit },
): AppHead {
  const { fields, framing, method } = arrived.head
  return {
    method,
    path: recognised.target,
    fields: headToApp(
      { fields, framing, method, host: app.host, trace },
      { caller, callId, scopes: permit.scopes, ingressSecret: app.secret, meshHost: meshHostOf(parts.id) },
    ),
  }
}

function meshHostOf(id: SpiffeId): string {
  const meaning = meaningOf(id)
  return 'name' in meaning ? `${meaning.name}.mesh` : id
}

async function sendToApp(parts: Parts, app: App, inbound: Inbound, head: AppHead): Promise<Exchanged> {
  const release = inbound.connection.hold()
  const send = async (use: 'any' | 'new'): Promise<Exchanged> =>
    exchangeWith(parts, inbound, await openToApp(parts, app.request(head, use)))
  try {
    const exchanged = await send('any')
    return mayRepeat(exchanged, inbound.arrived) ? await send('new') : exchanged
  } finally {
    release()
  }
}

/** Waits for a connection to the app no longer than for one to a callee: long streams may hold all of them. */
function openToApp({ clock, limits }: Parts, request: ClientRequest): Promise<Upstream> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown): void =>
      reject(new MeshError('APP_UNREACHABLE', 'the app does not answer', { cause }))
    const deadline = clock.after(limits.connectTimeoutMs, () => {
      request.destroy()
      fail(new Error('all connections to the app are in use'))
    })
    openUpstream(request)
      .then(resolve, fail)
      .finally(() => deadline.cancel())
  })
}

function exchangeWith(
  parts: Parts,
  { arrived, connection, callId }: Inbound,
  upstream: Upstream,
): Promise<Exchanged> {
  return exchange({
    request: arrived.request,
    response: arrived.response,
    framing: arrived.head.framing,
    expectsContinue: arrived.expectsContinue,
    upstream,
    limits: parts.limits,
    clock: parts.clock,
    readAnswer(received) {
      // Bytes that come after such an answer would be read as the answer to the next caller.
      if (mayTrail(arrived.head.method, received)) upstream.request.shouldKeepAlive = false
      return readAnswer(received, callId)
    },
    cutReason: () => connection.cutReason,
    lost: (cause: NodeJS.ErrnoException) =>
      cause.code?.startsWith('HPE_') === true
        ? new MeshError('APP_RESPONSE_INVALID', 'the app answered with malformed HTTP', { cause })
        : new MeshError('APP_UNREACHABLE', 'the connection to the app was lost', { cause }),
  })
}

/** An answer without a body to which careless apps send one all the same, perhaps later. */
function mayTrail(method: string, { statusCode, rawHeaders }: IncomingMessage): boolean {
  if (statusCode !== 204 && statusCode !== 304) return method === 'HEAD'
  return (
    valuesOf(rawHeaders, 'transfer-encoding').length > 0 ||
    valuesOf(rawHeaders, 'content-length').some((length) => length !== '0')
  )
}

/** @throws MeshError APP_RESPONSE_INVALID */
function readAnswer({ rawHeaders, statusCode = 502 }: IncomingMessage, callId: string): AnswerHead {
  const codings = valuesOf(rawHeaders, 'transfer-encoding')
  if (codings.length > 1 || (codings[0] ?? 'chunked').toLowerCase() !== 'chunked')
    throw new MeshError('APP_RESPONSE_INVALID', 'the app answered with an unknown transfer coding')
  const fields = headOfAnswer(rawHeaders, statusCode)
  return { fields: [...fields, TROTH_CALL, formatReply({ id: callId, denied: null })], denied: null }
}
