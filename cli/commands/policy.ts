// troth policy: check a document here, push it to the CA, show the one in force.

import path from 'node:path'
import { Command } from 'commander'
import { readState } from '../../host/files.js'
import { isMeshError, MeshError } from '../../mesh/errors.js'
import { parsePolicy } from '../../mesh/policy/document.js'
import { adminClient } from '../admin-client.js'
import { type CommandContext, type DefineCommand, withExamples } from '../command.js'
import { readGiven } from '../given-file.js'
import { formatInstant } from '../output.js'
import type { Session } from '../session.js'

export const policyCommand: DefineCommand = (context) =>
  withExamples(
    new Command('policy')
      .description('who may call what')
      .addCommand(checkCommand(context))
      .addCommand(pushCommand(context))
      .addCommand(showCommand(context)),
    context,
    'policy push examples/policy.yaml',
    'policy show',
  )

const checkCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('check')
      .description('read a policy and say what is wrong with it')
      .argument('[file]', 'default: policy.yaml of this home')
      .action((file: string | undefined) => check(context.session(), file)),
    context,
    'policy check',
    'policy check examples/policy.yaml',
  )

const pushCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('push')
      .description('put a policy in force, in all sidecars at once')
      .argument('[file]', 'default: policy.yaml of this home')
      .action((file: string | undefined) => push(context.session(), file)),
    context,
    'policy push',
    'policy push examples/policy.yaml',
  )

const showCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('show').description('print the policy in force').action(() => show(context.session())),
    context,
    'policy show',
    'policy show --json',
  )

function check(session: Session, given: string | undefined): void {
  const { out, json } = session
  const { file, yaml } = readDocument(session, given)
  const { agents, services } = named(file, () => parsePolicy(yaml))
  const operations = services.reduce((sum, service) => sum + service.operations.length, 0)
  if (json) out.json({ file, agents: agents.length, services: services.length, operations })
  else
    out.line(
      `${file} is well-formed: ${agents.length} agent rules, ${services.length} services, ${operations} operations`,
    )
}

async function push(session: Session, given: string | undefined): Promise<void> {
  const { out, json } = session
  const { file, yaml } = readDocument(session, given)
  named(file, () => parsePolicy(yaml))
  const pushed = await adminClient(session).pushPolicy(yaml)
  if (json) out.json({ version: pushed.version, pushedAt: pushed.pushedAt })
  else out.line(`policy ${pushed.version} is in force (${file})`)
}

async function show(session: Session): Promise<void> {
  const { out, json } = session
  const shown = await adminClient(session).policy()
  if (json) out.json(shown)
  else {
    out.say(`policy ${shown.version}, pushed ${formatInstant(shown.pushedAt)}`)
    out.line(shown.yaml.trimEnd())
  }
}

function readDocument({ home, cwd }: Session, given: string | undefined): { file: string; yaml: string } {
  const file = given === undefined ? path.join(home, 'policy.yaml') : path.resolve(cwd, given)
  return {
    file,
    yaml: given === undefined ? readState(file) : readGiven(file, 'name the file that holds the policy'),
  }
}

/** Names the file in the errors of a document, whose own messages call every document policy.yaml. */
function named<T>(file: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (isMeshError(error, 'POLICY_MALFORMED'))
      throw new MeshError('POLICY_MALFORMED', error.message.replaceAll(/^policy\.yaml:/gm, `${file}:`), {
        cause: error,
      })
    throw error
  }
}
