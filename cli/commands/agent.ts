// troth agent: the register of the mesh: add, list, show, suspend, resume, remove, restore.

import { Command, Option } from 'commander'
import { type AgentName, type NamedKind, parseAgentName } from '../../mesh/spiffe-id.js'
import { adminClient } from '../admin-client.js'
import { certificateLife, graceTime, host, kindOption } from '../arguments.js'
import { type CommandContext, type DefineCommand, withExamples } from '../command.js'
import { confirm } from '../prompt.js'
import { asTyped } from '../session.js'
import { printAgent, printAgents } from './agent/print.js'
import { resumeCommand, suspendCommand } from './agent/suspend.js'

interface KindOption {
  readonly kind: NamedKind
}

interface AddOptions extends KindOption {
  readonly ttl?: number
  readonly grace?: number
  readonly onClone?: 'alert' | 'suspend'
  readonly address?: string
}

export const agentCommand: DefineCommand = (context) =>
  withExamples(
    new Command('agent')
      .description('the agents (and operators, collectors) that this mesh knows')
      .addCommand(addCommand(context))
      .addCommand(listCommand(context))
      .addCommand(showCommand(context))
      .addCommand(suspendCommand(context))
      .addCommand(resumeCommand(context))
      .addCommand(removeCommand(context))
      .addCommand(restoreCommand(context)),
    context,
    'agent list',
    'agent show tickets',
  )

const addCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('add')
      .description('register a name, so that it may enrol; or change the settings of a registered one')
      .argument('<name>', 'one lower-case DNS label', parseAgentName)
      .addOption(kindOption())
      .option('--ttl <duration>', 'life of its certificates, 15m to 7d (24h)', certificateLife)
      .option(
        '--grace <duration>',
        'how long after its end a certificate still renews by its key, 0s to 7d (24h)',
        graceTime,
      )
      .addOption(
        new Option(
          '--on-clone <what>',
          'when one certificate renews with two keys: refuse and alert, or suspend the agent as well (alert)',
        ).choices(['alert', 'suspend']),
      )
      .option('--address <host>', 'the address its sidecar may announce besides its own', host)
      .action(async (name: AgentName, options: AddOptions) => {
        const session = context.session()
        const { kind, ttl = null, grace = null, onClone = null, address = null } = options
        const wanted = { kind, name, ttlSeconds: ttl, graceSeconds: grace, onClone, address }
        printAgent(session, await adminClient(session).addAgent(wanted))
      }),
    context,
    'agent add tickets',
    'agent add tickets --ttl 1h --grace 7d --on-clone suspend',
  )

const listCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('list').description('list who is registered').action(async () => {
      const session = context.session()
      printAgents(session, await adminClient(session).agents())
    }),
    context,
    'agent list',
    'agent list --json',
  )

const showCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('show')
      .description('show one and its instances')
      .argument('<name>', 'who', parseAgentName)
      .addOption(kindOption())
      .action(async (name: AgentName, { kind }: KindOption) => {
        const session = context.session()
        printAgent(session, await adminClient(session).agent({ kind, name }))
      }),
    context,
    'agent show tickets',
    'agent show main --kind collector',
  )

const removeCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('remove')
      .description('revoke all that it holds, then forget it')
      .argument('<name>', 'who', parseAgentName)
      .addOption(kindOption())
      .option('--yes', 'do not ask')
      .action(async (name: AgentName, { kind, yes = false }: KindOption & { yes?: boolean }) => {
        const session = context.session()
        await confirm(session, `revoke and forget ${kind} ${name}?`, yes)
        const removed = await adminClient(session).removeAgent({ kind, name })
        if (session.json) session.out.json(removed)
        else session.out.line(`removed ${kind} ${name}: ${removed.serials.length} certificates revoked`)
      }),
    context,
    'agent remove tickets',
    'agent remove tickets --yes',
  )

const restoreCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('restore')
      .description('let a revoked one enrol again; its old certificates stay revoked')
      .argument('<name>', 'who', parseAgentName)
      .addOption(kindOption())
      .action(async (name: AgentName, { kind }: KindOption) => {
        const session = context.session()
        printAgent(session, await adminClient(session).restoreAgent({ kind, name }))
        if (session.json) return
        const other = kind === 'agent' ? '' : ` --kind ${kind}`
        session.out.say(
          `it may enrol again, with a new token: ${asTyped(session, `token ${name}${other} --line`)}`,
        )
      }),
    context,
    'agent restore tickets',
    'agent restore tickets --json',
  )
