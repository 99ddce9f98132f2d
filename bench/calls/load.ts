// A closed-loop load generator: N callers, each on its own keep-alive socket, each sending its next request when the answer to
// the last one is complete. Raw sockets and a minimal reader of HTTP/1.1 answers, so that it measures the server and not itself.

import net from 'node:net'

export interface Load {
  readonly host: string
  readonly port: number
  /** Origin-form target, e.g. `/@app/hello`. */
  readonly target: string
  readonly callers: number
  readonly durationMs: number
}

export interface Measured {
  readonly calls: number
  readonly elapsedMs: number
  /** Latencies in ms, in no order. */
  readonly latenciesMs: readonly number[]
}

const STALLED_MS = 30_000

/** @throws Error when a connection fails, or an answer is not 200 */
export async function generate(load: Load): Promise<Measured> {
  const latenciesMs: number[] = []
  const startedAt = performance.now()
  const until = startedAt + load.durationMs
  await Promise.all(Array.from({ length: load.callers }, () => callUntil(until, load, latenciesMs)))
  return { calls: latenciesMs.length, elapsedMs: performance.now() - startedAt, latenciesMs }
}

function callUntil(until: number, { host, port, target }: Load, latenciesMs: number[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = `GET ${target} HTTP/1.1\r\nhost: ${host}:${port}\r\n\r\n`
    const socket = net.connect({ host, port, noDelay: true })
    let unread: Buffer = Buffer.alloc(0)
    let sentAt = 0
    const send = (): void => {
      sentAt = performance.now()
      socket.write(request)
    }
    socket.setTimeout(STALLED_MS, () =>
      socket.destroy(new Error(`${target} got no answer in ${STALLED_MS} ms`)),
    )
    socket.on('connect', send)
    socket.on('data', (chunk: Buffer) => {
      unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk])
      const status = completeStatus(unread)
      if (status === undefined) return
      if (status !== 200) {
        socket.destroy(new Error(`${target} answered ${status}: ${unread.toString('latin1').slice(0, 500)}`))
        return
      }
      const now = performance.now()
      latenciesMs.push(now - sentAt)
      unread = Buffer.alloc(0)
      if (now < until) send()
      else socket.end()
    })
    socket.on('error', reject)
    socket.on('close', () =>
      performance.now() < until ? reject(new Error(`${host}:${port} closed the connection`)) : resolve(),
    )
  })
}

const HEAD_END = Buffer.from('\r\n\r\n')

/** The status when the whole answer has arrived (one answer at a time: nothing follows it), else undefined. */
export function completeStatus(answer: Buffer): number | undefined {
  const headEnd = answer.indexOf(HEAD_END)
  if (headEnd < 0) return undefined
  const head = answer.toString('latin1', 0, headEnd).toLowerCase()
  const bodyAt = headEnd + HEAD_END.length
  const length = /\r\ncontent-length: *(\d+)/.exec(head)?.[1]
  const isComplete =
    length === undefined ? chunksEnd(answer, bodyAt) : answer.length >= bodyAt + Number(length)
  return isComplete ? Number(head.slice(9, 12)) : undefined
}

/** True when the last chunk of a chunked body (without trailers) is there. */
function chunksEnd(answer: Buffer, from: number): boolean {
  let at = from
  for (;;) {
    const lineEnd = answer.indexOf('\r\n', at)
    if (lineEnd < 0) return false
    const size = Number.parseInt(answer.toString('latin1', at, lineEnd), 16)
    at = lineEnd + 2 + size + 2
    if (Number.isNaN(size) || at > answer.length) return false
    if (size === 0) return true
  }
}
