// troth revoke: withdraws everything an agent has: certificates, connections, calls in flight, tokens. An emergency command: it
// asks on a terminal, but a script without one need not say --yes.

import { Command, Option } from 'commander'
import { type AgentName, NAMED_KINDS, type NamedKind, parseAgentName } from '../../mesh/spiffe-id.js'
import type { Revoked } from '../../mesh/wire/admin.js'
import { adminClient } from '../admin-client.js'
import { type DefineCommand, withExamples } from '../command.js'
import { formatInstant } from '../output.js'
import { confirm, isOnTerminal } from '../prompt.js'
import { asTyped, type Session } from '../session.js'

interface Options {
  readonly kind: NamedKind
  readonly reason?: string
  readonly wait?: boolean
  readonly yes?: boolean
}

/** Longer than any live feed needs; who has not answered by then is named. */
export const WAIT_MS = 10_000

export const revokeCommand: DefineCommand = (context) =>
  withExamples(
    new Command('revoke')
      .description('withdraw all certificates, connections and tokens of a name (asks on a terminal only)')
      .argument('<name>', 'who', parseAgentName)
      .addOption(
        new Option('--kind <kind>', 'what the name stands for').choices(NAMED_KINDS).default('agent'),
      )
      .option(
        '--reason <text>',
        'kept with the revocation; a first word like keyCompromise is its reason in the CRL',
      )
      .option('--wait', 'answer when every live instance has applied it, or name those that have not')
      .option('--yes', 'do not ask')
      .action((name: AgentName, options: Options) => revoke(context.session(), name, options)),
    context,
    'revoke planner --wait',
    'revoke planner --yes --reason "key on a stolen laptop"',
  )

async function revoke(session: Session, name: AgentName, options: Options): Promise<void> {
  const { out, json } = session
  const { kind, reason = 'revoked by operator', wait = false, yes = false } = options
  if (isOnTerminal(session)) await confirm(session, `revoke ${kind} ${name} everywhere?`, yes)
  const revoked = await adminClient(session).revoke({
    kind,
    name,
    serial: null,
    only: false,
    reason,
    waitMs: wait ? WAIT_MS : 0,
  })
  if (json) out.json(revoked)
  else {
    out.line(`revoked ${kind} ${name}: ${revoked.serials.length} certificates, epoch ${revoked.epoch}`)
    if (wait) for (const line of reachOf(revoked)) out.line(line)
    out.say(`to let it enrol again: ${asTyped(session, `agent restore ${name}`)}`)
  }
}

/** `applied by 14/14 in 23 ms`, and who is still exposed. */
export function reachOf({ applied, expected, cut, elapsedMs, missing }: Revoked): string[] {
  return [
    `applied by ${applied}/${expected} in ${elapsedMs} ms${missing.length > 0 ? ', then given up' : ''}, ${cut} connections cut`,
    ...missing.map(
      ({ id, instanceId, exposedUntil }) =>
        `not reached: ${id} (instance ${instanceId}); it may still accept the revoked until ${formatInstant(exposedUntil)}`,
    ),
  ]
}
