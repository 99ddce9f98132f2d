// What a path of the admin wire is made of: what it needs, whom it serves, who asks. Who may ask is decided where a request comes in.

import type { Clock } from '../../host/clock.js'
import type { Answer, Request, Route } from '../../host/http-server.js'
import type { Log } from '../../host/log.js'
import type { Actor } from '../actor.js'
import type { CaAudit } from '../audit.js'
import type { Authority } from '../authority.js'
import type { Feed } from '../feed.js'
import type { Hierarchy } from '../hierarchy.js'
import type { PublishedOptions } from '../published.js'
import type { Recovery } from '../recovery/recovery.js'
import type { Registry } from '../registry.js'
import type { Rotator } from '../rotation/rotator.js'
import type { CaStore } from '../store/model.js'
import type { CaWorld } from '../world.js'

export interface AdminOptions {
  readonly hierarchy: Hierarchy
  readonly store: CaStore
  readonly world: CaWorld
  readonly registry: Registry
  readonly audit: CaAudit
  readonly authority: Authority
  readonly recovery: Recovery
  readonly feed: Feed
  readonly rotator: Rotator
  /** True when the root's key is on this host; null when that cannot be seen. */
  readonly isRootKeyHere: () => Promise<boolean | null>
  readonly clock: Clock
  readonly log: Log
  readonly leafTtlMs: number
  /** What everybody may have. */
  readonly published: PublishedOptions
  /** `host:port` that tokens carry. */
  readonly address: () => Promise<string>
  /** Changes the host that tokens and the server certificate carry. */
  readonly setAddress: (actor: Actor, host: string) => Promise<void>
}

/** One path of the admin wire. */
export interface AdminRoute extends Omit<Route, 'answer'> {
  /** `operators`: at the member door too, over mutual TLS. `local-admin`: on the Unix socket only. */
  readonly to: 'operators' | 'local-admin'
  /** `actor` is what the door proved; nothing that the request says can change it. */
  readonly answer: (request: Request, actor: Actor) => Answer | Promise<Answer>
}

/** Body of a message that carries a certificate request. */
export const CSR_BODY_BYTES = 64 * 1024
