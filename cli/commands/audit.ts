// troth audit: what the ledgers hold, and the CA's own audit, asked once (query) or followed (tail).

import { Command, Option } from 'commander'
import type { AuditRow } from '../../host/audit-row.js'
import { type AuditFilter, isClaim, type LedgerReader } from '../../host/audit-table.js'
import { pause } from '../../host/clock.js'
import type { Verdict } from '../../mesh/audit-record.js'
import { parseDuration } from '../../mesh/duration.js'
import { MeshError } from '../../mesh/errors.js'
import { count, nameOrId } from '../arguments.js'
import { CA_HEADINGS, caCellsOf, caLedgerOf } from '../ca-audit.js'
import { type CommandContext, type DefineCommand, withExamples } from '../command.js'
import { cellsOf, HEADINGS, showCall, showRows, withLedgers } from '../ledgers.js'
import { formatInstant, formatTable, printable } from '../output.js'
import { type Session, stayAlive } from '../session.js'

interface Options {
  readonly agent?: string
  readonly suspicious?: boolean
  readonly since?: string
  readonly decision?: Verdict
  readonly ledger?: string
  readonly ca?: boolean
  readonly limit?: number
}

/** What a person wants to see at once; --json gives all there is, up to a bound that keeps the answer in memory. */
const LIMIT = { people: 50, json: 1_000_000, tail: 10 } as const
const TAIL_EVERY_MS = 200

export const auditCommand: DefineCommand = (context) =>
  withExamples(
    new Command('audit')
      .description('what the ledgers of this home hold')
      .addCommand(queryCommand(context))
      .addCommand(tailCommand(context)),
    context,
    'audit query --suspicious',
    'audit tail --agent planner',
  )

const withFilter = (command: Command): Command =>
  command
    .option('--agent <name>', 'calls from or to it: a name, or a whole SPIFFE ID', nameOrId)
    .option('--suspicious', 'only what was denied, refused, cut, failed, or seen by one side only')
    .option('--since <when>', 'a duration back from now (15m, 7d), or an RFC 3339 instant')
    .addOption(new Option('--decision <decision>', 'only these').choices(['permit', 'deny']))
    .option('--ledger <file>', "default: the collector's of this home, else those of its agents")
    .addOption(
      new Option('--ca', "the CA's own audit in this home: who did what to the mesh").conflicts('ledger'),
    )
    .option('--limit <n>', 'the newest so many', count)

const queryCommand = (context: CommandContext): Command =>
  withExamples(
    withFilter(new Command('query').description('print what the ledgers hold, newest last')).action(
      (options: Options) => query(context.session(), options),
    ),
    context,
    'audit query --agent planner --since 1h',
    'audit query --ca --suspicious',
  )

const tailCommand = (context: CommandContext): Command =>
  withExamples(
    withFilter(new Command('tail').description('follow the ledgers')).action((options: Options) =>
      tail(context.session(), options),
    ),
    context,
    'audit tail --agent planner',
    'audit tail --ca --json',
  )

function query(session: Session, options: Options): Promise<void> {
  const { out, json } = session
  const filter = filterOf(session, options, json ? LIMIT.json : LIMIT.people)
  return withLedgers(session, ledgerOf(session, options), (readers) => {
    const rows = rowsOf(readers, filter)
    if (json) {
      for (const row of rows) out.json(row)
      return
    }
    const [headings, shown] = tableOf(
      rows.filter((row) => isForPeople(row, filter)),
      readers,
    )
    if (shown.length === 0) out.say('nothing is recorded that fits')
    else for (const line of formatTable(headings, shown)) out.line(line)
    if (rows.length === filter.limit) out.say(`the newest ${filter.limit}; more with --limit`)
  })
}

const ledgerOf = ({ home }: Session, { ca, ledger }: Options): string | undefined =>
  ca === true ? caLedgerOf(home) : ledger

/** Calls, or the actions of a CA. */
function tableOf(rows: AuditRow[], readers: readonly LedgerReader[]): [readonly string[], string[][]] {
  return readers.some(({ holds }) => holds === 'actions')
    ? [CA_HEADINGS, rows.map(caCellsOf)]
    : [HEADINGS, showRows(rows, readers).map((row) => cellsOf(row, formatInstant))]
}

