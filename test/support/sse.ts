// Reads server-sent events as they arrive, and an app to be called: what it was asked, and answers the test chooses.

import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface EventReader {
  /** The next event's data, or rejects when the stream ends or nothing comes within `deadlineMs`. */
  next(deadlineMs?: number): Promise<string>
  /** Resolves when the stream is over, with what ended it. */
  readonly over: Promise<'ended' | 'broken'>
}

export function readEvents(message: IncomingMessage): EventReader {
  const events: string[] = []
  const waiting: ((event: string | undefined) => void)[] = []
  let rest = ''
  let isOver = false
  message.on('data', (chunk: Buffer) => {
    rest += chunk.toString('utf8')
    for (let at = rest.indexOf('\n\n'); at !== -1; at = rest.indexOf('\n\n')) {
      const event = rest.slice(0, at).replace(/^data: /, '')
      rest = rest.slice(at + 2)
      const waiter = waiting.shift()
      if (waiter === undefined) events.push(event)
      else waiter(event)
    }
  })
  message.on('error', () => undefined)
  const over = new Promise<'ended' | 'broken'>((resolve) => {
    message.once('close', () => {
      isOver = true
      for (const waiter of waiting.splice(0)) waiter(undefined)
      resolve(message.complete ? 'ended' : 'broken')
    })
  })
  return {
    over,
    next(deadlineMs = 5000) {
      const ready = events.shift()
      if (ready !== undefined) return Promise.resolve(ready)
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no event within ${deadlineMs} ms`)), deadlineMs)
        const take = (event: string | undefined): void => {
          clearTimeout(timer)
          if (event === undefined) reject(new Error('the stream ended'))
          else resolve(event)
        }
        if (isOver) take(undefined)
        else waiting.push(take)
      })
    },
  }
}

export interface TestApp extends AsyncDisposable {
  readonly port: number
  readonly place: { readonly host: string; readonly port: number }
  /** Every request that reached the app, in order. */
  readonly seen: IncomingMessage[]
  readonly server: Server
}

export async function startApp(
  answer: (request: IncomingMessage, response: ServerResponse) => void = (_request, response) =>
    void response.end('ok'),
): Promise<TestApp> {
  const seen: IncomingMessage[] = []
  const server = http.createServer((request, response) => {
    seen.push(request)
    answer(request, response)
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    place: { host: '127.0.0.1', port },
    seen,
    server,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
