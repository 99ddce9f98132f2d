import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { completeStatus, generate } from '../../../bench/calls/load.js'
import { formatReport, medianRound, quantile } from '../../../bench/calls/report.js'

const serve = async (listener: http.RequestListener) => {
  const server = http.createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  }
}

test.each([
  ['with a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 200],
  ['without a body', 'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n', 404],
  [
    'in chunks',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\na\r\n0123456789\r\n0\r\n\r\n',
    200,
  ],
])('an answer %s is complete with its last byte and not before', (_, answer, status) => {
  const bytes = Buffer.from(answer)
  expect(completeStatus(bytes)).toBe(status)
  for (let length = 0; length < bytes.length; length += 1)
    expect(completeStatus(bytes.subarray(0, length))).toBeUndefined()
})

test('every caller keeps its connection, and every answered call is counted', async () => {
  let served = 0
  const sockets = new Set<unknown>()
  await using server = await serve((request, response) => {
    served += 1
    sockets.add(request.socket)
    response.end('ok')
  })
  const { calls, latenciesMs } = await generate({
    host: '127.0.0.1',
    port: server.port,
    target: '/x',
    callers: 4,
    durationMs: 200,
  })
  expect(calls).toBe(served)
  expect(latenciesMs).toHaveLength(calls)
  expect(sockets.size).toBe(4)
})

test('an answer that is not 200 stops the measurement', async () => {
  await using server = await serve((_, response) => response.writeHead(403).end('no'))
  await expect(
    generate({ host: '127.0.0.1', port: server.port, target: '/x', callers: 1, durationMs: 200 }),
  ).rejects.toThrow('answered 403')
})

test('the report shows medians of rounds and ratios to the direct call', () => {
  expect(quantile([5, 1, 3], 0.5)).toBe(3)
  expect(quantile([1, 2, 3, 4], 0.99)).toBe(4)
  const round = (callsPerSecond: number, cpuUsPerCall: number | null) => ({
    callsPerSecond,
    p50Ms: 1000 / callsPerSecond,
    p99Ms: 2000 / callsPerSecond,
    cpuUsPerCall,
  })
  const direct = medianRound([round(1000, null), round(3000, null), round(2000, null)])
  const through = medianRound([round(500, 300), round(100, 900), round(900, 100)])
  expect(direct).toEqual(round(2000, null))
  expect(through).toMatchObject({ callsPerSecond: 500, cpuUsPerCall: 300 })
  const [, plain = '', mesh = ''] = formatReport([{ callers: 16, direct, through }]).split('\n')
  expect(plain.trim().split(/\s+/)).toEqual(['16', 'direct', '2000', '0.50', '1.00', '-'])
  expect(mesh.trim().split(/\s+/)).toEqual(['sidecars', '500', '2.00', '4.00', '300', '0.250', '4.0'])
})
