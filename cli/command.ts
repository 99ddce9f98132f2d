// What every file of cli/commands is made with: the session at the time of the action, and the two examples that end --help.

import type { Command } from 'commander'
import { type Calling, commandOf } from './exit.js'
import type { Session } from './session.js'

export interface CommandContext {
  /** Opened when an action runs; not before, so that --help works in any state. @throws MeshError CONFIG_INVALID */
  readonly session: () => Session
  readonly calling: () => Calling
}

/** Makes one command, or a noun with its verbs. */
export type DefineCommand = (context: CommandContext) => Command

/** Ends --help with examples, written without `troth` and shown as this user would type them. */
export function withExamples(command: Command, { calling }: CommandContext, ...examples: string[]): Command {
  return command.addHelpText('after', () =>
    ['', 'Examples:', ...examples.map((example) => `  ${commandOf(calling())} ${example}`)].join('\n'),
  )
}
