// troth token: a join token for one enrolment of a name, or the whole command to paste on the other host.

import { Command, Option } from 'commander'
import { type AgentName, NAMED_KINDS, type NamedKind, parseAgentName } from '../../mesh/spiffe-id.js'
import { adminClient } from '../admin-client.js'
import { type DefineCommand, withExamples } from '../command.js'
import { formatInstant } from '../output.js'
import type { Session } from '../session.js'

interface Options {
  readonly kind: NamedKind
  readonly line?: boolean
}

export const tokenCommand: DefineCommand = (context) =>
  withExamples(
    new Command('token')
      .description('mint a join token: single use, ten minutes')
      .argument('<name>', 'who enrols with it', parseAgentName)
      .addOption(new Option('--kind <kind>', 'what enrols with it').choices(NAMED_KINDS).default('agent'))
      .option('--line', 'print the whole command to paste on the other host')
      .action((name: AgentName, options: Options) => mint(context.session(), name, options)),
    context,
    'token planner --line',
    'token planner > planner.token   # there: troth sidecar --agent planner --token file:planner.token',
  )

async function mint(session: Session, name: AgentName, { kind, line }: Options): Promise<void> {
  const { out, clock } = session
  const minted = await adminClient(session).mintToken({ kind, name })
  if (session.json) {
    out.json({ ...minted, kind, name })
    return
  }
  if (minted.registered) out.say(`registered ${kind} ${name}`)
  out.line(line === true ? pasteLine(session, { kind, name, token: minted.token }) : minted.token)
  const minutes = Math.round((minted.expiresAt - clock.now()) / 60_000)
  out.say(`good for one enrolment until ${formatInstant(minted.expiresAt)} (${minutes} min)`)
}

/** On the other host troth is installed, whatever we were called here. */
function pasteLine(
  { dev }: Session,
  { kind, name, token }: { kind: NamedKind; name: AgentName; token: string },
): string {
  const programs = {
    agent: `sidecar --agent ${name}`,
    collector: `collector serve --name ${name}`,
    operator: `operator enrol ${name}`,
  }
  const program = programs[kind]
  return `troth ${program} --token ${token}${dev ? ' --dev' : ''}`
}
