// What an exchange and the call that it is for say to each other, and what a far side must be. Types only.

import type { Outcome } from '../../mesh/audit-record.js'
import type { MeshError, MeshErrorCode } from '../../mesh/errors.js'
import type { RawFields, RequestHead, ResponseHead } from '../http/message.js'
import type { Follows, HttpStream, ResponseSink } from '../http/stream.js'
import type { StreamError } from '../http/stream-error.js'
import type { Unread } from './unread.js'

export interface ExchangeLimits {
  readonly bodyMaxBytes: number
  /** From the end of the request to the head of the answer. */
  readonly headTimeoutMs: number
  /** Without a byte in either direction; streaming answers (no Content-Length) are exempt. */
  readonly idleTimeoutMs: number
  readonly maxAgeMs: number
}

/** A connection that is ready, judged, and on which nothing of this call was sent. */
export interface Far {
  /** Served a call before: that it is lost may say nothing about whom it leads to. */
  readonly isUsed: boolean
  /** @throws StreamError when it takes no stream, or the head cannot be sent */
  open(head: RequestHead, follows: Follows, sink: ResponseSink): HttpStream
}

/** What the far side's head becomes for the near side. */
export interface AnswerHead {
  readonly fields: RawFields
  /** Set when the far sidecar answered instead of its app. */
  readonly denied: MeshErrorCode | null
}

/** The call that an exchange is for. */
export interface ExchangeOwner {
  /** @throws MeshError when the answer must not be passed on */
  readAnswer(head: ResponseHead): AnswerHead
  /** Why a connection of this call was torn down by us; undefined when it was not. */
  cutReason(): MeshErrorCode | undefined
  /** The far side is gone, as an error of this side. */
  lost(cause: StreamError): MeshError
  /** The near side waits to hear from the far side whether its body is wanted. */
  readonly awaitsContinue: boolean
  /** What the near side leaves unread, of this call and its like. */
  readonly unread: Unread
  /** What may go on of fields that come beside a head: in interim answers, and in trailers both ways. */
  passing(fields: RawFields): RawFields
  /** Once. Nothing is relayed any more. */
  exchanged(exchanged: Exchanged): void
}

export interface Exchanged {
  readonly outcome: Outcome
  readonly reason: MeshErrorCode | 'OK'
  readonly status: number | null
  /** Set when nothing was answered yet: the owner answers it. */
  readonly error: MeshError | null
  /** The far side surely did nothing, or was a kept connection that had ended: another connection may do. */
  readonly mayRepeat: boolean
}