function tail(session: Session, options: Options): Promise<void> {
  const { out, clock } = session
  const stop = new AbortController()
  out.closed.addEventListener('abort', () => stop.abort())
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  return withLedgers(session, ledgerOf(session, options), async (readers) => {
    const filter = filterOf(session, options, LIMIT.tail)
    let positions = readers.map((reader) => reader.end())
    const before = rowsOf(readers, filter)
    const holds = readers.some((reader) => reader.holds === 'actions') ? 'actions' : 'calls'
    for (const row of before) print(session, row, { filter, holds })
    const letGo = stayAlive()
    while (!stop.signal.aborted) {
      await pause(clock, TAIL_EVERY_MS, stop.signal)
      const news = readers.map((reader, index) => reader.tail(positions[index] ?? new Map()))
      positions = news.map(({ position }) => position)
      for (const row of news.flatMap(({ rows }) => rows).filter((each) => fits(each, filter)))
        print(session, row, { filter, holds })
    }
    letGo()
  })
}

/** A row of `tail` against the filter, as the reader's SQL does it for `query`. */
export function fits(row: AuditRow, filter: AuditFilter): boolean {
  const { agent, decision, suspicious } = filter
  const isAgent = (id: string | null): boolean =>
    id !== null && (id === agent || id.endsWith(`/agent/${agent ?? ''}`))
  if (agent !== null && ![row.caller, row.callee, row.object].some(isAgent)) return false
  if (decision !== null && row.decision !== decision) return false
  return !suspicious || isSuspicious(row)
}

const BAD_ENDS: ReadonlySet<string | null> = new Set(['cut', 'failed', 'unknown'])

/** As the reader's, but for a call that only one side recorded: that shows when the other side had its time. */
function isSuspicious(row: AuditRow): boolean {
  const { kind, decision, outcome, reason } = row
  if (kind === 'refusal') return true
  if (kind === 'note') return reason === 'gap'
  return decision === 'deny' || BAD_ENDS.has(outcome) || isClaim(row)
}

/** A ledger's own notes (opened, rotated) are for programs, unless only what is suspicious was asked for. */
const isForPeople = ({ kind }: AuditRow, { suspicious }: AuditFilter): boolean =>
  kind !== 'note' || suspicious

/** One line: a pipe of JSON, or columns that need no look ahead. */
function print(
  { out, json }: Session,
  row: AuditRow,
  { filter, holds }: { filter: AuditFilter; holds: LedgerReader['holds'] },
): void {
  if (json) {
    out.json(row)
    return
  }
  if (!isForPeople(row, filter)) return
  if (holds === 'actions') {
    out.line(printable(caCellsOf(row).join('  ').trimEnd()))
    return
  }
  const [shown] = row.kind === 'call' ? [showCall([row])] : showRows([row], [])
  if (shown === undefined) return
  const { at, caller, callee, operation, decision, outcome, status, duration, sides } = shown
  const claim = isClaim(row) ? `  ${sides}` : ''
  out.line(
    printable(
      `${formatInstant(at)}  ${row.direction ?? '-'}  ${caller} -> ${callee}  ${operation}  ${decision}  ${outcome}  ${status}  ${duration}${claim}`,
    ),
  )
}

function rowsOf(readers: readonly LedgerReader[], filter: AuditFilter): AuditRow[] {
  const rows = readers.flatMap((reader) => reader.calls(filter))
  return readers.length === 1 ? rows : rows.sort((a, b) => a.at - b.at).slice(-filter.limit)
}

function filterOf({ clock }: Session, options: Options, limit: number): AuditFilter {
  const now = clock.now()
  return {
    agent: options.agent ?? null,
    suspicious: options.suspicious ?? false,
    sinceAt: options.since === undefined ? null : instantOf(options.since, now),
    decision: options.decision ?? null,
    callId: null,
    limit: options.limit ?? limit,
    now,
  }
}

/** @throws MeshError USAGE */
function instantOf(since: string, now: number): number {
  if (/^\d+[a-z]+$/.test(since)) return now - parseDuration(since)
  const at = /^\d{4}-\d{2}-\d{2}/.test(since) ? Date.parse(since) : Number.NaN
  if (Number.isNaN(at))
    throw new MeshError('USAGE', `--since ${JSON.stringify(since)} is neither a duration nor an instant`, {
      hint: 'write 15m, 7d or 2026-11-22T10:00:00Z',
    })
  return at
}
