// HTTP by hand: bytes as a hostile client writes them, answers as they come, and plain requests that show every header.

import http, { type IncomingHttpHeaders, type IncomingMessage, type RequestOptions } from 'node:http'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import tls, { type ConnectionOptions } from 'node:tls'
import { TLS_FLOOR } from '../../host/tls.js'
import type { Identity } from '../../member/identity/credentials.js'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
}

/** What a problem+json answer says. */
export interface AnsweredProblem {
  readonly code: string
  readonly detail: string
  readonly hint: string
  readonly status: number
  readonly callId?: string
  readonly missing?: string
  readonly policy?: string
}

export const problemIn = (answer: Pick<Answer, 'body'>): AnsweredProblem =>
  JSON.parse(answer.body.toString('utf8')) as AnsweredProblem

/** One request, the whole answer. */
export async function request(
  url: string,
  options: RequestOptions & { readonly body?: string | Buffer } = {},
): Promise<Answer> {
  const { body, ...rest } = options
  return whole(await begin(url, rest, body))
}

/** One request; resolves at the head of the answer. */
export function begin(
  url: string,
  options: RequestOptions = {},
  body?: string | Buffer,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = http.request(url, { agent: false, ...options }, resolve)
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

export async function whole(message: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = []
  for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk)
  return {
    status: message.statusCode ?? 0,
    headers: message.headers,
    rawHeaders: message.rawHeaders,
    body: Buffer.concat(chunks),
  }
}

/** Writes the bytes and reads until the other side ends, or `deadlineMs`. A reset counts as an end. */
export function sendRaw(socket: Duplex, bytes: string | Buffer, deadlineMs = 5000): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const done = (): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(Buffer.concat(chunks).toString('latin1'))
    }
    const timer = setTimeout(done, deadlineMs)
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('end', done)
    socket.on('error', done)
    socket.on('close', done)
    socket.write(bytes)
  })
}

export function connectPlain(port: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: '127.0.0.1', port }, () => resolve(socket))
    socket.once('error', reject)
  })
}

/** A mutual-TLS client without a sidecar, as curl is one. It verifies the server as Node does. */
export function connectTls(
  port: number,
  identity: Pick<Identity, 'keyPem' | 'chainPem'> | null,
  options: ConnectionOptions & { readonly ca: string; readonly servername: string },
): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect(
      {
        host: '127.0.0.1',
        port,
        ...TLS_FLOOR,
        ...(identity === null ? {} : { key: identity.keyPem, cert: identity.chainPem }),
        ...options,
      },
      () => resolve(socket),
    )
    socket.once('error', reject)
  })
}

/** The status of a raw answer; 0 when nothing was said. */
export function statusOf(raw: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(raw)?.[1] ?? 0)
}

/** The code of the problem in a raw answer. */
export function codeOf(raw: string): string | undefined {
  return /"code":"([A-Z_]+)"/.exec(raw)?.[1]
}
