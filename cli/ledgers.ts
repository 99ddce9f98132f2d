// Which ledgers a question is put to, and calls as people read them: the collector's ledger where there is one, else those of the
// agents of this home. Reading only; their owners may be writing.

import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import type { AuditRow } from '../host/audit-row.js'
import { isClaim, type LedgerReader, openLedgerReader } from '../host/audit-table.js'
import { MeshError } from '../mesh/errors.js'
import type { Session } from './session.js'

const ledgerOf = (dir: string): string => path.join(dir, 'ledger.db')

/** The files of all ledgers of a home, the collector's first. */
export function ledgerFilesOf(home: string): string[] {
  const agents = path.join(home, 'agents')
  const dirs = existsSync(agents) ? readdirSync(agents).sort() : []
  return [
    ledgerOf(path.join(home, 'collector')),
    ...dirs.map((name) => ledgerOf(path.join(agents, name))),
  ].filter((file) => existsSync(file))
}

/**
 * Runs with the ledgers opened: the named file, else the collector's, else those of all agents of this home.
 * @throws MeshError LEDGER_MISSING | STATE_UNREADABLE
 */
export async function withLedgers<T>(
  { home, cwd }: Session,
  ledger: string | undefined,
  act: (readers: readonly LedgerReader[]) => T | Promise<T>,
): Promise<T> {
  const found = ledgerFilesOf(home)
  const collector = found.filter((file) => file === ledgerOf(path.join(home, 'collector')))
  const files =
    ledger === undefined ? (collector.length > 0 ? collector : found) : [path.resolve(cwd, ledger)]
  if (files.length === 0) throw new MeshError('LEDGER_MISSING', `there is no ledger in ${home}`)
  const readers: LedgerReader[] = []
  try {
    for (const file of files) readers.push(openLedgerReader(file))
    return await act(readers)
  } finally {
    for (const reader of readers) reader.close()
  }
}

/** One line for people: a call with what its two sides recorded, or a refusal or note. */
export interface ShownRow {
  readonly at: number
  readonly caller: string
  readonly callee: string
  readonly operation: string
  readonly scope: string
  readonly decision: string
  readonly outcome: string
  readonly status: string
  readonly duration: string
  readonly sides: string
}

export const HEADINGS = [
  'TIME',
  'CALLER',
  'CALLEE',
  'OPERATION',
  'SCOPE',
  'DECISION',
  'OUTCOME',
  'STATUS',
  'DURATION',
  'RECORDED BY',
] as const

/** Calls once each, in order of their time, with both halves looked up in `readers`; refusals and notes as they are. */
export function showRows(rows: readonly AuditRow[], readers: readonly LedgerReader[]): ShownRow[] {
  const seen = new Set<string>()
  return rows.flatMap((row) => {
    if (row.kind !== 'call' || row.callId === null) return [showEvent(row)]
    const { callId, caller, callee } = row
    // ids are the callers' choice: the same one between others is another call
    const key = `${callId} ${caller} ${callee}`
    if (seen.has(key)) return []
    seen.add(key)
    const halves = readers
      .flatMap((reader) => reader.record(callId))
      .filter((half) => half.caller === caller && half.callee === callee)
    return [halves.length > 0 ? showCall(halves) : showCall([row])]
  })
}

/** A call from its halves; the callee's, which decides scope, speaks first. */
export function showCall(halves: readonly AuditRow[]): ShownRow {
  const ingress = halves.find(({ direction }) => direction === 'ingress')
  const egress = halves.find(({ direction }) => direction === 'egress')
  const main = ingress ?? egress
  if (main === undefined) throw new MeshError('CALL_UNKNOWN', 'a call without a record')
  const denied = [ingress, egress].find((half) => half?.decision === 'deny')
  const durationUs = egress?.durationUs ?? main.durationUs
  return {
    at: (egress ?? main).at,
    caller: nameOf(main.caller),
    callee: nameOf(main.callee),
    operation: main.operation ?? '-',
    scope: main.scope ?? '-',
    decision: denied === undefined ? 'permit' : `deny ${denied.reason}`,
    outcome: outcomeOf(main, denied !== undefined),
    status: String(main.status ?? egress?.status ?? '-'),
    duration: durationUs === null ? '-' : formatMicroseconds(durationUs),
    sides: isClaim(main) ? `nobody; claimed by ${nameOf(main.author)}` : sidesOf(ingress, egress),
  }
}

function showEvent(row: AuditRow): ShownRow {
  const refusal = row.kind === 'refusal'
  return {
    at: row.at,
    caller: refusal ? callerOfRefusal(row) : nameOf(row.author ?? row.caller),
    callee: row.callee === null ? nameOf(row.author) : nameOf(row.callee),
    operation: refusal
      ? `connection refused${(row.count ?? 1) > 1 ? ` x${row.count ?? 1}` : ''}`
      : `note: ${row.reason}`,
    scope: '-',
    decision: refusal ? `deny ${row.reason}` : '-',
    outcome: row.detail ?? '-',
    status: '-',
    duration: '-',
    sides: refusal ? (row.direction === 'egress' ? 'caller' : 'callee') : '-',
  }
}

const callerOfRefusal = ({ caller, source, author }: AuditRow): string =>
  caller === null ? (source ?? nameOf(author)) : nameOf(caller)

export const cellsOf = (row: ShownRow, time: (at: number) => string): string[] => [
  time(row.at),
  row.caller,
  row.callee,
  row.operation,
  row.scope,
  row.decision,
  row.outcome,
  row.status,
  row.duration,
  row.sides,
]

/** `planner` for an agent of a mesh, the whole ID for anything else. */
export function nameOf(id: string | null): string {
  if (id === null) return '-'
  return /^spiffe:\/\/[^/]+\/agent\/([a-z0-9-]+)$/.exec(id)?.[1] ?? id
}

function outcomeOf({ outcome, reason }: AuditRow, denied: boolean): string {
  if (outcome === null) return 'running'
  return denied || outcome === 'completed' || reason === 'OK' ? outcome : `${outcome} ${reason}`
}

function sidesOf(ingress: AuditRow | undefined, egress: AuditRow | undefined): string {
  if (ingress !== undefined && egress !== undefined) return 'both'
  if (ingress === undefined) return 'caller'
  return ingress.callerKind === 'foreign' ? 'callee (foreign caller)' : 'callee'
}

function formatMicroseconds(us: number): string {
  if (us < 10_000) return `${(us / 1000).toFixed(1)}ms`
  return us < 10_000_000 ? `${Math.round(us / 1000)}ms` : `${Math.round(us / 1_000_000)}s`
}
