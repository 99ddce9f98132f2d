// troth agent suspend, resume: takes a name out of the mesh for a while. Suspending asks nothing: it is undone by resume; but what
// was suspended is never valid again, the sidecars get new certificates by their keys.

import { Command } from 'commander'
import { type AgentName, type NamedKind, parseAgentName } from '../../../mesh/spiffe-id.js'
import { adminClient } from '../../admin-client.js'
import { kindOption } from '../../arguments.js'
import { type CommandContext, withExamples } from '../../command.js'
import { asTyped, type Session } from '../../session.js'
import { reachOf, WAIT_MS } from '../revoke.js'
import { printAgent } from './print.js'

interface SuspendOptions {
  readonly kind: NamedKind
  readonly reason?: string
  readonly wait?: boolean
}

export const suspendCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('suspend')
      .description('refuse all that it holds, everywhere, until it is resumed')
      .argument('<name>', 'who', parseAgentName)
      .addOption(kindOption())
      .option('--reason <text>', 'kept with the suspension')
      .option('--wait', 'answer when every live instance has applied it, or name those that have not')
      .action((name: AgentName, options: SuspendOptions) => suspend(context.session(), name, options)),
    context,
    'agent suspend tickets --wait',
    'agent suspend tickets --reason "behaves strangely"',
  )

export const resumeCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('resume')
      .description('let a suspended one work again; its sidecars renew by their keys')
      .argument('<name>', 'who', parseAgentName)
      .addOption(kindOption())
      .action(async (name: AgentName, { kind }: { kind: NamedKind }) => {
        const session = context.session()
        const agent = await adminClient(session).resumeAgent({ kind, name })
        printAgent(session, agent)
        if (session.json) return
        session.out.say(
          'its sidecars that run get new certificates within a minute; the old ones stay refused',
        )
        if (!agent.instances.some(({ needsToken }) => needsToken)) return
        const other = kind === 'agent' ? '' : ` --kind ${kind}`
        session.out.say(
          `those of an old root enrol again: it was replaced meanwhile: ${asTyped(session, `token ${name}${other} --line`)}`,
        )
      }),
    context,
    'agent resume tickets',
    'agent resume tickets --json',
  )

async function suspend(session: Session, name: AgentName, options: SuspendOptions): Promise<void> {
  const { out, json } = session
  const { kind, reason = 'suspended by operator', wait = false } = options
  const waitMs = wait ? WAIT_MS : 0
  const suspended = await adminClient(session).suspendAgent({ kind, name }, { reason, waitMs })
  if (json) {
    out.json(suspended)
    return
  }
  out.line(`suspended ${kind} ${name}: ${suspended.serials.length} certificates, epoch ${suspended.epoch}`)
  if (wait) for (const line of reachOf(suspended)) out.line(line)
  const other = kind === 'agent' ? '' : ` --kind ${kind}`
  out.say(`to let it work again: ${asTyped(session, `agent resume ${name}${other}`)}`)
}
