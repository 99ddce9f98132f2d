// Whether a call may go on, decided once a call and from memory alone: is this side itself in order, is the peer still, is the view
// of the mesh fresh enough, and (at the ingress only) does the policy allow the operation. What is not known is denied.

import { MeshError, type MeshErrorCode } from '../../mesh/errors.js'
import type { Operation } from '../../mesh/operation.js'
import type { CompiledPolicy } from '../../mesh/policy/compile.js'
import { decide, type Permit } from '../../mesh/policy/decide.js'
import { covers, type Revocations } from '../../mesh/revocation.js'
import type { Svid } from '../../mesh/svid.js'

/** A denial by whatever check; the members of a policy denial where the policy decided. */
export interface CallDenial {
  readonly verdict: 'deny'
  readonly code: MeshErrorCode
  readonly detail: string
  readonly scope: string | null
  readonly rule: string | null
  /** YAML that would allow the call; null when no policy would. */
  readonly suggestion: string | null
  readonly policyVersion: number | null
}

export type CallDecision = Permit | CallDenial

/** How this side stands at the moment of the call. */
export interface Standing {
  /** ms since epoch */
  readonly now: number
  readonly own: Pick<Svid, 'id' | 'notAfter'>
  readonly selfRevoked: boolean
  readonly draining: boolean
  /** The feed is silent for too long and the operator chose that this stops new calls. */
  readonly staleDenied: boolean
}

/**
 * Nothing of this side stands against a new call or handshake.
 * @throws MeshError DRAINING | SELF_REVOKED | SELF_EXPIRED | FEED_STALE
 */
export function checkStanding({ now, own, selfRevoked, draining, staleDenied }: Standing): void {
  if (draining) throw new MeshError('DRAINING', 'this sidecar is shutting down')
  if (selfRevoked) throw new MeshError('SELF_REVOKED', `${own.id} was revoked`)
  if (now > own.notAfter) throw new MeshError('SELF_EXPIRED', `the certificate of ${own.id} has expired`)
  if (staleDenied) throw new MeshError('FEED_STALE', 'no word from the CA for too long')
}

/**
 * The peer of an admitted connection is still in order; looked at again for every call.
 * @throws MeshError PEER_REVOKED | PEER_EXPIRED
 */
export function checkPeer(peer: Svid, revocations: Revocations, now: number): void {
  if (covers(revocations, peer)) throw new MeshError('PEER_REVOKED', `${peer.id} was revoked`)
  if (now > peer.notAfter) throw new MeshError('PEER_EXPIRED', `the certificate of ${peer.id} has expired`)
}

export interface IngressQuestion {
  readonly standing: Standing
  readonly caller: Svid
  readonly operation: Operation
  readonly policy: CompiledPolicy
  readonly revocations: Revocations
}

/** The whole decision of the callee's side. */
export function authorize({
  standing,
  caller,
  operation,
  policy,
  revocations,
}: IngressQuestion): CallDecision {
  try {
    checkStanding(standing)
    checkPeer(caller, revocations, standing.now)
  } catch (error) {
    return denialOf(error)
  }
  return decide(policy, { caller: caller.id, callee: standing.own.id, operation })
}

/** A failed check as a denial. @throws what is no MeshError: a bug */
export function denialOf(error: unknown): CallDenial {
  if (!(error instanceof MeshError)) throw error
  return {
    verdict: 'deny',
    code: error.code,
    detail: error.message,
    scope: null,
    rule: null,
    suggestion: null,
    policyVersion: null,
  }
}
