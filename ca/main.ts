// The CA program: `init` makes a home's CA once, `serve` runs it. Both are libraries to the CLI; signals, prompts and output
// are not known here.

import type { Clock } from '../host/clock.js'
import type { Lifecycle } from '../host/lifecycle.js'
import type { Log } from '../host/log.js'
import { MeshError } from '../mesh/errors.js'
import type { TrustDomain } from '../mesh/spiffe-id.js'

export interface InitOptions {
  readonly home: string
  readonly trustDomain: TrustDomain
  /** Host that tokens and the server certificate carry. */
  readonly address: string
  readonly dev: boolean
  readonly passphrases: { readonly root: string; readonly issuing: string }
  readonly clock: Clock
}

export interface InitedCa {
  /** `<home>/ca` */
  readonly dir: string
  /** SHA-256 of the root's DER, lower-case hex. */
  readonly rootFingerprint: string
  /** Instants, ms since epoch. */
  readonly rootNotAfter: number
  readonly issuingNotAfter: number
}

/**
 * Makes the CA of a home: `<home>/ca/{root,issuing}.{pem,key.pem}`, `ca.db`, and with dev also `passphrase`.
 * @throws MeshError CONFIG_EXISTS (nothing is touched then)
 */
export function initCa(options: InitOptions): Promise<InitedCa> {
  return Promise.reject(new MeshError('INTERNAL', `init of ${options.home} is not built yet`))
}

export interface CaOptions {
  readonly home: string
  /** Address to listen on. */
  readonly listen: string
  /** 0: any free one. */
  readonly port: number
  /** Loopback TCP port for health and metrics; null: none. */
  readonly adminPort: number | null
  /** Opens the issuing key. */
  readonly passphrase: string
  readonly dev: boolean
  /** Life of a leaf unless its agent has its own. */
  readonly leafTtlMs: number
  readonly clock: Clock
  readonly log: Log
  readonly lifecycle: Lifecycle
}

export interface RunningCa {
  /** `host:port` as tokens carry it. */
  readonly address: string
  readonly port: number
  readonly adminPort: number | null
  /** `<home>/ca/admin.sock` */
  readonly adminSocket: string
  /** Graceful and idempotent; also deferred on the lifecycle. */
  close(): Promise<void>
}

/**
 * Serves the CA of a home.
 * @throws MeshError CONFIG_MISSING | PASSPHRASE_WRONG | DEV_ROOT | STATE_IN_USE | STATE_UNREADABLE | PORT_BUSY
 */
export function serveCa(options: CaOptions): Promise<RunningCa> {
  return Promise.reject(new MeshError('INTERNAL', `serve of ${options.home} is not built yet`))
}
