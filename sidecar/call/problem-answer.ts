// Answers that the sidecar itself gives: RFC 9457 problems, on a stream or, where no codec serves, straight to a socket. Never a CORS field.

import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { MeshError } from '../../mesh/errors.js'
import { PROBLEM_TYPE, type ProblemExtras, problemOf } from '../../mesh/wire/problem.js'
import type { RawFields } from '../http/message.js'
import type { HttpStream } from '../http/stream.js'
import { H2 } from '../http/stream-error.js'
import type { CallClock } from './outcome.js'

export interface ProblemAnswer {
  readonly extras?: ProblemExtras
  readonly fields?: RawFields
  /** Of the request: an answer to HEAD is a head (RFC 9110 §9.3.2). */
  readonly method?: string
}

/**
 * Answers a request of which nothing was answered yet.
 * @returns the status
 */
export function answerProblem(stream: HttpStream, error: MeshError, answer: ProblemAnswer = {}): number {
  const problem = problemOf(error, answer.extras)
  const body = Buffer.from(`${JSON.stringify(problem)}\n`)
  const fields = ['content-type', PROBLEM_TYPE, 'cache-control', 'no-store']
  fields.push('content-length', String(body.length))
  if (error.code === 'LOCAL_CREDENTIAL_REQUIRED') fields.push('proxy-authenticate', 'Basic realm="troth"')
  if (answer.fields !== undefined) fields.push(...answer.fields)
  const head = { status: problem.status, fields }
  if (answer.method === 'HEAD') stream.respond(head, 'nothing')
  else {
    stream.respond(head, 'more')
    stream.end(body)
  }
  // what is left of the request is of no use to anybody
  if (!stream.isRemoteEnded) stream.reset(H2.NO_ERROR)
  return problem.status
}

/** How long a refused peer may take to read why. */
export const LINGER_MS = 1000

/** The last answer on a connection that no codec serves; the connection is gone within a second. */
export function answerOnSocket(
  socket: Duplex,
  error: MeshError,
  { clock, fields = [] }: { clock: Pick<CallClock, 'after'>; fields?: RawFields },
): void {
  const problem = problemOf(error)
  const body = `${JSON.stringify(problem)}\n`
  const lines = [`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ''}`]
  const head = ['content-type', PROBLEM_TYPE, 'cache-control', 'no-store', ...fields]
  for (let at = 0; at < head.length; at += 2) lines.push(`${head[at] ?? ''}: ${head[at + 1] ?? ''}`)
  lines.push(`content-length: ${Buffer.byteLength(body)}`, 'connection: close')
  socket.on('error', () => socket.destroy())
  if (socket.writable) socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`)
  // Thrown away unread: unread bytes would turn the close into a reset, and the peer would never see the answer.
  socket.resume()
  clock.after(LINGER_MS, () => socket.destroy())
}
