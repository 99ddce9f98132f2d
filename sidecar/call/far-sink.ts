// What the far side of an exchange says, until the exchange has dropped it: a far side that was dropped is heard no more.

import { MeshError } from '../../mesh/errors.js'
import type { RawFields, ResponseHead } from '../http/message.js'
import type { ResponseSink } from '../http/stream.js'
import { StreamError } from '../http/stream-error.js'

/** Who hears the far side: the answer, and what becomes of the request there. As a `ResponseSink`. */
export interface HearsFar {
  farInterim(head: ResponseHead): void
  farHead(head: ResponseHead): void
  farData(bytes: Buffer): void
  farTrailers(fields: RawFields): void
  farEnd(): void
  farReset(error: StreamError): void
  farDrain(): void
}

export class FarSink implements ResponseSink {
  #hearer: HearsFar | undefined

  constructor(hearer: HearsFar) {
    this.#hearer = hearer
  }

  leave(): void {
    this.#hearer = undefined
  }

  onInterim(head: ResponseHead): void {
    this.#hearer?.farInterim(head)
  }

  onHead(head: ResponseHead): void {
    this.#hearer?.farHead(head)
  }

  onData(bytes: Buffer): void {
    this.#hearer?.farData(bytes)
  }

  onTrailers(fields: RawFields): void {
    this.#hearer?.farTrailers(fields)
  }

  onEnd(): void {
    this.#hearer?.farEnd()
  }

  onReset(error: StreamError): void {
    this.#hearer?.farReset(error)
  }

  onDrain(): void {
    this.#hearer?.farDrain()
  }
}

/** What is no error of ours to tell: the far side said what the near side cannot be told. */
export function unanswerable(error: unknown): MeshError {
  if (error instanceof MeshError && !(error instanceof StreamError)) return error
  return new MeshError('APP_RESPONSE_INVALID', 'the answer cannot be passed on', { cause: error })
}
