// One JSON request to an API of ours, over TLS or a Unix socket: bounded in time and size, problems turned back into errors.

import type { IncomingMessage, RequestOptions } from 'node:http'
import http from 'node:http'
import https from 'node:https'
import { MeshError, type MeshErrorCode } from '../mesh/errors.js'
import { type Reader, readJson } from '../mesh/parse.js'
import { errorOfProblem } from '../mesh/wire/problem.js'

export interface JsonRequest<T> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly path: string
  /** What is sent: JSON of it, or bytes as they are. */
  readonly body?: unknown
  readonly content?: Content
  readonly read: Reader<T>
  /** Names the message in errors. */
  readonly what: string
  readonly timeoutMs: number
  /** Code of the error when nobody answers. */
  readonly unreachable: MeshErrorCode
}

export interface Content {
  readonly type: string
  readonly bytes: Buffer
}

/** `socketPath`, or host and port with TLS options. */
export type Target =
  | { readonly socketPath: string }
  | (Omit<https.RequestOptions, 'socketPath'> & { readonly host: string; readonly port: number })

const MAX_ANSWER_BYTES = 64 * 1024 * 1024

/**
 * @throws MeshError `unreachable`, WIRE_MALFORMED, or the code that the server answered
 */
export async function requestJson<T>(target: Target, request: JsonRequest<T>): Promise<T> {
  const { status, body } = await exchange(target, request)
  if (status < 200 || status > 299) throw errorOfProblem(body)
  return readJson(body, request.read, request.what)
}

/** The bytes of a document, as they are. @throws MeshError `unreachable`, WIRE_TOO_LARGE, or the code that the server answered */
export async function requestBytes(target: Target, request: DocumentRequest): Promise<Buffer> {
  const { status, body } = await exchange(target, { ...request, method: 'GET' })
  if (status !== 200) throw errorOfProblem(body)
  return body
}

export type DocumentRequest = Omit<Exchange, 'method' | 'body' | 'content'>

type Exchange = Omit<JsonRequest<never>, 'read'>

function exchange(
  target: Target,
  { method, path, body, content = jsonOf(body), timeoutMs, unreachable, what }: Exchange,
): Promise<{ status: number; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const options: RequestOptions = {
      method,
      path,
      // A connection of its own: no socket that the server is just closing, no TLS session to resume.
      agent: false,
      headers:
        content === undefined ? {} : { 'content-type': content.type, 'content-length': content.bytes.length },
    }
    const fail = (error: unknown): void =>
      reject(
        error instanceof MeshError
          ? error
          : new MeshError(unreachable, `${what}: no answer from ${placeOf(target)}: ${reasonOf(error)}`, {
              cause: error,
            }),
      )
    const outgoing =
      'socketPath' in target
        ? http.request({ ...options, ...target })
        : https.request({ ...options, ...target })
    const deadline = setTimeout(
      () => outgoing.destroy(new Error(`timed out after ${timeoutMs} ms`)),
      timeoutMs,
    )
    outgoing.on('error', (error) => {
      clearTimeout(deadline)
      fail(error)
    })
    outgoing.on('response', (response: IncomingMessage) => {
      collect(response)
        .then((answer) => resolve({ status: response.statusCode ?? 0, body: answer }), fail)
        .finally(() => clearTimeout(deadline))
    })
    outgoing.end(content?.bytes)
  })
}

const jsonOf = (body: unknown): Content | undefined =>
  body === undefined ? undefined : { type: 'application/json', bytes: Buffer.from(JSON.stringify(body)) }

async function collect(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_ANSWER_BYTES) throw new MeshError('WIRE_TOO_LARGE', 'the answer is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

const placeOf = (target: Target): string =>
  'socketPath' in target ? target.socketPath : `${target.host}:${target.port}`

const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  return (error as NodeJS.ErrnoException).code ?? error.message
}
