// One call from the mesh to the app: whose it is was proved at admission; here it is recognised, decided, recorded, and only then the
// app hears of it. The ingress alone decides the scope.

import { errorFields } from '../../host/log.js'
import { asMeshError, MeshError, type MeshErrorCode } from '../../mesh/errors.js'
import { meaningOf, type SpiffeId } from '../../mesh/spiffe-id.js'
import { partyOf } from '../../mesh/svid.js'
import { authorize, type CallDecision, type CallDenial } from '../call/authorize.js'
import { checkLength, Exchange } from '../call/exchange.js'
import type { AnswerHead, Exchanged, ExchangeOwner } from '../call/exchange-contract.js'
import { fieldsBesideHead, fieldsOfAnswer, fieldsToApp } from '../call/headers.js'
import { Account, type DecidedNow, endedWith } from '../call/outcome.js'
import { answerProblem } from '../call/problem-answer.js'
import type { ReplayGuard } from '../call/replay.js'
import { type Trace, traceOf } from '../call/trace.js'
import { formatReply, parseClaim, TROTH_CALL } from '../call/troth-call.js'
import type { Unread } from '../call/unread.js'
import { firstOf, type RawFields, type RequestHead, type ResponseHead } from '../http/message.js'
import type { HttpStream } from '../http/stream.js'
import { StreamError } from '../http/stream-error.js'
import type { Recognised } from '../operation/http.js'
import type { Parts } from '../parts.js'
import type { Admitted } from './admit.js'
import type { App, AppConnection } from './app.js'

/** What all calls to one app share. */
export interface Inside {
  readonly parts: Parts
  /** Null: the sidecar serves no calls. */
  readonly app: App | null
  readonly replays: ReplayGuard
  /** The mesh name that is called, e.g. `tickets.mesh`. */
  readonly meshHost: string
}

/** `tickets.mesh`. */
export function meshHostOf(id: SpiffeId): string {
  const meaning = meaningOf(id)
  return 'name' in meaning ? `${meaning.name}.mesh` : id
}

export class CallIn implements ExchangeOwner {
  readonly exchange: Exchange
  /** Said here, when the call is permitted. */
  readonly awaitsContinue = false
  readonly #inside: Inside
  readonly #admitted: Admitted
  readonly #near: HttpStream
  #account: Account | undefined
  #method = ''
  /** What the app will be sent. */
  #head: RequestHead | undefined
  #decision: CallDecision | undefined
  #expectsContinue = false
  #isRepeated = false
  /** How it ended before the decision was committed. */
  #early: Exchanged | undefined

  constructor(inside: Inside, admitted: Admitted, near: HttpStream) {
    this.#inside = inside
    this.#admitted = admitted
    this.#near = near
    this.exchange = new Exchange(near, this, inside.parts.limits, inside.parts.sweep)
    inside.parts.inFlight.begin()
    admitted.connection.enter()
    admitted.guest.calls += 1
  }

  start(head: RequestHead): void {
    this.#method = head.method
    try {
      this.#decide(head)
    } catch (error) {
      const problem = asMeshError(error)
      if (problem.code === 'INTERNAL') this.#inside.parts.log.error('ingress.bug', errorFields(problem))
      this.#refuse(problem, head)
    }
  }

  /** @throws MeshError CALL_* */
  #decide(head: RequestHead): void {
    const { parts, replays } = this.#inside
    const now = parts.clock.now()
    const claim = parseClaim(head.fields)
    const recognised = this.#admitted.recogniser.recognise(head, head.path)
    checkLength(head.fields, parts.limits)
    if (claim !== undefined) replays.use(this.#admitted.instance, claim.id, now)
    const callId = claim?.id ?? parts.ids.next(now)
    const account = new Account(parts.books, callId, 'ingress')
    const trace = traceOf(head.fields, parts.ids, callId)
    const decision = this.#judge(recognised)
    this.#account = account
    this.#decision = decision
    this.#expectsContinue = firstOf(head.fields, 'expect') !== undefined
    if (decision.verdict === 'permit')
      this.#head = this.#headForApp(head, recognised, { trace, scopes: decision.scopes })
    account.decided(this.#recordOf(recognised, decision, claim !== undefined, trace), this.#onDecided)
  }

  #judge({ operation }: Recognised): CallDecision {
    const { parts } = this.#inside
    const { policy, revocations } = parts.world.current()
    const caller = this.#admitted.caller.svid
    return authorize({ standing: parts.standing(), caller, operation, policy, revocations })
  }

