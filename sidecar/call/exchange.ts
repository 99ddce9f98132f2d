// One exchange in full: streams the request to the other side and the answer back, with back-pressure, nothing buffered, until one
// of three things is gone: the work, the near side, or the far side. Tells how it ended; decides nothing and records nothing.

import type { IncomingMessage, OutgoingMessage, ServerResponse } from 'node:http'
import { MeshError, type MeshErrorCode } from '../../mesh/errors.js'
import type { Framing } from '../http1/head.js'
import { dropRest } from './linger.js'
import type { CallClock, Ending } from './outcome.js'
import type { Upstream } from './upstream.js'

export interface ExchangeLimits {
  readonly bodyMaxBytes: number
  /** From the end of the request to the head of the answer. */
  readonly headTimeoutMs: number
  /** Without a byte in either direction; streaming answers (no Content-Length) are exempt. */
  readonly idleTimeoutMs: number
  readonly maxAgeMs: number
}

/** What the far side's head becomes for the near side. */
export interface AnswerHead {
  readonly fields: readonly string[]
  /** Set when the far sidecar answered instead of its app. */
  readonly denied: MeshErrorCode | null
}

export interface ExchangeOptions {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly framing: Framing
  /** The near side waits for 100 (Continue) before it sends the body. */
  readonly expectsContinue: boolean
  /** Ready, judged and recorded; nothing was sent yet. */
  readonly upstream: Upstream
  readonly limits: ExchangeLimits
  readonly clock: CallClock
  /** @throws MeshError when the answer must not be passed on */
  readonly readAnswer: (answer: IncomingMessage) => AnswerHead
  /** Why a connection of this call was torn down by us; undefined when it was not. */
  readonly cutReason: () => MeshErrorCode | undefined
  /** The far side is gone, as an error of this side. */
  readonly lost: (cause: Error) => MeshError
}

export interface Exchanged extends Ending {
  /** Set when nothing was answered yet: the door answers it. */
  readonly error: MeshError | null
  /** The far side closed a kept connection before it said or took anything: another connection may do. */
  readonly isStale: boolean
}

/** Runs the exchange to its end. Never rejects. */
export function exchange(options: ExchangeOptions): Promise<Exchanged> {
  return new Promise((resolve) => new Exchange(options, resolve).start())
}

/** Safe to send a second time (RFC 9110 §9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** True when a kept connection turned out dead, and sending the request again can do no harm. */
export function mayRepeat(
  { isStale }: Exchanged,
  { head, response }: { head: { method: string; framing: Framing }; response: ServerResponse },
): boolean {
  return isStale && head.framing.kind === 'none' && IDEMPOTENT.has(head.method) && !response.destroyed
}

/** Sends the head. flushHeaders() would write it as UTF-8, and turn each byte above 0x7f into two. */
function flushHead(message: OutgoingMessage): void {
  message.write(Buffer.alloc(0))
}

class Exchange {
  private readonly options: ExchangeOptions
  private readonly settle: (exchanged: Exchanged) => void
  private isSettled = false
  private bytesIn = 0
  private bytesOut = 0
  private status: number | null = null
  private denied: MeshErrorCode | null = null
  private answer: IncomingMessage | undefined
  private movedAt: number
  private phase: 'request' | 'head' | 'answer' | 'stream' = 'request'
  private readonly timers = new Map<'idle' | 'age', { cancel(): void }>()

  constructor(options: ExchangeOptions, settle: (exchanged: Exchanged) => void) {
    this.options = options
    this.settle = settle
    this.movedAt = options.clock.monotonic()
  }

  start(): void {
    const { response, upstream, clock, limits } = this.options
    response.once('close', this.onNearClosed)
    if (response.destroyed || response.socket?.destroyed === true) {
      this.onNearClosed()
      return
    }
    this.timers.set(
      'age',
      clock.after(limits.maxAgeMs, () =>
        this.fail(new MeshError('CALL_CUT', 'the call is older than stream.maxAge'), 'cut'),
      ),
    )
    this.watch()
    upstream.listen({ answered: this.onAnswer, lost: this.onLost })
    this.sendRequest()
  }

  private sendRequest(): void {
    const { request, response, framing, upstream, expectsContinue } = this.options
    if (this.isSettled) return
    if (framing.kind === 'none') {
      upstream.request.end()
      this.enter('head')
      return
    }
    if (expectsContinue) response.writeContinue()
    flushHead(upstream.request)
    upstream.request.on('drain', () => request.resume())
    request.on('data', this.onRequestData)
    request.on('end', () => {
      if (this.isSettled) return
      upstream.request.end()
      if (this.phase === 'request') this.enter('head')
    })
  }

