// One call from the local agent into the mesh: find the callee, get a proven connection, have the ledger hold the decision, and only
// then send. The egress decides about destination, identity and revocation; the scope is the callee's to decide.

import { errorFields } from '../../host/log.js'
import { asMeshError, MeshError, type MeshErrorCode } from '../../mesh/errors.js'
import type { SpiffeId } from '../../mesh/spiffe-id.js'
import { partyOf } from '../../mesh/svid.js'
import { checkStanding } from '../call/authorize.js'
import { checkLength, Exchange } from '../call/exchange.js'
import type { AnswerHead, Exchanged, ExchangeOwner } from '../call/exchange-contract.js'
import { fieldsBesideHead, fieldsOfAnswer, fieldsToMesh } from '../call/headers.js'
import { Account, type DecidedNow, endedWith } from '../call/outcome.js'
import { answerProblem } from '../call/problem-answer.js'
import { traceOf } from '../call/trace.js'
import { type CallReply, isPlainReply, parseReply } from '../call/troth-call.js'
import type { Unread } from '../call/unread.js'
import { firstOf, type RawFields, type RequestHead, type ResponseHead } from '../http/message.js'
import type { HttpStream } from '../http/stream.js'
import { StreamError } from '../http/stream-error.js'
import type { Recognised } from '../operation/http.js'
import type { Parts } from '../parts.js'
import type { PeerConnection } from './peer-connection.js'
import type { Peers } from './peers.js'
import type { Callee } from './resolve.js'

/** Failures to get through, as opposed to refusals to try: the decision was to permit. */
const NOT_REACHED: ReadonlySet<MeshErrorCode> = new Set([
  'CALLEE_BUSY',
  'CALLEE_OFFLINE',
  'CALLEE_REFUSED',
  'CALLEE_TIMEOUT',
  'CALLEE_UNREACHABLE',
])

export interface Destination {
  readonly callee: Callee
  readonly recognised: Recognised
}

export class CallOut implements ExchangeOwner {
  readonly exchange: Exchange
  awaitsContinue = false
  readonly #parts: Parts
  readonly #peers: Peers
  readonly #near: HttpStream
  #account: Account | undefined
  #callee: SpiffeId | undefined
  #head: RequestHead | undefined
  #entry: DecidedNow | undefined
  #peer: PeerConnection | null = null
  /** The peer counts this call. */
  #isEntered = false
  #isRepeated = false
  /** How it ended before the decision was committed. */
  #early: Exchanged | undefined

  constructor(parts: Parts, peers: Peers, near: HttpStream) {
    this.#parts = parts
    this.#peers = peers
    this.#near = near
    this.exchange = new Exchange(near, this, parts.limits, parts.sweep)
    parts.inFlight.begin()
  }

  /** Turned away before it was a call: answered here, counted by the door. */
  refuse(error: MeshError, { method }: RequestHead): void {
    this.exchange.abandon()
    answerProblem(this.#near, error, { method })
    this.#parts.inFlight.end()
  }

  start(head: RequestHead, { callee, recognised }: Destination): void {
    const parts = this.#parts
    checkLength(head.fields, parts.limits)
    const now = parts.clock.now()
    const callId = parts.ids.next(now)
    const world = parts.world.current()
    const trace = traceOf(head.fields, parts.ids, callId)
    this.#account = new Account(parts.books, callId, 'egress')
    this.#callee = callee.id
    const fields = fieldsToMesh(parts.rules, head.fields, trace, { id: callId, sentAt: now })
    // whether the body is wanted is said where the call is permitted (RFC 9110 §10.1.1)
    this.awaitsContinue = firstOf(head.fields, 'expect') !== undefined
    if (this.awaitsContinue) fields.push('expect', '100-continue')
    this.#head = {
      method: head.method,
      scheme: 'https',
      authority: callee.host,
      path: recognised.target,
      protocol: head.protocol,
      fields,
    }
    this.#entry = {
      caller: partyOf(parts.credentials.current().svid),
      callerKind: 'agent',
      callee: { id: this.#callee, instance: null, serial: null },
      operation: recognised.text,
      scope: null,
      decision: 'permit',
      reason: 'OK',
      rule: null,
      grant: null,
      policyVersion: world.policyVersion,
      traceparent: trace.traceparent,
    }
    this.#connect(this.#callee)
  }