  #recordOf(
    { text }: Recognised,
    decision: CallDecision,
    isClaimed: boolean,
    { traceparent }: Trace,
  ): DecidedNow {
    const isPermitted = decision.verdict === 'permit'
    return {
      caller: partyOf(this.#admitted.caller.svid),
      callerKind: isClaimed ? 'agent' : 'foreign',
      callee: partyOf(this.#inside.parts.credentials.current().svid),
      operation: text,
      scope: decision.scope,
      decision: decision.verdict,
      reason: isPermitted ? 'OK' : decision.code,
      rule: decision.rule,
      grant: isPermitted ? decision.grant : null,
      policyVersion: decision.policyVersion,
      traceparent,
    }
  }

  #headForApp(
    head: RequestHead,
    { target }: Recognised,
    { trace, scopes }: { trace: Trace; scopes: readonly string[] },
  ): RequestHead {
    const { parts, app, meshHost } = this.#inside
    const { caller } = this.#admitted
    const callId = this.#account?.callId ?? ''
    const proven = { caller, callId, scopes, ingressSecret: app?.secret ?? '', meshHost }
    return {
      method: head.method,
      scheme: 'http',
      authority: app?.host ?? '',
      path: target,
      protocol: head.protocol,
      fields: fieldsToApp(parts.rules, head.fields, trace, proven),
    }
  }

  readonly #onDecided = (error: MeshError | undefined): void => {
    const decision = this.#decision
    // another instance runs a call of that id: the ledger holds no decision on this one
    if (error?.code === 'CALL_ID_INVALID') this.#count(error)
    if (error !== undefined) this.#answer(error)
    else if (this.#early !== undefined) this.#conclude(this.#early)
    else if (decision?.verdict === 'deny') this.#deny(decision)
    else this.#connect('any')
  }

  #deny({ code, detail, scope, suggestion }: CallDenial): void {
    this.#answer(new MeshError(code, detail), {
      ...(scope === null ? {} : { missing: scope }),
      ...(suggestion === null ? {} : { policy: suggestion }),
    })
  }

  #connect(use: 'any' | 'new'): void {
    const { app, parts } = this.#inside
    const head = this.#head
    try {
      if (app === null || head === undefined)
        throw new MeshError('APP_MISSING', `${parts.id} runs without an app`)
      const connection = app.take(head, use, this.#admitted.guest)
      if (connection instanceof Promise) connection.then(this.#forward, this.#onNoApp)
      else this.#forward(connection)
    } catch (error) {
      this.#onNoApp(error)
    }
  }

  readonly #onNoApp = (cause: unknown): void => {
    const error = asMeshError(cause)
    if (error.code === 'INTERNAL') this.#inside.parts.log.error('ingress.bug', errorFields(error))
    this.#answer(error)
  }

  readonly #forward = (connection: AppConnection): void => {
    const { exchange } = this
    const head = this.#head
    if (exchange.isOver || head === undefined) {
      connection.giveBack()
      return
    }
    try {
      exchange.forward(connection, head)
      if (this.#expectsContinue && !this.exchange.isOver) this.#near.interim({ status: 100, fields: [] })
      this.#expectsContinue = false
    } catch (error) {
      connection.giveBack()
      this.#onNoApp(error instanceof StreamError ? this.lost(error) : error)
    }
  }

  /** Refused before it was a call: counted, not decided. */
  #refuse(error: MeshError, head: RequestHead): void {
    this.#count(error)
    this.exchange.abandon()
    answerProblem(this.#near, error, {
      fields: [TROTH_CALL, formatReply({ id: claimedId(head), denied: error.code })],
      method: head.method,
    })
    this.#leave()
  }

  #count({ code }: MeshError): void {
    const { caller, connection } = this.#admitted
    this.#inside.parts.recorder.refused({
      direction: 'ingress',
      reason: code,
      peer: partyOf(caller.svid),
      remoteAddress: connection.socket.remoteAddress ?? null,
    })
  }

  /** The sidecar answers itself. */
  #answer(error: MeshError, extras = {}): void {
    const account = this.#account
    if (account === undefined) return
    if (this.exchange.isOver) {
      if (this.#early !== undefined) this.#conclude(this.#early)
      return
    }
    this.exchange.abandon()
    account.ended(endedWith(error.code, this.#problem(error, extras)))
    this.#leave()
  }

  #problem(error: MeshError, extras = {}): number {
    const callId = this.#account?.callId ?? ''
    return answerProblem(this.#near, error, {
      extras: { callId, ...extras },
      fields: [TROTH_CALL, formatReply({ id: callId, denied: error.code })],
      method: this.#method,
    })
  }

  /** The exchange is over: answers what was not answered, and records the end. */
  #conclude({ outcome, reason, status, error }: Exchanged): void {
    const { bytesIn, bytesOut } = this.exchange
    const told = error === null ? status : this.#problem(error)
    this.#account?.ended({ outcome, reason, status: told, bytesIn, bytesOut })
    this.#leave()
  }

  #leave(): void {
    this.#inside.parts.inFlight.end()
    this.#admitted.connection.leave()
    this.#admitted.guest.calls -= 1
  }

  // What the exchange asks and tells.

  exchanged(exchanged: Exchanged): void {
    const account = this.#account
    if (account === undefined || !account.isDecided) this.#early = exchanged
    else if (exchanged.mayRepeat && !this.#isRepeated) {
      this.#isRepeated = true
      this.#connect('new')
    } else {
      // it may wait for another connection that it does not get
      this.exchange.abandon()
      this.#conclude(exchanged)
    }
  }

  cutReason(): MeshErrorCode | undefined {
    return this.#admitted.connection.cutReason
  }

  lost(cause: StreamError): MeshError {
    return cause.code.startsWith('CALL_')
      ? new MeshError('APP_RESPONSE_INVALID', 'the app answered with malformed HTTP', { cause })
      : new MeshError('APP_UNREACHABLE', 'the connection to the app was lost', { cause })
  }

  get unread(): Unread {
    return this.#admitted.guest.unread
  }

  passing(fields: RawFields): RawFields {
    return fieldsBesideHead(this.#inside.parts.rules, fields)
  }

  readAnswer({ fields }: ResponseHead): AnswerHead {
    const passed = fieldsOfAnswer(this.#inside.parts.rules, fields)
    passed.push(TROTH_CALL, formatReply({ id: this.#account?.callId ?? '', denied: null }))
    return { fields: passed, denied: null }
  }
}

/** The id the caller gave, to answer under it even when the request is refused; null when it gave none that can be read. */
function claimedId({ fields }: RequestHead): string | null {
  try {
    return parseClaim(fields)?.id ?? null
  } catch {
    return null
  }
}
