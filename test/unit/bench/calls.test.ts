import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import type { Chain } from '../../../bench/calls/chains/chain.js'
import { formatFigure, type Values, verdictOf } from '../../../bench/calls/figures.js'
import { generateCalls } from '../../../bench/calls/generator/calls.js'
import type { CallsJob, Measured } from '../../../bench/calls/generator/job.js'
import { MessageReader } from '../../../bench/calls/http1-reader.js'
import { parseOptions } from '../../../bench/calls/options.js'
import { comparePaired } from '../../../bench/calls/paired.js'
import { formatBlock } from '../../../bench/calls/table.js'
import { quantile } from '../../../bench/statistics.js'

const serve = async (listener: http.RequestListener) => {
  const server = http.createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  }
}

const job = (port: number, more: Partial<CallsJob> = {}): CallsJob => ({
  kind: 'calls',
  host: '127.0.0.1',
  port,
  pids: [process.pid],
  callers: 4,
  head: `GET /x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`,
  bodyBytes: 0,
  connection: 'kept',
  unit: 'call',
  warmMs: 20,
  windowMs: 100,
  ...more,
})

test.each([
  ['with a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 'hello'],
  ['without a body', 'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n', ''],
  [
    'in chunks',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\na\r\n0123456789\r\n0\r\n\r\n',
    'hello0123456789',
  ],
])('an answer %s is complete with its last byte, wherever it is cut', (_, answer, body) => {
  const bytes = Buffer.from(answer + answer)
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const seen: string[] = []
    let text = ''
    const reader = new MessageReader('response', {
      onHead: (head) => seen.push(head.split('\r\n')[0] ?? ''),
      onBody: (piece, from, to) => {
        text += piece.toString('latin1', from, to)
      },
      onEnd: () => {
        seen.push(text)
        text = ''
      },
    })
    reader.feed(bytes.subarray(0, cut), cut)
    expect(seen.filter((each) => each === body)).toHaveLength(Math.floor(cut / answer.length))
    reader.feed(bytes.subarray(cut), bytes.length - cut)
    const [line = ''] = answer.split('\r\n')
    expect(seen).toEqual([line, body, line, body])
  }
})

test('every caller keeps its connection, and the calls of the window are counted', async () => {
  let served = 0
  const sockets = new Set<unknown>()
  await using server = await serve((request, response) => {
    served += 1
    sockets.add(request.socket)
    response.end('ok')
  })
  const { units, cpuMs } = await generateCalls(job(server.port))
  expect(units).toBeGreaterThan(0)
  expect(units).toBeLessThanOrEqual(served)
  expect(sockets.size).toBe(4)
  if (process.platform === 'linux') expect(cpuMs).toBeGreaterThan(0)
})

test('callers without keep-alive open a connection for each call', async () => {
  let served = 0
  const sockets = new Set<unknown>()
  await using server = await serve((request, response) => {
    served += 1
    sockets.add(request.socket)
    response.end('ok')
  })
  const head = 'GET /x HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n'
  const { units } = await generateCalls(job(server.port, { connection: 'fresh', head }))
  expect(units).toBeGreaterThan(0)
  expect(sockets.size).toBe(served)
})

test('large bodies count by the share that has arrived', async () => {
  await using server = await serve((_, response) => response.end(Buffer.alloc(100_000)))
  const { units, p50Ms } = await generateCalls(job(server.port, { unit: { received: 1_000_000 } }))
  expect(units).toBeGreaterThan(0.1)
  expect(Number.isInteger(units)).toBe(false)
  expect(p50Ms).toBeGreaterThan(0)
})

test('an answer that is not 200 stops the measurement with what it says', async () => {
  await using server = await serve((_, response) => response.writeHead(403).end('CALL_NOT_THIS'))
  await expect(generateCalls(job(server.port))).rejects.toThrow('answered CALL_NOT_THIS')
})

const chain = (name: string): Chain => ({
  name,
  host: '127.0.0.1',
  port: 1,
  prefix: '',
  pids: [],
  door: () => Promise.reject(new Error('none')),
  [Symbol.asyncDispose]: () => Promise.resolve(),
})

const measured = (units: number, cpuMs: number): Measured => ({
  units,
  cpuMs,
  elapsedMs: 1000,
  p50Ms: 1,
  p99Ms: 2,
  peakRssMb: null,
})

test('a rival is compared with the runs of the reference before and after it', async () => {
  const order: string[] = []
  // the machine gets slower with every run: the neighbours see it alike
  const results = await comparePaired(
    [chain('ours'), chain('theirs')],
    ({ name }) => {
      order.push(name)
      return Promise.resolve(measured(1000, (name === 'ours' ? 10 : 20) * order.length))
    },
    2,
  )
  expect(order).toEqual(['ours', 'theirs', 'ours', 'theirs', 'ours'])
  expect(results[1]).toMatchObject({ name: 'theirs', ratios: { cpuUs: 0.5, rate: 1 } })
})

test('a chain that does not serve a scenario is named with the reason, and the others are measured', async () => {
  const results = await comparePaired(
    [chain('ours'), chain('theirs')],
    ({ name }) => (name === 'ours' ? Promise.reject(new Error('refused')) : Promise.resolve(measured(10, 1))),
    2,
  )
  expect(results[0]).toEqual({ name: 'ours', unserved: 'refused' })
  expect(results[1]).toMatchObject({ name: 'theirs', values: { rate: 10 }, ratios: null })
  expect(formatBlock('x', results, [])).toContain('not served: refused')
})

test('a figure says whether it is reached and by how much it is missed', () => {
  const cpu = { measure: 'cpuUs', against: 'them', relation: 'ratio', must: 0.5, aim: 0.4 } as const
  const rate = { measure: 'rate', against: 'them', relation: 'ratio', must: 1.5, aim: 2 } as const
  expect([0.4, 0.45, 0.6, Number.NaN].map((ratio) => verdictOf(cpu, ratio))).toEqual([
    'aim met',
    'must met',
    'missed',
    'unknown',
  ])
  expect([2, 1.5, 1.4].map((ratio) => verdictOf(rate, ratio))).toEqual(['aim met', 'must met', 'missed'])
  expect(formatFigure(cpu, 0.6)).toContain('missed by 20 %')
  const values: Values = { rate: 1, p50Ms: 1, p99Ms: 1, cpuUs: 1 }
  const ratios: Values = { ...values, cpuUs: 0.6 }
  expect(formatBlock('x', [{ name: 'them', values, ratios, added: values }], [cpu, rate])).toMatch(
    /0\.60 .*CPU <= 0\.5 .*missed/,
  )
})

test('quantiles are of the nearest rank', () => {
  expect(quantile([5, 1, 3], 0.5)).toBe(3)
  expect(quantile([1, 2, 3, 4], 0.99)).toBe(4)
})

test.each([['--only', 'nothing'], ['--peers', 'apache'], ['--rounds', '0'], ['--fast']])(
  'the option %s %s is refused',
  (...args) => {
    expect(() => parseOptions(args)).toThrow()
  },
)
