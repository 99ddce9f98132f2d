// One exchange in full: relays the request to the far side and the answer back, with back-pressure and cancellation both ways, until it is
// over. It holds what comes before the far side is open, within the near side's window. Tells how it ended; decides nothing, records nothing.

import { type Sweep, type Swept, UNWATCHED } from '../../host/sweep.js'
import type { Outcome } from '../../mesh/audit-record.js'
import { asMeshError, MeshError, type MeshErrorCode } from '../../mesh/errors.js'
import { firstOf, type RawFields, type RequestHead, type ResponseHead } from '../http/message.js'
import type { HttpStream, StreamSink } from '../http/stream.js'
import { H2, type StreamError } from '../http/stream-error.js'
import type { ExchangeLimits, ExchangeOwner, Far } from './exchange-contract.js'
import { FarSink, type HearsFar, unanswerable } from './far-sink.js'

/** Safe to send a second time (RFC 9110 §9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
const NOTHING = Buffer.alloc(0)
/** Interim answers that are passed on; who does not read cannot be made to hold more of them. */
const MAX_INTERIMS = 16

/** @throws MeshError CALL_BODY_TOO_LARGE for a request that announces more than is taken */
export function checkLength(fields: RawFields, { bodyMaxBytes }: ExchangeLimits): void {
  if (Number(firstOf(fields, 'content-length') ?? 0) > bodyMaxBytes)
    throw new MeshError('CALL_BODY_TOO_LARGE', 'the request body is larger than body.max')
}

type Phase = 'held' | 'request' | 'head' | 'answer' | 'stream' | 'over'

/** The near side's sink. It is made when the request arrives; `forward` opens the far side later. */
export class Exchange implements StreamSink, HearsFar, Swept {
  watchedAt = UNWATCHED
  readonly near: HttpStream
  readonly #owner: ExchangeOwner
  readonly #limits: ExchangeLimits
  readonly #sweep: Sweep
  readonly #startedAt: number
  #far: HttpStream | undefined
  #farSink: FarSink | undefined
  /** What came before the far side was open. */
  #held: Buffer[] = []
  #trailers: RawFields | undefined
  #isRequestEnded = false
  #phase: Phase = 'held'
  #movedAt: number
  #method = ''
  #isUsed = false
  /** Taken from the near side, given to the far side, and held back there; and the other way round. */
  #owedNear = 0
  #owedFar = 0
  #isFarBlocked = false
  #isNearBlocked = false
  #answerTrailers: RawFields | undefined
  #interims = 0
  /** `told`: the near side knows already. */
  #answerEnd: 'open' | 'reached' | 'told' = 'open'
  /** Both sides speak until both have ended (RFC 9110 §9.3.6). */
  #isTunnel = false
  #status: number | null = null
  #denied: MeshErrorCode | null = null
  /** The length of the answer's body, when its head says one. */
  #announced: number | null = null
  /** Body bytes from the caller to the callee, and back. */
  bytesIn = 0
  bytesOut = 0

  constructor(near: HttpStream, owner: ExchangeOwner, limits: ExchangeLimits, sweep: Sweep) {
    this.near = near
    this.#owner = owner
    this.#limits = limits
    this.#sweep = sweep
    this.#startedAt = sweep.now()
    this.#movedAt = this.#startedAt
  }

  /** The call is over, for whatever reason: nothing is relayed any more. */
  get isOver(): boolean {
    return this.#phase === 'over'
  }

  /** The near side was given the head of an answer. */
  get isAnswered(): boolean {
    return this.#status !== null
  }

  /**
   * Sends the request on. May be called again on another connection after an end that `mayRepeat`.
   * @throws StreamError | MeshError when the far side takes no stream; nothing was sent then, and the exchange still waits
   */
  forward(far: Far, head: RequestHead): void {
    const isWhole = this.#isRequestEnded && this.#held.length === 0 && this.#trailers === undefined
    const sink = new FarSink(this)
    this.#farSink = sink
    this.#method = head.method
    this.#isTunnel = head.method === 'CONNECT'
    this.#isUsed = far.isUsed
    this.#phase = isWhole ? 'head' : 'request'
    this.#movedAt = this.#sweep.now()
    let opened: HttpStream
    try {
      opened = far.open(head, isWhole ? 'nothing' : 'more', sink)
    } catch (error) {
      this.#farSink = undefined
      this.#phase = 'held'
      throw error
    }
    this.#far = opened
    this.#sweep.watch(this, this.#nextLook())
    if (isWhole) return
    try {
      this.#sendHeld(opened)
    } catch (error) {
      // the far side has a part of it: there is no way back to `held`
      this.fail(asMeshError(error), 'failed')
    }
  }

  /** Ends the exchange from outside: the owner answers, or has answered, itself. */
  abandon(): void {
    this.#end()
  }