  #connect(callee: SpiffeId): void {
    try {
      checkStanding(this.#parts.standing())
      const peer = this.#peers.take(callee, this.#isRepeated ? this.#peer : null)
      if (peer instanceof Promise) peer.then(this.#onPeer, this.#onNoPeer)
      else this.#onPeer(peer)
    } catch (error) {
      this.#onNoPeer(error)
    }
  }

  readonly #onPeer = (peer: PeerConnection): void => {
    this.#peer = peer
    const account = this.#account
    const entry = this.#entry
    if (account === undefined || entry === undefined) return
    if (account.isDecided) this.#forward()
    else account.decided({ ...entry, callee: partyOf(peer.svid) }, this.#onDecided)
  }

  readonly #onDecided = (error: MeshError | undefined): void => {
    if (error !== undefined) this.#answer(error)
    else if (this.#early !== undefined) this.#conclude(this.#early)
    else this.#forward()
  }

  /** Nobody was reached, or nobody may be: that is decided and recorded too, then answered. */
  readonly #onNoPeer = (cause: unknown): void => {
    const error = asMeshError(cause)
    const { log } = this.#parts
    if (error.code === 'INTERNAL') log.error('egress.bug', errorFields(error))
    const account = this.#account
    const entry = this.#entry
    if (account === undefined || entry === undefined) return
    if (account.isDecided) {
      this.#answer(error)
      return
    }
    const denied = NOT_REACHED.has(error.code) ? {} : ({ decision: 'deny', reason: error.code } as const)
    account.decided({ ...entry, ...denied }, (unrecorded) => this.#answer(unrecorded ?? error))
  }

  #forward(): void {
    const { exchange } = this
    const peer = this.#peer
    const head = this.#head
    if (exchange.isOver || peer === null || head === undefined) return
    try {
      this.#isEntered = true
      exchange.forward(peer, head)
    } catch (error) {
      this.#isEntered = false
      this.#retryOr(this.#notSent(error))
    }
  }

  /** Nothing of the call has left: another connection may take it, once. */
  #retryOr(error: MeshError): void {
    if (this.#isRepeated || this.#callee === undefined || this.exchange.isOver) this.#answer(error)
    else {
      this.#isRepeated = true
      this.#connect(this.#callee)
    }
  }

  #notSent(cause: unknown): MeshError {
    if (cause instanceof StreamError && cause.code === 'HTTP2_STREAM_REFUSED') return this.lost(cause)
    return asMeshError(cause)
  }

  /** The sidecar answers itself. */
  #answer(error: MeshError): void {
    this.#leave()
    const account = this.#account
    if (account === undefined) return
    if (this.exchange.isOver) {
      if (this.#early !== undefined) this.#conclude(this.#early)
      return
    }
    this.exchange.abandon()
    account.ended(endedWith(error.code, this.#problem(error)))
    this.#parts.inFlight.end()
  }

  #problem(error: MeshError): number {
    const callId = this.#account?.callId ?? ''
    return answerProblem(this.#near, error, { extras: { callId }, method: this.#head?.method ?? '' })
  }

  /** The exchange is over: answers what was not answered, and records the end. */
  #conclude({ outcome, reason, status, error }: Exchanged): void {
    const { bytesIn, bytesOut } = this.exchange
    const told = error === null ? status : this.#problem(error)
    this.#account?.ended({ outcome, reason, status: told, bytesIn, bytesOut })
    this.#parts.inFlight.end()
  }

  #leave(): void {
    if (!this.#isEntered) return
    this.#isEntered = false
    this.#peer?.leave()
  }

  // What the exchange asks and tells.

  exchanged(exchanged: Exchanged): void {
    this.#leave()
    const account = this.#account
    if (account === undefined) this.#parts.inFlight.end()
    else if (!account.isDecided) this.#early = exchanged
    else if (exchanged.mayRepeat && exchanged.error !== null) this.#retryOr(exchanged.error)
    else this.#conclude(exchanged)
  }

  cutReason(): MeshErrorCode | undefined {
    return this.#peer?.cutReason
  }

  lost(cause: StreamError): MeshError {
    return new MeshError('CALLEE_UNREACHABLE', `the connection to ${this.#callee ?? 'the callee'} was lost`, {
      cause,
    })
  }

  get unread(): Unread {
    return this.#parts.unread
  }

  passing(fields: RawFields): RawFields {
    return fieldsBesideHead(this.#parts.rules, fields)
  }

  /** @throws MeshError CALLEE_REFUSED when it is no answer to this call by the callee's sidecar */
  readAnswer({ fields }: ResponseHead): AnswerHead {
    const callId = this.#account?.callId ?? ''
    const denied = isPlainReply(fields, callId) ? null : denialIn(fields, callId, this.#callee ?? '')
    const passed = fieldsOfAnswer(this.#parts.rules, fields)
    passed.push('x-troth-call-id', callId)
    return { fields: passed, denied }
  }
}

/**
 * Why the callee's sidecar answered itself; null when it did not.
 * @throws MeshError CALLEE_REFUSED
 */
function denialIn(fields: RawFields, callId: string, callee: string): MeshErrorCode | null {
  const reply = readReply(fields, callee)
  if (reply === undefined)
    throw new MeshError('CALLEE_REFUSED', `${callee} answered without troth-call: no sidecar is there`)
  if (reply.id === null)
    throw new MeshError('CALLEE_REFUSED', `${callee} refused the connection: ${reply.denied ?? 'no reason'}`)
  if (reply.id !== callId) throw new MeshError('CALLEE_REFUSED', `${callee} answered another call`)
  return reply.denied
}

/** @throws MeshError CALLEE_REFUSED: what the callee writes there is not the agent's mistake */
function readReply(fields: RawFields, callee: string): CallReply | undefined {
  try {
    return parseReply(fields)
  } catch (cause) {
    throw new MeshError('CALLEE_REFUSED', `${callee} answered with a malformed troth-call`, { cause })
  }
}
