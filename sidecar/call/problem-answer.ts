// Answers that the sidecar itself gives: RFC 9457 problems, through a response or straight to a socket. Never a CORS field.

import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { MeshError } from '../../mesh/errors.js'
import { PROBLEM_TYPE, type ProblemExtras, problemOf } from '../../mesh/wire/problem.js'
import { formatAnswer } from '../http1/parse-failure.js'
import type { CallClock } from './outcome.js'

export interface ProblemAnswer {
  readonly extras?: ProblemExtras
  readonly fields?: Readonly<Record<string, string>>
}

/** Answers once; a response that has begun is torn down instead, so that nobody takes a half for a whole. */
export function answerProblem(
  response: ServerResponse,
  error: MeshError,
  answer: ProblemAnswer = {},
): number {
  const problem = problemOf(error, answer.extras)
  if (response.headersSent) {
    response.destroy()
    return problem.status
  }
  response.writeHead(problem.status, {
    'content-type': PROBLEM_TYPE,
    'cache-control': 'no-store',
    ...(error.code === 'LOCAL_CREDENTIAL_REQUIRED' ? { 'proxy-authenticate': 'Basic realm="troth"' } : {}),
    ...answer.fields,
  })
  response.end(`${JSON.stringify(problem)}\n`)
  return problem.status
}

/** How long a refused peer may take to read why. */
const LINGER_MS = 1000

/** The last answer on a connection that node:http does not serve; the connection is gone within a second. */
export function answerOnSocket(
  socket: Duplex,
  error: MeshError,
  { clock, fields = {} }: { clock: Pick<CallClock, 'after'>; fields?: Readonly<Record<string, string>> },
): void {
  const problem = problemOf(error)
  const head = { 'content-type': PROBLEM_TYPE, 'cache-control': 'no-store', ...fields }
  socket.on('error', () => socket.destroy())
  if (socket.writable) socket.end(formatAnswer(problem.status, head, `${JSON.stringify(problem)}\n`))
  // Thrown away unread: unread bytes would turn the close into a reset, and the peer would never see the answer.
  socket.resume()
  clock.after(LINGER_MS, () => socket.destroy())
}
