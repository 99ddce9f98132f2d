// One byte stream from a server, judged twice by clients that each have asked a number of times: ours and node:http2's.

import { once } from 'node:events'
import http2 from 'node:http2'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { Http2Stream } from '../../sidecar/http2/contract.js'
import { FRAME } from '../../sidecar/http2/frames.js'
import { frame, HELLO, openClient, PREFACE, parseFrames, ping } from './http2-raw.js'
import { NO_EVENTS } from './http2-socket.js'

export interface Answer {
  /** Status, then the fields as they came. */
  head: string[]
  body: string
  trailers: string[]
  isWhole: boolean
  isReset: boolean
}

export interface ClientVerdict {
  readonly answers: Answer[]
  /** The connection as a whole was given up. */
  isBroken: boolean
}

const LAST = 'lastping'
const newAnswer = (): Answer => ({ head: [], body: '', trailers: [], isWhole: false, isReset: false })

export function answersToUs(bytes: Uint8Array, calls: number): ClientVerdict {
  const bench = openClient(NO_EVENTS)
  const answers = Array.from({ length: calls }, () => {
    const answer = newAnswer()
    const head = { method: 'GET', scheme: 'http', authority: 'a', path: '/', protocol: null, fields: [] }
    const stream: Http2Stream = bench.connection.request(head, 'nothing', {
      onInterim: () => undefined,
      onHead: ({ status, fields }) => answer.head.push(String(status), ...fields),
      onData: (data) => {
        answer.body += data.toString('hex')
        stream.consume(data.length)
      },
      onTrailers: (fields) => answer.trailers.push(...fields),
      onEnd: () => {
        answer.isWhole = true
      },
      onReset: () => {
        answer.isReset = true
      },
      onDrain: () => undefined,
    })
    return answer
  })
  bench.feed(HELLO, bytes)
  return { answers, isBroken: bench.connection.isClosed }
}

/** What a client of node:http2 makes of the same bytes. */
export async function answersToNode(bytes: Uint8Array, calls: number): Promise<ClientVerdict> {
  const verdict: ClientVerdict = { answers: [], isBroken: false }
  const server = createServer((socket) => answerWhenAsked(socket, bytes, calls)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const isBroken = new Promise<void>((resolve) => {
    for (const event of ['error', 'close'] as const)
      client.on(event, () => {
        verdict.isBroken = true
        resolve()
      })
  })
  for (let call = 0; call < calls; call++) verdict.answers.push(askNode(client))
  const isRead = once(server, 'read')
  // node:http2 now and then says no more: it has given up, without a word.
  const isLate = new Promise((resolve) => setTimeout(resolve, 500, 'late').unref())
  if ((await Promise.race([isRead, isBroken, isLate])) === 'late') verdict.isBroken = true
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve))
  const taken = structuredClone(verdict)
  client.destroy()
  server.close()
  return taken

  function answerWhenAsked(socket: Socket, answer: Uint8Array, count: number): void {
    const received: Buffer[] = []
    let isAnswered = false
    socket.on('error', () => undefined)
    socket.on('data', (data) => {
      received.push(data)
      const all = Buffer.concat(received)
      const frames = parseFrames(all.subarray(PREFACE.length))
      if (!isAnswered && frames.filter(({ type }) => type === FRAME.HEADERS).length === count) {
        isAnswered = true
        socket.write(Buffer.concat([HELLO, answer, ping(LAST)]))
      }
      if (all.includes(frame(FRAME.PING, 1, 0, LAST))) server.emit('read')
    })
  }
}

function askNode(client: http2.ClientHttp2Session): Answer {
  const answer = newAnswer()
  const call = client.request({ ':path': '/' })
  call.on('response', (headers: http2.IncomingHttpHeaders, _flags: number, raw: string[]) =>
    answer.head.push(String(headers[':status']), ...fieldsOf(raw)),
  )
  call.on('data', (data: Buffer) => {
    answer.body += data.toString('hex')
  })
  call.on('trailers', (_trailers: http2.IncomingHttpHeaders, _flags: number, raw: string[]) =>
    answer.trailers.push(...fieldsOf(raw)),
  )
  call.on('end', () => {
    answer.isWhole = true
  })
  call.on('error', () => {
    answer.isReset = true
  })
  return answer
}

const fieldsOf = (raw: readonly string[] = []): string[] =>
  raw.flatMap((name, at) => (at % 2 === 0 && name !== ':status' ? [name, raw[at + 1] ?? ''] : []))
