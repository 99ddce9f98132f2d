// troth why: everything the ledgers here know of one call: what was decided, by which lines, between which certificates.

import { Command } from 'commander'
import type { AuditRow } from '../../host/audit-row.js'
import { openLedgerReader } from '../../host/audit-table.js'
import { MeshError } from '../../mesh/errors.js'
import { explain } from '../../mesh/policy/explain.js'
import { type DefineCommand, withExamples } from '../command.js'
import { ledgerFilesOf, nameOf } from '../ledgers.js'
import { formatFields, formatInstant } from '../output.js'
import type { Session } from '../session.js'

export const whyCommand: DefineCommand = (context) =>
  withExamples(
    new Command('why')
      .description('say what was decided of a call, and why, from the ledgers of this home')
      .argument('<call-id>', 'x-troth-call-id, or callId of an answer or of audit query')
      .action((callId: string) => why(context.session(), callId)),
    context,
    'why 01980f2e-7c1a-7d10-a4b2-2f0c6d1e9a55',
    'why 01980f2e-7c1a-7d10-a4b2-2f0c6d1e9a55 --json',
  )

function why(session: Session, callId: string): void {
  const { out, json, home } = session
  const halves = findHalves(home, callId)
  if (halves.length === 0) throw new MeshError('CALL_UNKNOWN', `no ledger in ${home} holds call ${callId}`)
  if (json) {
    for (const half of halves) out.json(half)
    return
  }
  out.line(`call ${callId}`)
  for (const half of halves) for (const line of describe(half)) out.line(line)
  if (halves.length === 1)
    out.say(`only the ${halves[0]?.direction ?? ''} side of it is in the ledgers of this home`)
}

/** Caller's half first; a half that was shipped is in two ledgers and shown once. */
function findHalves(home: string, callId: string): AuditRow[] {
  const found = new Map<string, AuditRow>()
  for (const file of ledgerFilesOf(home)) {
    const reader = openLedgerReader(file)
    try {
      for (const row of reader.record(callId)) found.set(`${row.ledgerId}:${row.seq}`, row)
    } finally {
      reader.close()
    }
  }
  return [...found.values()].sort((a, b) => (a.direction ?? '').localeCompare(b.direction ?? ''))
}

function describe(row: AuditRow): string[] {
  const caller = nameOf(row.caller)
  const callee = nameOf(row.callee)
  const explained = explain({
    caller,
    callee,
    operation: row.operation ?? '-',
    decision: row.decision ?? 'deny',
    code: row.reason,
    scope: row.scope,
    rule: row.rule,
    grant: row.grant,
    policyVersion: row.policyVersion,
    suggestion: null,
  })
  const ended =
    row.outcome === null
      ? 'still running'
      : `${row.outcome} ${row.reason}, status ${row.status ?? '-'}, ${((row.durationUs ?? 0) / 1000).toFixed(1)} ms, ${row.bytesIn ?? 0} bytes in, ${row.bytesOut ?? 0} bytes out`
  return [
    '',
    `${row.direction === 'egress' ? "caller's side" : "callee's side"} (${formatInstant(row.at)})`,
    ...(row.direction === 'egress' && row.decision === 'permit'
      ? ["  sent: the callee's side decides whether the scope is held"]
      : explained.split('\n').map((line) => `  ${line}`)),
    ...formatFields([
      ['ended', ended],
      ['caller', certificateOf(row.caller, row.callerSerial, row.callerInstance)],
      ['callee', certificateOf(row.callee, row.calleeSerial, row.calleeInstance)],
      ['ledger', `${row.ledgerId} record ${row.seq}`],
    ]).map((line) => `  ${line}`),
  ]
}

const certificateOf = (id: string | null, serial: string | null, instance: string | null): string =>
  `${id ?? 'unknown'}  certificate ${serial ?? 'unknown'}${instance === null ? '' : `, instance ${instance}`}`
