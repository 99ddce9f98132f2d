// troth agent: the register of the mesh: add, list, show, remove, restore.

import { Command, Option } from 'commander'
import { formatDuration } from '../../mesh/duration.js'
import { type AgentName, NAMED_KINDS, type NamedKind, parseAgentName } from '../../mesh/spiffe-id.js'
import type { AgentInfo } from '../../mesh/wire/admin.js'
import { adminClient } from '../admin-client.js'
import { certificateLife, host } from '../arguments.js'
import { type CommandContext, type DefineCommand, withExamples } from '../command.js'
import { formatFields, formatInstant, formatTable } from '../output.js'
import { confirm } from '../prompt.js'
import { asTyped, type Session } from '../session.js'

interface KindOption {
  readonly kind: NamedKind
}

export const agentCommand: DefineCommand = (context) =>
  withExamples(
    new Command('agent')
      .description('the agents (and operators, collectors) that this mesh knows')
      .addCommand(addCommand(context))
      .addCommand(listCommand(context))
      .addCommand(showCommand(context))
      .addCommand(removeCommand(context))
      .addCommand(restoreCommand(context)),
    context,
    'agent list',
    'agent show tickets',
  )

const kindOption = (): Option =>
  new Option('--kind <kind>', 'what the name stands for').choices(NAMED_KINDS).default('agent')

const addCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('add')
      .description('register a name, so that it may enrol')
      .argument('<name>', 'one lower-case DNS label', parseAgentName)
      .addOption(kindOption())
      .option('--ttl <duration>', 'life of its certificates, 15m to 7d', certificateLife)
      .option('--address <host>', 'the address its sidecar may announce besides its own', host)
      .action(async (name: AgentName, options: KindOption & { ttl?: number; address?: string }) => {
        const session = context.session()
        const { kind, ttl = null, address = null } = options
        show(
          session,
          await adminClient(session.home).addAgent({
            kind,
            name,
            ttlSeconds: ttl,
            address,
            graceSeconds: null,
            onClone: null,
          }),
        )
      }),
    context,
    'agent add tickets',
    'agent add tickets --ttl 1h --address 10.0.0.7',
  )

const listCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('list').description('list who is registered').action(async () => {
      const session = context.session()
      list(session, await adminClient(session.home).agents())
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
        show(session, await adminClient(session.home).agent({ kind, name }))
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
        const removed = await adminClient(session.home).removeAgent({ kind, name })
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
        show(session, await adminClient(session.home).restoreAgent({ kind, name }))
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

function list({ out, json }: Session, agents: readonly AgentInfo[]): void {
  if (json) {
    for (const agent of agents) out.json(agent)
    return
  }
  if (agents.length === 0) {
    out.say('nobody is registered yet')
    return
  }
  const rows = agents.map(({ kind, name, state, instances }) => {
    const connected = instances.filter((instance) => instance.connected)
    const places = connected.flatMap(({ endpoint }) => (endpoint === null ? [] : [endpoint]))
    return [kind, name, state, `${connected.length}/${instances.length}`, places.join(' ') || '-']
  })
  for (const line of formatTable(['KIND', 'NAME', 'STATE', 'ONLINE', 'ENDPOINT'], rows)) out.line(line)
}

function show({ out, json }: Session, agent: AgentInfo): void {
  if (json) {
    out.json(agent)
    return
  }
  const fields = formatFields([
    ['id', agent.id],
    ['state', agent.state],
    ['registered', formatInstant(agent.createdAt)],
    ['certificates', `live ${formatDuration(agent.ttlSeconds * 1000)}`],
    ...(agent.address === null ? [] : [['may announce', agent.address] as const]),
  ])
  for (const line of fields) out.line(line)
  if (agent.instances.length === 0) return
  out.line('')
  const rows = agent.instances.map(({ instanceId, serial, notAfter, connected, endpoint }) => [
    instanceId,
    connected ? 'online' : 'offline',
    endpoint ?? '-',
    serial,
    formatInstant(notAfter),
  ])
  for (const line of formatTable(['INSTANCE', 'FEED', 'ENDPOINT', 'SERIAL', 'VALID UNTIL'], rows))
    out.line(line)
}
