// What one sidecar is told at start, complete: the CLI has filled in every default before it gets here. No reading, no deciding.

import type { Config } from '../host/config.js'
import type { AgentName, SpiffeId } from '../mesh/spiffe-id.js'

/** The app behind the ingress. */
export type AppPlace = (
  | { readonly host: string; readonly port: number }
  | {
      readonly socketPath: string
    }
) & {
  /** HTTP/2 with prior knowledge for everything; absent: HTTP/1.1, and HTTP/2 for gRPC, which has nothing else. */
  readonly http?: 'h2c'
}

/** A local port that leads to one callee only. `open`: it asks for no local credential. */
export interface DedicatedPort {
  readonly callee: AgentName
  readonly port: number
  readonly open: boolean
}

export interface SidecarConfig {
  readonly home: string
  readonly agent: AgentName
  /** Tells several instances of one agent on one host apart; null for the only one. */
  readonly instance: string | null
  /** Null: the sidecar makes calls and serves none. */
  readonly app: AppPlace | null
  readonly enrolBy: { readonly token: string } | { readonly adminSocket: string } | null
  /** Address that the ingress listens on. */
  readonly listen: string
  /** What the mesh is told; null: the address the CA sees, and the port listened on. */
  readonly advertise: { readonly host: string; readonly port: number | null } | null
  /** Null: the port kept in ports.json, or a free one. */
  readonly egressPort: number | null
  readonly ingressPort: number | null
  readonly adminPort: number | null
  readonly egressAuth: 'credential' | 'none'
  readonly to: readonly DedicatedPort[]
  readonly dev: boolean
  readonly settings: Config
}

/** A sidecar at work. */
export interface RunningSidecar {
  readonly ports: {
    readonly egress: number
    readonly ingress: number
    readonly admin: number
    /** By callee name. */
    readonly to: Readonly<Record<string, number>>
  }
  /** What a process on this host sends to speak as this agent. */
  readonly localCredential: string
  /** Holds the secret that the app compares with `x-troth-ingress`. */
  readonly ingressSecretFile: string
  readonly id: SpiffeId
  /** Resolves when everything is closed. @throws the error that ended it */
  readonly done: Promise<void>
  /** Withdraws the endpoint, refuses new calls, waits for the running ones, closes. */
  stop(): Promise<void>
}
