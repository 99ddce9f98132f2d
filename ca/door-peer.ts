// Who stands behind a connection to the member door, and what becomes of those who are refused: they are counted in the audit, under
// the name they proved or none.

import { TLSSocket } from 'node:tls'
import type { Clock } from '../host/clock.js'
import type { Route } from '../host/http-server.js'
import { clientChain } from '../host/tls.js'
import { NOBODY, type Party } from '../mesh/audit-record.js'
import { isMeshError, MeshError } from '../mesh/errors.js'
import { revocationsOf } from '../mesh/revocation.js'
import type { NamedKind } from '../mesh/spiffe-id.js'
import { partyOf } from '../mesh/svid.js'
import { PeerRefused, verifyPeer } from '../mesh/verify-peer.js'
import type { CaAudit } from './audit.js'
import { hashOfKey } from './certificate/csr.js'
import type { Hierarchy } from './hierarchy.js'
import type { CaStore, Certificate } from './store/model.js'
import { plainAddress } from './try-limit.js'

export interface MemberLookup {
  readonly store: CaStore
  readonly hierarchy: Hierarchy
  readonly clock: Clock
}

/**
 * The member behind a connection: judged like every peer, then looked up, because only the store knows what was issued here and
 * withdrawn since.
 * @throws MeshError PEER_*
 */
export async function admitMember(
  { store, hierarchy, clock }: MemberLookup,
  socket: unknown,
  kinds: readonly NamedKind[],
): Promise<Certificate> {
  if (!(socket instanceof TLSSocket)) throw new MeshError('PEER_NO_CERTIFICATE', 'the connection is not TLS')
  const now = clock.now()
  const { bundle, issuers } = hierarchy
  const chain = clientChain(
    socket,
    issuers.map((ca) => ca.issuing),
  )
  const svid = verifyPeer({
    chain,
    tlsAuthorized: socket.authorized,
    bundles: new Map([[bundle.trustDomain, bundle]]),
    revocations: revocationsOf([], []),
    expected: { kinds },
    now,
  })
  const [leaf] = chain
  if (leaf === undefined) throw new MeshError('PEER_NO_CERTIFICATE', 'the connection has no certificate')
  const publicKeyHash = hashOfKey(leaf.publicKey.export({ format: 'der', type: 'spki' }))
  const { issuer, serial, id, instanceId, notBefore, notAfter } = svid
  const said = { issuer, serial, id, instanceId: instanceId ?? '', notBefore, notAfter }
  try {
    return await store.admit({ ...said, publicKeyHash, pem: leaf.toString() }, now)
  } catch (error) {
    throw isMeshError(error) ? new PeerRefused(error.code, error.message, partyOf(svid)) : error
  }
}

/** What is refused to this member is refused by name. */
export function provenAs({ id, instanceId, serial }: Certificate, work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!isMeshError(error)) throw error
    const { code, message, hint, retryAfterSeconds } = error
    const after = retryAfterSeconds === null ? {} : { retryAfterMs: retryAfterSeconds * 1000 }
    throw new PeerRefused(code, message, { id, instance: instanceId, serial }, { hint, ...after })
  }
}

/** Whoever is refused by these is counted in the audit, unless that is recorded there as an action. */
export const counted = (audit: CaAudit, routes: readonly Route[]): Route[] =>
  routes.map((route) => ({
    ...route,
    answer: async (request) => {
      try {
        return await route.answer(request)
      } catch (error) {
        audit.turnedAway({ peer: peerOf(error), source: sourceOf(request.raw.socket) }, error)
        throw error
      }
    },
  }))

export const peerOf = (error: unknown): Party => (error instanceof PeerRefused ? error.peer : NOBODY)

/** Address that a connection comes from. */
export const sourceOf = (socket: unknown): string =>
  socket instanceof TLSSocket ? plainAddress(socket.remoteAddress ?? 'unknown') : 'unknown'
