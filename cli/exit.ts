// How the CLI ends: exit codes, and an error as two lines `error:` and `hint:` (or one problem object with --json). Hints are
// spelled the way the user called us. Nothing here ends the process.

import { CommanderError } from 'commander'
import { asMeshError, ERRORS, MeshError } from '../mesh/errors.js'
import { problemOf } from '../mesh/wire/problem.js'

/** Exit codes; those of errors stand in the error table and are among these. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  configuration: 3,
  denied: 4,
  unreachable: 5,
  bug: 70,
} as const

/** How the user started us, so that a hint can be pasted back. */
export interface Calling {
  /** `troth`, `npx troth` or `node <path>`. */
  readonly called: string
  /** The home as it was typed with --home, or null when it was not. */
  readonly homeGiven: string | null
}

/** `troth` followed by one of our commands or an option: never the word in a sentence. */
const SPELLED =
  /\btroth (?=(?:init|up|ca|collector|sidecar|run|demo|token|agent|cert|revoke|operator|policy|can|why|audit|help)\b|--)/g

/** The text with every `troth COMMAND` as this user would type it. */
export function spell(text: string, calling: Calling): string {
  return text.replace(SPELLED, () => `${commandOf(calling)} `)
}

/** What stands before the command when this user types one. */
export function commandOf({ called, homeGiven }: Calling): string {
  return homeGiven === null ? called : `${called} --home ${quoted(homeGiven)}`
}

/** The argument as a POSIX shell reads it back. */
export function quoted(argument: string): string {
  return /^[A-Za-z0-9_./:@=,+-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`
}

/**
 * How argv and environment say we were called.
 * @param script argv[1], absolute
 */
export function calledAs(script: string, cwd: string, npmCommand: string | undefined): string {
  const base = script.slice(script.lastIndexOf('/') + 1)
  if (base === 'troth') return npmCommand === 'exec' ? 'npx troth' : 'troth'
  return `node ${quoted(script.startsWith(`${cwd}/`) ? script.slice(cwd.length + 1) : script)}`
}

/**
 * Any thrown thing as an error with a code; undefined when commander only stopped after printing help or the version.
 * @param command the words of the command that did not understand, `agent add`; its help is the hint
 */
export function errorOf(thrown: unknown, command = ''): MeshError | undefined {
  if (!(thrown instanceof CommanderError)) return asMeshError(thrown)
  if (thrown.code === 'commander.helpDisplayed' || thrown.code === 'commander.version') return undefined
  const help = `see troth ${command === '' ? '' : `${command} `}--help`
  if (thrown.code === 'commander.help') return new MeshError('USAGE', 'a command is missing', { hint: help })
  const [message = '', suggestion = ''] = thrown.message.replace(/^error: /, '').split('\n')
  const near = /Did you mean (?:one of )?(.*?)\?/.exec(suggestion)?.[1]
  return new MeshError('USAGE', message, { hint: near === undefined ? help : `did you mean ${near}?` })
}

/** The lines for stderr, and the exit code. */
export function reportOf(
  error: MeshError,
  calling: Calling,
  form: 'people' | 'json',
): { lines: string[]; code: number } {
  const hint = spell(error.hint, calling)
  const { exit: code } = ERRORS[error.code]
  if (form === 'json') return { lines: [JSON.stringify({ ...problemOf(error), hint })], code }
  const message = spell(error.message, calling).replaceAll('\n', '; ')
  const lines = [`error: ${message} (${error.code})`, `hint: ${hint}`]
  if (error.code === 'INTERNAL' && error.cause instanceof Error)
    lines.push(error.cause.stack ?? error.cause.message)
  return { lines, code }
}