  private readonly onRequestData = (chunk: Buffer): void => {
    if (this.isSettled) return
    this.movedAt = this.options.clock.monotonic()
    this.bytesIn += chunk.length
    if (this.bytesIn > this.options.limits.bodyMaxBytes)
      this.fail(new MeshError('CALL_BODY_TOO_LARGE', 'the request body is larger than body.max'), 'failed')
    else if (!this.options.upstream.request.write(chunk)) this.options.request.pause()
  }

  private readonly onAnswer = (answer: IncomingMessage): void => {
    const { response } = this.options
    if (this.isSettled) return
    this.answer = answer
    try {
      const { statusCode = 502 } = answer
      // node:http takes a 101 without Upgrade for a final answer; the next hop would take what follows for another protocol
      if (statusCode < 200) throw new MeshError('APP_RESPONSE_INVALID', `${statusCode} is no final answer`)
      const { fields, denied } = this.options.readAnswer(answer)
      this.denied = denied
      this.status = statusCode
      response.writeHead(this.status, fields as string[])
    } catch (error) {
      this.status = null
      this.fail(
        error instanceof MeshError
          ? error
          : new MeshError('APP_RESPONSE_INVALID', 'the answer cannot be passed on', { cause: error }),
        'failed',
      )
      return
    }
    // Sent now and not with the first body byte: the head of an event stream may be all there is for a long time.
    flushHead(response)
    this.enter(answer.headers['content-length'] === undefined ? 'stream' : 'answer')
    response.on('drain', () => answer.resume())
    answer.on('data', this.onAnswerData)
    answer.on('end', () => {
      if (answer.complete) response.end()
    })
    answer.on('error', this.onLost)
    answer.on('close', () => {
      if (!answer.complete) this.onLost(new Error('the answer ended early'))
    })
  }

  private readonly onAnswerData = (chunk: Buffer): void => {
    if (this.isSettled) return
    this.movedAt = this.options.clock.monotonic()
    this.bytesOut += chunk.length
    if (!this.options.response.write(chunk)) this.answer?.pause()
  }

  private readonly onLost = (cause: Error): void => {
    const reason = this.options.cutReason()
    if (reason !== undefined) this.fail(new MeshError(reason, 'the connection was cut'), 'cut')
    else this.fail(this.options.lost(cause), 'failed', this.options.upstream.isReused)
  }

  /** The near side's response is over: sent whole, or its reader is gone. */
  private readonly onNearClosed = (): void => {
    if (this.options.response.writableFinished && this.answer?.complete === true) {
      this.finish('completed', this.denied ?? 'OK')
      return
    }
    const reason = this.options.cutReason()
    this.finish(reason === undefined ? 'aborted' : 'cut', reason ?? 'OK')
  }

  private fail(error: MeshError, outcome: 'failed' | 'cut', wasReused = false): void {
    if (this.isSettled) return
    const isAnswered = this.options.response.headersSent
    const isStale = wasReused && this.answer === undefined && this.bytesIn === 0
    this.finish(outcome, error.code, { error: isAnswered ? null : error, isStale })
    if (isAnswered) this.options.response.destroy()
  }

  private finish(
    outcome: Ending['outcome'],
    reason: Ending['reason'],
    { error = null, isStale = false }: { error?: MeshError | null; isStale?: boolean } = {},
  ): void {
    if (this.isSettled) return
    this.isSettled = true
    for (const timer of this.timers.values()) timer.cancel()
    const { request, response, upstream } = this.options
    response.off('close', this.onNearClosed)
    if (outcome !== 'completed' || !upstream.request.writableFinished) upstream.destroy()
    if (!request.complete) dropRest(request, this.options.clock)
    this.settle({
      outcome: outcome === 'completed' && this.denied !== null ? 'failed' : outcome,
      reason,
      status: this.status,
      bytesIn: this.bytesIn,
      bytesOut: this.bytesOut,
      error,
      isStale,
    })
  }

  private enter(phase: 'head' | 'answer' | 'stream'): void {
    this.phase = phase
    this.movedAt = this.options.clock.monotonic()
    this.watch()
  }

  private limitMs(): number | undefined {
    const { headTimeoutMs, idleTimeoutMs } = this.options.limits
    if (this.phase === 'stream') return undefined
    return this.phase === 'head' ? headTimeoutMs : idleTimeoutMs
  }

  /** One timer, moved on only when it fires: a byte costs no more than a clock reading. */
  private watch(): void {
    this.timers.get('idle')?.cancel()
    const limit = this.limitMs()
    if (limit === undefined || this.isSettled) return
    const left = this.movedAt + limit - this.options.clock.monotonic()
    if (left > 0) {
      this.timers.set(
        'idle',
        this.options.clock.after(left, () => this.watch()),
      )
      return
    }
    this.fail(
      this.phase === 'request'
        ? new MeshError('CALL_TIMEOUT', 'the request body did not arrive in time')
        : new MeshError('CALLEE_TIMEOUT', 'the answer did not arrive in time'),
      'failed',
    )
  }
}
