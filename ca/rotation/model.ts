// The words of a rotation: which CAs there are, how far a rotation has come, whom it waits for. State only; what is done with it is in
// machine.ts, how it is kept in ca/store/rotation.ts.

import type { SpiffeId } from '../../mesh/spiffe-id.js'
import type { Position } from '../../mesh/wire/feed.js'
import type { KeyLabel } from '../keys/key-store.js'

/**
 * `next`: distributed, signs nothing yet. `current`: signs. `previous`: signs no more, its leaves live on. `retired`: nobody trusts it any
 * more; only its key is still to be destroyed.
 */
export type AuthorityState = 'next' | 'current' | 'previous' | 'retired'

/** A CA certificate of this home, present or past. */
export interface Authority {
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string
  readonly usage: 'root' | 'issuing'
  readonly state: AuthorityState
  /** SHA-256 of its SubjectPublicKeyInfo, lower-case hex. */
  readonly issuer: string
  /** `fingerprint` of the root that signed it; a root's own. */
  readonly signedBy: string
  /** Of its key. */
  readonly label: KeyLabel
  readonly pem: string
  /** Of a root: its key certified by the root before; null for the first. */
  readonly crossPem: string | null
  /** Of an issuing CA: when its key was declared stolen. */
  readonly revokedAt: number | null
}

export type NewAuthority = Omit<Authority, 'state' | 'revokedAt'>

export type RotationKind = 'issuing' | 'root'

/**
 * `prepare`: new keys are made, the root has not signed yet. `distribute`: members are told of the new CAs; goes on when all have
 * acknowledged (and, for a root, when no older token is left). `renew`: the new CA signs, members renew; goes on when nobody holds a
 * leaf of the old one. Then the old one is retired, and there is no rotation.
 */
export type Phase = 'prepare' | 'distribute' | 'renew'

export interface Rotation {
  /** Eight hex digits: new keys carry it in their labels. */
  readonly id: string
  readonly kind: RotationKind
  /** The old issuing CA is withdrawn at once; nothing is waited for. */
  readonly compromised: boolean
  readonly phase: Phase
  /** Instants, ms since epoch. */
  readonly startedAt: number
  readonly phaseAt: number
  /** What members must acknowledge in `distribute`. */
  readonly epoch: number | null
}

/** An instance that a rotation waits for. */
export interface Awaited {
  readonly id: SpiffeId
  readonly instanceId: string
  /** Until then it can come back by itself; then it is waited for no more. */
  readonly until: number
  /** False: a client without a feed, which is never told anything. */
  readonly follows: boolean
}

/** The keys that a rotation makes. */
export const labelsOf = ({
  id,
}: Pick<Rotation, 'id'>): { root: `root-${string}`; issuing: `issuing-${string}` } => ({
  root: `root-${id}`,
  issuing: `issuing-${id}`,
})

export interface RotationStore {
  /** Oldest first. */
  authorities(): Promise<Authority[]>
  /** The CAs that init made, in a home that has none on record yet; else nothing happens. */
  adoptAuthorities(authorities: readonly NewAuthority[]): Promise<void>
  rotation(): Promise<Rotation | undefined>
  /**
   * Opens a rotation, or finds the one that is open.
   * @throws MeshError CA_ROTATION_RUNNING when that is another one
   */
  beginRotation(wanted: NewRotation): Promise<Rotation>
  /** `prepare` -> `distribute`. @returns undefined when it was done before */
  stageAuthorities(authorities: readonly NewAuthority[], at: number): Promise<Position | undefined>
  /** `prepare` and `distribute` -> `renew`: what was staged signs from now on. @returns undefined when it was done before */
  promoteAuthorities(at: number): Promise<Position | undefined>
  /** `renew` -> no rotation; of a root, everything below the old one is retired. @returns undefined when it was done before */
  finishRotation(): Promise<Position | undefined>
  /** The members were told of a step before it was in force: they are to be told again, and nobody has acknowledged it. */
  announceAgain(): Promise<Position>
  /** The instance stands at the epoch that the rotation awaits. */
  acknowledgeRotation(instanceId: string): Promise<void>
  /** Instances that have not acknowledged, and can still come back. */
  awaitedToAcknowledge(now: number): Promise<Awaited[]>
  /** Instances that may still use a leaf of a CA that signs no more. */
  awaitedToRenew(now: number): Promise<Awaited[]>
  /** Suspended members that hold what they could renew by after a resume: they are told nothing meanwhile. */
  suspendedHolders(now: number): Promise<SpiffeId[]>
  /** Outstanding join tokens minted before that instant: until when the last of them is good; 0 when there is none. */
  tokensOutstanding(mintedBefore: number, now: number): Promise<number>
  /** Retires issuing CAs that sign no more and of which nothing is alive. @returns undefined when there is none */
  retireIssuers(now: number): Promise<Position | undefined>
  /** The key of a retired CA is destroyed. */
  forgetAuthority(fingerprint: string): Promise<void>
}

export interface NewRotation {
  readonly id: string
  readonly kind: RotationKind
  readonly compromised: boolean
  readonly at: number
}