  #sendHeld(far: HttpStream): void {
    const held = this.#held
    this.#held = []
    const last = this.#isRequestEnded && this.#trailers === undefined ? held.pop() : undefined
    for (const bytes of held) this.#pass(far, bytes)
    if (!this.#isRequestEnded) return
    if (last !== undefined) {
      this.near.consume(last.length)
      far.end(last)
    } else this.#endRequest(far)
    this.#enter('head')
  }

  #pass(far: HttpStream, bytes: Buffer): void {
    if (far.write(bytes) && !this.#isFarBlocked) this.near.consume(bytes.length)
    else {
      this.#isFarBlocked = true
      this.#owedNear += bytes.length
    }
  }

  #endRequest(far: HttpStream): void {
    if (this.#trailers === undefined) far.end(NOTHING)
    else far.endWithTrailers(this.#trailers)
  }

  // The near side: the request.

  onData(bytes: Buffer): void {
    if (this.#phase === 'over') {
      this.near.consume(bytes.length)
      return
    }
    this.#movedAt = this.#sweep.now()
    this.bytesIn += bytes.length
    // what a tunnel carries is no body: it is bounded by time
    if (this.bytesIn > this.#limits.bodyMaxBytes && !this.#isTunnel)
      this.fail(new MeshError('CALL_BODY_TOO_LARGE', 'the request body is larger than body.max'), 'failed')
    else if (this.#far === undefined) this.#held.push(Buffer.from(bytes))
    else this.#pass(this.#far, bytes)
  }

  onTrailers(fields: RawFields): void {
    this.#trailers = this.#owner.passing(fields)
  }

  onEnd(): void {
    this.#isRequestEnded = true
    if (this.#phase === 'over' || this.#far === undefined) return
    this.#endRequest(this.#far)
    if (this.#phase === 'request') this.#enter('head')
    else if (this.#answerEnd === 'told') this.#completed()
  }

  /** The near side is gone: what we work on for it is not wanted any more. */
  onReset(): void {
    if (this.#phase === 'over') return
    const reason = this.#owner.cutReason()
    if (reason !== undefined) this.#finish('cut', reason)
    else if (this.#isAllPassedOn) this.#finishWhole()
    else this.#finish('aborted', 'OK')
  }

  /** The near side has every byte that the head announced: it may leave before the far side has said that this was all. */
  get #isAllPassedOn(): boolean {
    return this.#announced === this.bytesOut && !this.#isNearBlocked
  }

  /** The near side takes more of the answer. */
  onDrain(): void {
    this.#isNearBlocked = false
    this.#movedAt = this.#sweep.now()
    this.#settleFar()
    if (this.#answerEnd === 'reached' && this.#phase !== 'over') this.#endAnswer()
  }

  // The far side: the answer. FarSink hands it on.

  farInterim(head: ResponseHead): void {
    if (head.status === 100 && !this.#owner.awaitsContinue) return
    if (++this.#interims > MAX_INTERIMS) return
    this.near.interim({ status: head.status, fields: this.#owner.passing(head.fields) })
  }

  farHead(head: ResponseHead): void {
    try {
      const { fields, denied } = this.#owner.readAnswer(head)
      this.#denied = denied
      // a tunnel that is refused is an answer like any other
      if (head.status >= 300) this.#isTunnel = false
      const isWhole = this.#far?.isRemoteEnded === true
      this.near.respond({ status: head.status, fields }, isWhole ? 'nothing' : 'more')
      this.#status = head.status
      if (isWhole) this.#answerEnd = 'told'
    } catch (error) {
      this.fail(unanswerable(error), 'failed')
      return
    }
    const length = firstOf(head.fields, 'content-length')
    if (length !== undefined && !this.#isTunnel) this.#announced = Number(length)
    this.#enter(length === undefined ? 'stream' : 'answer')
  }

  farData(bytes: Buffer): void {
    this.#movedAt = this.#sweep.now()
    this.bytesOut += bytes.length
    if (this.near.write(bytes) && !this.#isNearBlocked) this.#far?.consume(bytes.length)
    else {
      this.#isNearBlocked = true
      this.#owedFar += bytes.length
      if (!this.#owner.unread.hold(bytes.length))
        this.fail(new MeshError('CALL_UNREAD', 'too much of the answers waits to be read'), 'failed')
    }
  }

  farTrailers(fields: RawFields): void {
    this.#answerTrailers = this.#owner.passing(fields)
  }

  farEnd(): void {
    if (this.#answerEnd === 'told') {
      this.#completed()
      return
    }
    this.#answerEnd = 'reached'
    // whole only when the near side has taken everything: then nothing can be lost on this side any more
    if (!this.#isNearBlocked) this.#endAnswer()
  }

  farReset(error: StreamError): void {
    const reason = this.#owner.cutReason()
    if (reason !== undefined) {
      this.fail(new MeshError(reason, 'the connection was cut'), 'cut')
      return
    }
    // It has said all of it: that it wants no more of the request does not take that back (RFC 9113 §8.1).
    if (this.#answerEnd === 'reached') return
    const isUntouched = this.#status === null && this.bytesIn === 0
    const isStale = this.#isUsed && IDEMPOTENT.has(this.#method)
    this.fail(this.#owner.lost(error), 'failed', isUntouched && (isStale || error.h2 === H2.REFUSED_STREAM))
  }

  farDrain(): void {
    this.#isFarBlocked = false
    this.#movedAt = this.#sweep.now()
    const owed = this.#owedNear
    this.#owedNear = 0
    if (owed > 0) this.near.consume(owed)
  }

  #endAnswer(): void {
    const { near } = this
    try {
      if (this.#answerTrailers === undefined) near.end(NOTHING)
      else near.endWithTrailers(this.#answerTrailers)
    } catch (error) {
      this.fail(unanswerable(error), 'failed')
      return
    }
    this.#answerEnd = 'told'
    if (!this.#isTunnel || this.#isRequestEnded) this.#completed()
  }

  #completed(): void {
    // an answer that came before the request was whole: the rest is not wanted
    if (!this.near.isRemoteEnded) this.near.reset(H2.NO_ERROR)
    this.#finishWhole()
  }

  #finishWhole(): void {
    this.#finish(this.#denied === null ? 'completed' : 'failed', this.#denied ?? 'OK')
  }

  /** Ends it with an error: told to the near side by the owner, or by a reset when the answer had begun. */
  fail(error: MeshError, outcome: 'failed' | 'cut', mayRepeat = false): void {
    if (this.#phase === 'over') return
    const isAnswered = this.isAnswered
    if (mayRepeat) this.#rewind(error)
    else this.#finish(outcome, error.code, isAnswered ? null : error)
    if (isAnswered) this.near.reset(H2.INTERNAL_ERROR)
  }

  /** As it was before `forward`. */
  #rewind(error: MeshError): void {
    this.#drop()
    this.#phase = 'held'
    this.#sweep.forget(this)
    this.#owner.exchanged({ outcome: 'failed', reason: error.code, status: null, error, mayRepeat: true })
  }

  #finish(outcome: Outcome, reason: MeshErrorCode | 'OK', error: MeshError | null = null): void {
    if (this.#phase === 'over') return
    this.#end()
    this.#owner.exchanged({ outcome, reason, status: this.#status, error, mayRepeat: false })
  }

  #end(): void {
    this.#phase = 'over'
    this.#sweep.forget(this)
    this.#drop()
    for (const bytes of this.#held) this.near.consume(bytes.length)
    this.#held = []
    if (this.#owedNear > 0) this.near.consume(this.#owedNear)
    this.#owedNear = 0
  }

  /** What was held back of the answer is on its way, or wanted no more. */
  #settleFar(far = this.#far): void {
    const owed = this.#owedFar
    if (owed === 0) return
    this.#owedFar = 0
    this.#owner.unread.release(owed)
    far?.consume(owed)
  }

  #drop(): void {
    const far = this.#far
    this.#far = undefined
    this.#farSink?.leave()
    this.#farSink = undefined
    this.#settleFar(far)
    if (far === undefined || far.isClosed) return
    far.reset(this.#answerEnd === 'open' ? H2.CANCEL : H2.NO_ERROR)
  }

  #enter(phase: Phase): void {
    // what was passed on last may have ended it
    if (this.#far === undefined) return
    this.#phase = phase
    this.#movedAt = this.#sweep.now()
    this.#sweep.watch(this, this.#nextLook())
  }

  /** When the phase is too long, ms monotonic. */
  #deadline(): number {
    const { headTimeoutMs, idleTimeoutMs } = this.#limits
    if (this.#phase === 'stream') return Number.POSITIVE_INFINITY
    return this.#movedAt + (this.#phase === 'head' ? headTimeoutMs : idleTimeoutMs)
  }

  #nextLook(): number {
    return Math.min(this.#deadline(), this.#startedAt + this.#limits.maxAgeMs)
  }

  #whoIsLate(): MeshError {
    if (this.#phase === 'request')
      return new MeshError('CALL_TIMEOUT', 'the request body did not arrive in time')
    if (this.#isNearBlocked) return new MeshError('CALL_UNREAD', 'the answer was not read in time')
    return new MeshError('CALLEE_TIMEOUT', 'the answer did not arrive in time')
  }

  look(now: number): number {
    if (this.#phase === 'over' || this.#phase === 'held') return Number.POSITIVE_INFINITY
    if (now >= this.#startedAt + this.#limits.maxAgeMs)
      this.fail(new MeshError('CALL_CUT', 'the call is older than stream.maxAge'), 'cut')
    else if (now >= this.#deadline()) this.fail(this.#whoIsLate(), 'failed')
    return this.isOver ? Number.POSITIVE_INFINITY : this.#nextLook()
  }
}
