// The command line as a whole: global options and the list of commands. commander only parses; what it refuses is told by exit.ts.

import { Command } from 'commander'
import { parseAgentName } from '../mesh/spiffe-id.js'
import type { CommandContext, DefineCommand } from './command.js'
import { agentCommand } from './commands/agent.js'
import { auditCommand } from './commands/audit.js'
import { caCommand } from './commands/ca.js'
import { canCommand } from './commands/can.js'
import { certCommand } from './commands/cert.js'
import { collectorCommand } from './commands/collector.js'
import { demoCommand } from './commands/demo.js'
import { initCommand } from './commands/init.js'
import { operatorCommand } from './commands/operator.js'
import { policyCommand } from './commands/policy.js'
import { revokeCommand } from './commands/revoke.js'
import { runCommand } from './commands/run.js'
import { sidecarCommand } from './commands/sidecar.js'
import { tokenCommand } from './commands/token.js'
import { upCommand } from './commands/up.js'
import { whyCommand } from './commands/why.js'
import { type Calling, EXIT, errorOf, reportOf } from './exit.js'
import { callingOf, type GlobalOptions, openSession, type Shell } from './session.js'

/** In the order a newcomer needs them. */
const COMMANDS: readonly DefineCommand[] = [
  demoCommand,
  initCommand,
  upCommand,
  runCommand,
  sidecarCommand,
  tokenCommand,
  agentCommand,
  operatorCommand,
  policyCommand,
  canCommand,
  whyCommand,
  revokeCommand,
  certCommand,
  auditCommand,
  caCommand,
  collectorCommand,
]

/**
 * Runs one command line.
 * @param args what follows the script in argv
 * @returns the exit code; never throws
 */
export async function runCommandLine(
  shell: Shell,
  version: string,
  args: readonly string[],
): Promise<number> {
  let code: number = EXIT.ok
  const program = buildProgram(shell, version, (given) => {
    code = given
  })
  try {
    await program.parseAsync(args.length === 0 ? ['--help'] : args, { from: 'user' })
    return code
  } catch (thrown) {
    const error = errorOf(thrown)
    if (error === undefined) return EXIT.ok
    const options = globalsOf(program, args)
    const report = reportOf(error, callingOf(shell, options), options.json === true ? 'json' : 'people')
    for (const line of report.lines) shell.out.say(line)
    return report.code
  }
}

/** The whole program; `exitWith` takes the code of a command that ends well but not with 0. */
export function buildProgram(shell: Shell, version: string, exitWith: (code: number) => void): Command {
  const program = new Command('troth')
    .description(
      'An identity sidecar for AI agents: certificates, mutual TLS, scopes, live revocation, a ledger.',
    )
    .version(version, '--version')
    .option('--home <dir>', "this host's state (default: $TROTH_HOME, else ~/.troth)")
    .option('--json', 'machine-readable output: lists one object a line, errors as problem objects')
    .option('--as <operator>', 'administer as this operator of this home', parseAgentName)
    .option('--dev', 'accept a development root and its unattended passphrase')
  const context: CommandContext = {
    session: () => openSession(shell, program.opts<GlobalOptions>(), exitWith),
    calling: (): Calling => callingOf(shell, program.opts<GlobalOptions>()),
  }
  for (const define of COMMANDS) program.addCommand(define(context))
  program.addHelpText('after', () =>
    ['', 'Examples:', '  init --trust-domain try.internal --dev', '  run planner --help']
      .map((line) => (line.startsWith('  ') ? `  ${shell.called}${line.slice(1)}` : line))
      .join('\n'),
  )
  for (const command of everyCommand(program))
    command
      .exitOverride((error) => {
        throw errorOf(error, wordsOf(command)) ?? error
      })
      .configureHelp({ showGlobalOptions: true })
      .configureOutput({ writeOut: (text) => shell.out.line(text.trimEnd()), writeErr: () => undefined })
  return program
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)]
}

/** `agent add`; empty for the program itself. */
function wordsOf(command: Command): string {
  const { parent } = command
  return parent === null ? '' : `${wordsOf(parent)} ${command.name()}`.trimStart()
}

/** The global options as far as they were parsed; --json counts even when the parser stopped before it. */
function globalsOf(program: Command, args: readonly string[]): GlobalOptions {
  const end = args.indexOf('--')
  const ours = end === -1 ? args : args.slice(0, end)
  return { ...program.opts<GlobalOptions>(), ...(ours.includes('--json') ? { json: true } : {}) }
}
