// The collector: a member of kind `collector` that receives the ledgers of all agents over mutual TLS and keeps them. Wiring only.

import type { Clock } from '../host/clock.js'
import type { Log } from '../host/log.js'
import type { MemberOptions } from '../member/member.js'
import type { AgentName } from '../mesh/spiffe-id.js'

export interface CollectorOptions {
  readonly home: string
  /** `main` unless there are several. */
  readonly name: AgentName
  /** Host to listen on. */
  readonly listen: string
  /** 0: any free port. */
  readonly port: number
  /** GET-only door for /healthz, /readyz and /metrics on loopback; null: none. */
  readonly adminPort: number | null
  readonly enrolBy: MemberOptions['enrolBy']
  readonly dev: boolean
  readonly clock: Clock
  readonly log: Log
  readonly settings: { readonly feedMaxStalenessMs: number }
}

export interface RunningCollector {
  /** Where ledgers are taken. */
  readonly address: { readonly host: string; readonly port: number }
  readonly adminPort: number | null
  /** Graceful: shipments under way are finished. */
  close(): Promise<void>
  /** Resolves when it is closed; rejects with what stopped it. */
  readonly done: Promise<void>
}

/** @throws MeshError STATE_IN_USE | PORT_BUSY | DEV_ROOT | CONFIG_MISSING | STATE_UNREADABLE, and those of enrolment */
export declare function serveCollector(options: CollectorOptions): Promise<RunningCollector>
