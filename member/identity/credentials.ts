// The one owner of a member's current identity: leaf, key and chain, replaced together at rotation. Listeners see the new
// identity at once; connections made with the old one are theirs to renew.

import type { X509Certificate } from 'node:crypto'
import type { Log } from '../../host/log.js'
import type { Svid } from '../../mesh/svid.js'

export interface Identity {
  readonly svid: Svid
  /** PKCS#8 PEM. Secret. */
  readonly keyPem: string
  /** Leaf, then issuing CA. */
  readonly chainPem: string
  /** The CA that signed the leaf, and so those of its peers. */
  readonly issuing: X509Certificate
}

/** What is stored beside a certificate because it does not say it. */
export interface Instance {
  readonly instanceId: string
  /** `host:port`. */
  readonly caAddress: string
  /** ms since epoch. */
  readonly renewAt: number
}

export interface Credentials {
  current(): Identity
  /** Called with every later identity, in order of registration. */
  onRotate(listener: (identity: Identity) => void): void
}

/** The side of the owner: renewal alone rotates. */
export interface CredentialsOwner extends Credentials {
  instance(): Instance
  rotate(identity: Identity, instance: Instance): void
}

export function holdCredentials(
  first: { readonly identity: Identity; readonly instance: Instance },
  log: Log,
): CredentialsOwner {
  const listeners: ((identity: Identity) => void)[] = []
  let { identity: current, instance: about } = first
  return {
    current: () => current,
    instance: () => about,
    onRotate: (listener) => void listeners.push(listener),
    rotate(identity, instance) {
      current = identity
      about = instance
      log.info('identity.rotated', { serial: identity.svid.serial, notAfter: identity.svid.notAfter })
      for (const listener of listeners) listener(identity)
    },
  }
}
