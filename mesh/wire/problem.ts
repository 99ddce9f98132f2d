// RFC 9457 problem details, as every HTTP door of ours answers errors. The cause stays in our own log.

import { ERRORS, MeshError, type MeshErrorCode } from '../errors.js'
import { integer, lines, nullable, readJson, record, text, withDefault } from '../parse.js'

export const PROBLEM_TYPE = 'application/problem+json'

export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: MeshErrorCode
  readonly hint: string
  /** As in the Retry-After header. */
  readonly retryAfterSeconds?: number
  readonly callId?: string
  /** The scope that the caller lacks. */
  readonly missing?: string
  /** Policy lines (YAML) that would allow the call. */
  readonly policy?: string
}

export interface ProblemExtras {
  readonly callId?: string
  readonly missing?: string
  readonly policy?: string
}

export function problemOf(error: MeshError, extras: ProblemExtras = {}): Problem {
  const { status, when } = ERRORS[error.code]
  return {
    type: `https://troth.dev/errors#${error.code}`,
    title: when,
    status,
    detail: error.message,
    code: error.code,
    hint: error.hint,
    ...(error.retryAfterSeconds === null ? {} : { retryAfterSeconds: error.retryAfterSeconds }),
    ...extras,
  }
}

const READ_PROBLEM = record({
  code: text(64),
  detail: withDefault(lines(16_384), ''),
  hint: withDefault(nullable(lines(4096)), null),
  retryAfterSeconds: withDefault(nullable(integer(1, 86_400)), null),
})

/**
 * The MeshError that a peer of ours answered; a code that is not known here becomes INTERNAL.
 * @throws MeshError WIRE_MALFORMED when it is no problem of ours
 */
export function errorOfProblem(body: Uint8Array): MeshError {
  const { code, detail, hint, retryAfterSeconds } = readJson(body, READ_PROBLEM, 'problem')
  const known: MeshErrorCode = Object.hasOwn(ERRORS, code) ? (code as MeshErrorCode) : 'INTERNAL'
  return new MeshError(known, detail, {
    ...(hint === null ? {} : { hint }),
    ...(retryAfterSeconds === null ? {} : { retryAfterMs: retryAfterSeconds * 1000 }),
  })
}
