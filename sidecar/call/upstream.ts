// The far side of a call, opened and ready, before anything was sent on it: the moment between "we have a proven connection" and
// "the ledger has the decision". Answers and losses that come early are kept for whoever listens.

import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

export interface UpstreamListener {
  readonly answered: (answer: IncomingMessage) => void
  readonly lost: (cause: Error) => void
}

export interface Upstream {
  readonly request: ClientRequest
  readonly socket: Socket
  /** The connection served another call before. */
  readonly isReused: boolean
  /** Takes over; what has happened already is told at once. One listener, once. */
  listen(listener: UpstreamListener): void
  destroy(): void
}

/**
 * Waits until the request has its connection. Nothing is sent.
 * @throws what the connection attempt threw
 */
export function openUpstream(request: ClientRequest): Promise<Upstream> {
  return new Promise((resolve, reject) => {
    let listener: UpstreamListener | undefined
    let answer: IncomingMessage | undefined
    let loss: Error | undefined
    let isAnswered = false
    request.on('response', (received) => {
      isAnswered = true
      if (listener === undefined) answer = received
      else listener.answered(received)
    })
    request.on('error', (error) => {
      loss ??= error
      reject(error)
      listener?.lost(error)
    })
    request.on('close', () => {
      // Without an answer and without an error it was our own destroy, or a socket that ended silently.
      if (!isAnswered) {
        loss ??= new Error('the connection closed before an answer')
        listener?.lost(loss)
      }
    })
    request.once('socket', (socket) => {
      resolve({
        request,
        socket,
        isReused: request.reusedSocket,
        listen(next) {
          listener = next
          if (answer !== undefined) next.answered(answer)
          else if (loss !== undefined) next.lost(loss)
        },
        destroy: () => void request.destroy(),
      })
    })
  })
}
