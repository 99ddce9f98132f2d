// The CA's audit as people read it: who did what to whom, from where, and how it ended. Names of the CA's own trust domain are shown
// without it.

import path from 'node:path'
import type { AuditRow } from '../host/audit-row.js'
import { formatInstant } from './output.js'

export const caLedgerOf = (home: string): string => path.join(home, 'ca', 'ca.db')

export const CA_HEADINGS = ['TIME', 'WHO', 'FROM', 'ACTION', 'OBJECT', 'OUTCOME', 'DETAIL'] as const

/** One line of the table; without a detail it ends with the outcome. */
export function caCellsOf(row: AuditRow): string[] {
  const own = row.author === null ? '' : row.author.slice(0, -'ca'.length)
  const short = (id: string | null): string =>
    id === null || id === '' ? '-' : own !== '' && id.startsWith(own) ? id.slice(own.length) : id
  const counted = (row.count ?? 1) > 1 ? ` x${row.count ?? 1}` : ''
  return [
    formatInstant(row.at),
    row.who === null ? short(row.caller) : short(row.who),
    row.source ?? 'this host',
    row.kind === 'refusal' ? `turned away${counted}` : (row.operation ?? '-'),
    short(row.object),
    row.reason,
    row.detail ?? '',
  ]
}
