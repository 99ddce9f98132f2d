// What the two apps share: a door on loopback or a Unix socket, JSON answers, and the check that a request came in through
// this app's own sidecar. Nothing here knows certificates: that is the sidecar's work.

import { createHash, timingSafeEqual } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'

/** An answer that is not a success; its message is shown to the caller. */
export class HttpError extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/**
 * Refuses whatever did not pass the sidecar's ingress: another program on this host could reach the port as well, and could
 * then name itself any caller. The file is read each time, because each start of the sidecar makes a new secret.
 * @throws HttpError 403
 */
export function checkIngress(request: IncomingMessage, secretFile: string): void {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  const given = request.headers['x-troth-ingress']
  const secret = readFileSync(secretFile, 'utf8').trim()
  if (typeof given !== 'string' || secret === '' || !timingSafeEqual(digest(given), digest(secret)))
    throw new HttpError(403, 'this app is reached through its sidecar only')
}

/** The file that holds the ingress secret, as `troth run` names it. */
export function ingressSecretFile(): string {
  const file = process.env['TROTH_INGRESS_SECRET_FILE']
  if (file === undefined || file === '') {
    console.error('TROTH_INGRESS_SECRET_FILE is not set: start this app with troth run')
    process.exit(2)
  }
  return file
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify(body)}\n`)
}

/** The request listener of an app: an error becomes a JSON answer, a bug a 500 without its details. */
export function answering(
  app: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>,
): (request: IncomingMessage, response: ServerResponse) => void {
  const run = async (request: IncomingMessage, response: ServerResponse): Promise<void> =>
    app(request, response)
  return (request, response) => {
    run(request, response).catch((error: unknown) => {
      const known = error instanceof HttpError
      if (!known) console.error(error)
      if (response.headersSent) response.destroy()
      else sendJson(response, known ? error.status : 500, { error: known ? error.message : 'internal error' })
    })
  }
}

/**
 * The JSON object that a request carries.
 * @throws HttpError 400 | 413
 */
export async function readObject(
  request: IncomingMessage,
  maxBytes: number,
): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBytes) throw new HttpError(413, `the body is larger than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>
  } catch {
    // not JSON: refused below like any other shape
  }
  throw new HttpError(400, 'the body is not a JSON object')
}

/** Serves on `unix:PATH` or on a port of 127.0.0.1 (0: any free one), says where, and stops at SIGTERM or SIGINT. */
export function serve(name: string, server: Server, where: string): void {
  const socket = where.startsWith('unix:') ? where.slice('unix:'.length) : undefined
  server.on('error', (error) => {
    console.error(`${name}: cannot listen on ${where}: ${error.message}`)
    process.exit(1)
  })
  const listening = (): void => {
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    console.log(`${name}: listening on ${socket ?? `127.0.0.1:${port}`}`)
  }
  if (socket === undefined) server.listen(Number(where), '127.0.0.1', listening)
  else {
    rmSync(socket, { force: true })
    server.listen(socket, listening)
  }
  const stop = (): void => {
    server.close()
    server.closeAllConnections()
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, stop)
}
