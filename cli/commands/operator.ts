// troth operator: who may administer the mesh from another host. Enrolled with a token like an agent, kept in this home; the other
// commands then speak as that operator.

import path from 'node:path'
import { Command } from 'commander'
import { type AgentName, parseAgentName } from '../../mesh/spiffe-id.js'
import { adminClient } from '../admin-client.js'
import { type CommandContext, type DefineCommand, withExamples } from '../command.js'
import { findEnrolment, registerUnknown } from '../enrol-by.js'
import { formatInstant } from '../output.js'
import { confirm } from '../prompt.js'
import { asTyped, logOf, type Session } from '../session.js'
import { printAgent, printAgents } from './agent/print.js'

export const operatorCommand: DefineCommand = (context) =>
  withExamples(
    new Command('operator')
      .description('who may administer the mesh from another host')
      .addCommand(enrolCommand(context))
      .addCommand(listCommand(context))
      .addCommand(showCommand(context))
      .addCommand(removeCommand(context)),
    context,
    'operator enrol ann --token file:ann.token',
    'operator list',
  )

const enrolCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('enrol')
      .description('become an operator on this host, with a token from the CA')
      .argument('<name>', 'the operator', parseAgentName)
      .option('--token <token>', 'join token: file:PATH, - for stdin, or the token itself')
      .action((name: AgentName, { token }: { token?: string }) => enrol(context.session(), name, token)),
    context,
    'operator enrol ann --token file:ann.token   # there: troth token ann --kind operator > ann.token',
    'operator enrol ann --token file:ann.token --json',
  )

const listCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('list').description('list the operators of the mesh').action(async () => {
      const session = context.session()
      const everybody = await adminClient(session).agents()
      printAgents(
        session,
        everybody.filter(({ kind }) => kind === 'operator'),
      )
    }),
    context,
    'operator list',
    'operator list --json',
  )

const showCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('show')
      .description('show an operator and its certificates')
      .argument('<name>', 'who', parseAgentName)
      .action(async (name: AgentName) => {
        const session = context.session()
        printAgent(session, await adminClient(session).agent({ kind: 'operator', name }))
      }),
    context,
    'operator show ann',
    'operator show ann --json',
  )

const removeCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('remove')
      .description('revoke all that an operator holds, then forget it; yourself too')
      .argument('<name>', 'who', parseAgentName)
      .option('--yes', 'do not ask')
      .action(async (name: AgentName, { yes = false }: { yes?: boolean }) => {
        const session = context.session()
        await confirm(session, `revoke and forget operator ${name}?`, yes)
        const removed = await adminClient(session).removeAgent({ kind: 'operator', name })
        if (session.json) session.out.json(removed)
        else session.out.line(`removed operator ${name}: ${removed.serials.length} certificates revoked`)
      }),
    context,
    'operator remove ann --yes',
    'operator remove ann --yes --json',
  )

async function enrol(session: Session, name: AgentName, token: string | undefined): Promise<void> {
  const { home, dev, clock, out, json } = session
  const dir = path.join(home, 'operators', name)
  const { enrolBy, admin } = await findEnrolment(session, { kind: 'operator', name, dir, token })
  const { enrolOperator, openOperator } = await import('../../member/operator.js')
  const options = { home, name, dev, clock, log: logOf(session, 'warn') }
  if (admin !== null) await registerUnknown(session, admin, { kind: 'operator', name })
  const operator = enrolBy === null ? await openOperator(options) : await enrolOperator(options, enrolBy)
  const { id, notAfter, caAddress } = operator
  if (json) {
    out.json({ id, dir, notAfter, caAddress })
    return
  }
  out.line(`${id} is enrolled here until ${formatInstant(notAfter)}; it renews itself when it is used`)
  out.say(`try it: ${asTyped(session, 'agent list')}`)
}
