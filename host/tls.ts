// What every TLS door and client of ours has in common. Sessions are never resumed: a resumed session would skip the judgement of
// the peer (RFC 8446 §4.6.1), so tickets are off and nobody keeps a session store.

import { constants, type X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'

/** Spread into the options of every TLS server and client: TLS 1.3, no tickets. */
export const TLS_FLOOR = { minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET } as const

/** A peer that presents more than this is refused by the judge anyway; the rest is not looked at. */
const MAX_PRESENTED = 8

/**
 * The bytes of the leaf that the peer presented; unverified. It costs a third of `presentedChain`, for which OpenSSL copies each certificate
 * above the leaf by writing and parsing it.
 * @returns undefined when it presented none
 */
export function presentedLeaf(socket: TLSSocket): Buffer | undefined {
  // Node answers {} or null where there is none, which its types do not say
  const leaf = socket.getPeerCertificate() as { readonly raw?: Buffer } | null
  return leaf?.raw
}

/**
 * The certificates that the peer presented, as it ordered them, leaf first; unverified.
 * @returns [] when it presented none
 */
export function presentedChain(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = []
  let next = socket.getPeerX509Certificate()
  while (next !== undefined && chain.length < MAX_PRESENTED) {
    const known = chain.some((each) => each.fingerprint256 === next?.fingerprint256)
    if (!known) chain.push(next)
    next = next.issuerCertificate
  }
  return chain
}

/**
 * The chain of a client as its server sees it: what was presented, or the leaf and those of `issuers` that may have signed it, where the
 * runtime has lost the rest: Node 24.21 and 26.8 keep only the leaf there (nodejs/node#65579). TLS itself verified what was presented in any
 * case, and the judge takes an issuer only when its key signed the leaf.
 */
export function clientChain(socket: TLSSocket, issuers: readonly X509Certificate[]): X509Certificate[] {
  const chain = presentedChain(socket)
  const [leaf, ...rest] = chain
  if (leaf === undefined || rest.length > 0) return chain
  const signers = new Map(
    issuers.filter((issuer) => leaf.checkIssued(issuer)).map((each) => [each.fingerprint256, each]),
  )
  return [leaf, ...signers.values()]
}
