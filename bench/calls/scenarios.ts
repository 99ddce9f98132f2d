// The scenarios of the call path: what load is put on a chain, whom it is compared with, and what has to be reached.

import type { Chain } from './chains/chain.js'
import type { OurChain } from './chains/troth.js'
import type { Figure } from './figures.js'
import type { Job } from './generator/job.js'

export interface Span {
  readonly warmMs: number
  readonly windowMs: number
}

export interface Scenario {
  readonly name: string
  /** What one unit of its rate is. */
  readonly unit: string
  /** Which of our chains is measured. */
  readonly ours: OurChain
  /** What it is compared with when no peers are asked for. */
  readonly own: readonly string[]
  /** Chains of peers that it is compared with, of those that are there. */
  readonly peers: readonly string[]
  /** Rounds of a quick run without peers; 0: left out. */
  readonly quickRounds: number
  readonly figures: readonly Figure[]
  job(chain: Chain, span: Span): Job | Promise<Job>
}

const ALL = ['nginx', 'nginx+log', 'haproxy-h2', 'haproxy-h2+log', 'haproxy-h1', 'caddy'] as const
const LOGGED = ['nginx+log', 'haproxy-h2+log'] as const

/** What browsers and SDKs of agents send, about 500 bytes in all. */
const REAL_FIELDS = [
  'user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) agent-runtime/3.2',
  'accept: application/json, text/event-stream;q=0.9, */*;q=0.5',
  'accept-encoding: gzip, deflate, br',
  'accept-language: en-GB,en;q=0.8,de;q=0.5',
  'x-request-id: 7f2c9a54-03d1-4f0e-9f4e-54f1c2b1a9d3',
  'x-conversation: 01J9ZC3M3D4V0H1S8W3B6K7N2Q',
  'cache-control: no-cache',
  'referer: https://console.example.com/agents/planner/runs/18231',
]

type Calls = Partial<{
  method: string
  fields: readonly string[]
  callers: number
  bodyBytes: number
  connection: 'kept' | 'fresh'
  unit: 'call' | { readonly received: number } | { readonly sent: number }
}>

/** Calls of one path over HTTP/1.1. */
const calls =
  (
    path: string,
    { method = 'GET', fields = [], callers = 64, bodyBytes = 0, ...rest }: Calls,
  ): Scenario['job'] =>
  ({ host, port, prefix, pids }, span) => {
    const { connection = 'kept', unit = 'call' } = rest
    const lines = [
      `${method} ${prefix}${path} HTTP/1.1`,
      `host: ${host}:${port}`,
      ...fields,
      ...(bodyBytes > 0 ? [`content-length: ${bodyBytes}`] : []),
      ...(connection === 'fresh' ? ['connection: close'] : []),
    ]
    const head = `${lines.join('\r\n')}\r\n\r\n`
    return { kind: 'calls', host, port, pids, callers, head, bodyBytes, connection, unit, ...span }
  }

const figure = (measure: Figure['measure'], against: string, must: number, aim: number): Figure => ({
  measure,
  against,
  relation: 'ratio',
  must,
  aim,
})

const OURS = { ours: 'troth', own: ['direct'], unit: 'calls', quickRounds: 1, figures: [] } as const

const small = (callers: number, peers: readonly string[]): Scenario => ({
  ...OURS,
  name: `calls-${callers}`,
  peers,
  job: calls('/hello', { callers }),
})

const MB = 1_000_000

const bodies = (direction: 'download' | 'upload', megabytes: number): Scenario => {
  const bytes = megabytes * MB
  const job =
    direction === 'download'
      ? calls(`/bytes/${bytes}`, { callers: 4, unit: { received: bytes } })
      : calls('/sink', { callers: 4, method: 'POST', bodyBytes: bytes, unit: { sent: bytes } })
  return { ...OURS, name: `${direction}-${megabytes}mb`, unit: 'bodies', peers: ['nginx', 'haproxy-h2'], job }
}

export const SMALL_CALLS: Scenario = small(16, LOGGED)
export const TEN_MEGABYTES: Scenario = {
  ...bodies('download', 10),
  figures: [figure('rate', 'nginx', 0.9, 1.1)],
}

export const SCENARIOS: readonly Scenario[] = [
  {
    ...small(64, ALL),
    quickRounds: 3,
    figures: [
      figure('cpuUs', 'nginx+log', 0.65, 0.45),
      figure('cpuUs', 'haproxy-h2+log', 1.25, 0.9),
      figure('cpuUs', 'caddy', 0.18, 0.11),
      figure('rate', 'nginx+log', 1.5, 2.1),
      figure('p99Ms', 'nginx', 0.8, 0.5),
    ],
  },
  {
    ...small(64, ['haproxy-h2']),
    name: 'calls-64-no-ledger',
    ours: 'troth-no-ledger',
    own: ['troth'],
    figures: [figure('cpuUs', 'haproxy-h2', 1, 0.8)],
  },
  { ...small(1, ['nginx', 'haproxy-h2']), quickRounds: 3, figures: [figure('p50Ms', 'nginx', 1.35, 1.15)] },
  { ...small(4, LOGGED), quickRounds: 0 },
  SMALL_CALLS,
  { ...small(256, LOGGED), quickRounds: 0 },
  { ...OURS, name: 'heads-500b', peers: LOGGED, job: calls('/hello', { fields: REAL_FIELDS }) },
  {
    ...OURS,
    name: 'no-keep-alive',
    peers: ['nginx', 'haproxy-h2'],
    figures: [figure('cpuUs', 'nginx', 2.5, 1.6)],
    job: calls('/hello', { callers: 16, connection: 'fresh' }),
  },
  { ...bodies('download', 1), quickRounds: 0 },
  TEN_MEGABYTES,
  { ...bodies('upload', 1), quickRounds: 0 },
  bodies('upload', 10),
  {
    ...OURS,
    name: 'events',
    unit: 'events',
    peers: ['direct', 'nginx', 'haproxy-h2'],
    figures: [{ measure: 'p50Ms', against: 'direct', relation: 'added', must: 0.6, aim: 0.3 }],
    job: ({ host, port, prefix, pids }, span) => {
      const head = `GET ${prefix}/events HTTP/1.1\r\nhost: ${host}:${port}\r\naccept: text/event-stream\r\n\r\n`
      return { kind: 'events', host, port, pids, callers: 1, head, ...span }
    },
  },
  {
    ...OURS,
    name: 'websocket',
    unit: 'messages',
    peers: ['nginx', 'haproxy-h1'],
    job: ({ host, port, prefix, pids }, span) => {
      return { kind: 'websocket', host, port, pids, callers: 16, target: `${prefix}/echo`, ...span }
    },
  },
  {
    ...OURS,
    name: 'grpc-unary',
    peers: ['nginx-grpc', 'haproxy-grpc'],
    job: ({ host, port, prefix, pids }, span) => {
      return { kind: 'grpc', host, port, pids, callers: 16, path: `${prefix}/bench.Echo/Say`, ...span }
    },
  },
  {
    ...OURS,
    name: 'handshakes',
    unit: 'handshakes',
    own: [],
    peers: ['nginx'],
    figures: [figure('cpuUs', 'nginx', 1.2, 1)],
    async job(chain, span) {
      const { pid, port, ...door } = await chain.door()
      const head = `GET /hello HTTP/1.1\r\nhost: ${door.serverName}\r\nconnection: close\r\n\r\n`
      return { kind: 'handshakes', host: chain.host, port, pids: [pid], callers: 4, head, ...door, ...span }
    },
  },
]
