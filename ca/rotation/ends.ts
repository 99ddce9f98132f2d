// When the CAs of a home end, and from when a rotation of them is due.

import type { Log } from '../../host/log.js'
import { ISSUING_LIFE_MS } from '../certificate/profile.js'
import type { Hierarchy } from '../hierarchy.js'

/** Instants, ms since epoch. */
export interface End {
  readonly notAfter: number
  readonly dueAt: number
}

const DAY_MS = 86_400_000
/** The longest life of a leaf, twice: one that is made now ends with its issuer at the latest, and a rotation has time to wait for everybody. */
const ISSUING_RESERVE_MS = 14 * DAY_MS

/** A root is due when an issuing CA made now would live shorter than it should. */
export function endsOf(hierarchy: Pick<Hierarchy, 'current'>): Readonly<Record<'root' | 'issuing', End>> {
  const { root, issuing } = hierarchy.current()
  const rootEnd = Date.parse(root.validTo)
  const issuingEnd = Date.parse(issuing.validTo)
  return {
    root: { notAfter: rootEnd, dueAt: rootEnd - ISSUING_LIFE_MS },
    issuing: { notAfter: issuingEnd, dueAt: issuingEnd - ISSUING_RESERVE_MS },
  }
}

/** Says once a day what is due. @returns when it has said so last */
export function warnOfEnds(
  hierarchy: Pick<Hierarchy, 'current'>,
  log: Log,
  at: { readonly now: number; readonly lastWarnedAt: number },
): number {
  if (at.now - at.lastWarnedAt < DAY_MS) return at.lastWarnedAt
  const due = Object.entries(endsOf(hierarchy)).filter(([, { dueAt }]) => dueAt <= at.now)
  for (const [which, { notAfter }] of due) log.warn('ca.rotation_due', { which, notAfter })
  return due.length > 0 ? at.now : at.lastWarnedAt
}
