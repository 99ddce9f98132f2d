// What a restored CA waits for, in pages: a mesh of thousands that returns thousands of revocations each fits in no single answer. Pages
// go by what a row is, not by its place, so that rows which come or go between two of them make no other row be missed.

import type { Claim, RecoveryState, Reporter } from '../store/model.js'
import { missingOf } from './recovery.js'

export interface RecoveryPage {
  readonly missing: readonly Reporter[]
  readonly claims: readonly Claim[]
  /** What the next page comes after; null: this is the last. */
  readonly next: string | null
}

/** Names in one page: of an instance one, of a claim its own and everybody's who makes it. A row is never divided. */
const NAMES_MAX = 5000

/**
 * The instances that have not told, then the claims, each in the order of their keys.
 * @param after `next` of the page before; empty for the first
 */
export function pageOf(state: RecoveryState, after: string): RecoveryPage {
  const missing: Reporter[] = []
  const claims: Claim[] = []
  let names = 0
  let last = ''
  const take = (key: string, weight: number): 'taken' | 'seen' | 'full' => {
    if (key <= after) return 'seen'
    if (names > 0 && names + weight > NAMES_MAX) return 'full'
    names += weight
    last = key
    return 'taken'
  }
  for (const { id, instanceId } of missingOf(state)) {
    // a space sorts before whatever is in a SPIFFE ID, so these keys sort as their parts do
    const took = take(`0 ${id} ${instanceId}`, 1)
    if (took === 'full') return { missing, claims, next: last }
    if (took === 'taken') missing.push({ id, instanceId })
  }
  for (const claim of state.claims) {
    const took = take(`1 ${claim.object}`, 1 + claim.by.length)
    if (took === 'full') return { missing, claims, next: last }
    if (took === 'taken') claims.push(claim)
  }
  return { missing, claims, next: null }
}
