// The one owner of a member's current identity: leaf, key and chain, replaced together at rotation. Listeners see the new
// identity at once; connections made with the old one are theirs to renew.

import type { Log } from '../../host/log.js'
import type { Svid } from '../../mesh/svid.js'

export interface Identity {
  readonly svid: Svid
  /** PKCS#8 PEM. Secret. */
  readonly keyPem: string
  /** Leaf, then issuing CA. */
  readonly chainPem: string
}

export interface Credentials {
  current(): Identity
  /** Called with every later identity, in order of registration. */
  onRotate(listener: (identity: Identity) => void): void
}

/** The side of the owner: renewal alone rotates. */
export interface CredentialsOwner extends Credentials {
  rotate(identity: Identity): void
}

export function holdCredentials(first: Identity, log: Log): CredentialsOwner {
  const listeners: ((identity: Identity) => void)[] = []
  let current = first
  return {
    current: () => current,
    onRotate: (listener) => void listeners.push(listener),
    rotate(identity) {
      current = identity
      log.info('identity.rotated', { serial: identity.svid.serial, notAfter: identity.svid.notAfter })
      for (const listener of listeners) listener(identity)
    },
  }
}
