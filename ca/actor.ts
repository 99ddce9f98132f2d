// Who does something at the CA, as its audit names them. An actor is made where a request comes in, out of what that door
// proved (a Unix socket, a certificate, a token); nothing that a request says can make or change one.

import type { SpiffeId } from '../mesh/spiffe-id.js'

export interface Actor {
  /**
   * `local-admin`: the CA's own OS user, over its Unix socket. `join-token`: whoever holds one. `ca`: the CA by itself. Otherwise the
   * SPIFFE ID that a certificate proved: an operator at the admin API, a member that renews.
   */
  readonly who: 'local-admin' | 'join-token' | 'ca' | SpiffeId
  /** Of that certificate; null where there is none. */
  readonly instance: string | null
  readonly serial: string | null
  /** Address that the request came from; null on this host. */
  readonly source: string | null
}

/** Whoever may open the admin socket, or holds the CA's directory: the CA's own OS user. */
export const LOCAL_ADMIN: Actor = { who: 'local-admin', instance: null, serial: null, source: null }

/** What the CA does by itself. */
export const CA_ITSELF: Actor = { who: 'ca', instance: null, serial: null, source: null }

/** Whoever holds a join token, from that address. */
export const tokenBearer = (source: string): Actor => ({
  who: 'join-token',
  instance: null,
  serial: null,
  source,
})

/** The member whose certificate was judged, and found in the store. */
export const memberActor = (
  { id, instanceId, serial }: { readonly id: SpiffeId; readonly instanceId: string; readonly serial: string },
  source: string,
): Actor => ({ who: id, instance: instanceId, serial, source })

/** `join-token from 10.0.0.7`, `spiffe://acme.internal/operator/ann from 10.0.0.7`, `local-admin`. */
export function formatActor({ who, source }: Actor): string {
  return source === null ? who : `${who} from ${source}`
}
