// What the load generator is asked for and what it answers, as messages between processes. Types only.

interface Load {
  readonly host: string
  readonly port: number
  /** Connections; each has one exchange under way. */
  readonly callers: number
  /** Runs before anything is counted. */
  readonly warmMs: number
  readonly windowMs: number
  /** The processes whose CPU and memory are looked at. */
  readonly pids: readonly number[]
}

export interface CallsJob extends Load {
  readonly kind: 'calls'
  /** The head of the request as it is sent, with its empty line. */
  readonly head: string
  /** Sent behind the head. */
  readonly bodyBytes: number
  /** One connection a caller, or one a call. */
  readonly connection: 'kept' | 'fresh'
  /** What a call is counted by: its end; or the bytes received or sent as a share of so many, for large bodies. */
  readonly unit: 'call' | { readonly received: number } | { readonly sent: number }
}

export interface EventsJob extends Load {
  readonly kind: 'events'
  readonly head: string
}

export interface WebSocketJob extends Load {
  readonly kind: 'websocket'
  readonly target: string
}

export interface GrpcJob extends Load {
  readonly kind: 'grpc'
  readonly path: string
}

/** A new TLS connection and one request, again and again. */
export interface HandshakesJob extends Load {
  readonly kind: 'handshakes'
  readonly head: string
  readonly serverName: string
  readonly caPem: string
  readonly certPem: string
  readonly keyPem: string
}

export type Job = CallsJob | EventsJob | WebSocketJob | GrpcJob | HandshakesJob

export interface Measured {
  /** Calls, messages, events, handshakes, or bodies with fractions. */
  readonly units: number
  readonly elapsedMs: number
  /** Of an exchange; of events: from sent to received. */
  readonly p50Ms: number
  readonly p99Ms: number
  /** Of all processes together; null where /proc does not tell. */
  readonly cpuMs: number | null
  /** The highest seen of each process. */
  readonly peakRssMb: readonly number[] | null
}

export type Answer = { readonly measured: Measured } | { readonly failed: string }
