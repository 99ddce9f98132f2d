// What a command is given: where this home is, how the user called us, the output, the clock. Made once in main.ts.

import path from 'node:path'
import type { Readable } from 'node:stream'
import type { Clock } from '../host/clock.js'
import { type Config, readConfig } from '../host/config.js'
import { type Level, type Log, openLog } from '../host/log.js'
import type { AgentName } from '../mesh/spiffe-id.js'
import { type Calling, commandOf } from './exit.js'
import type { Output } from './output.js'

/** Standard input; `isTTY` when a person sits there. */
export type Stdin = Readable & { readonly isTTY?: boolean }

/** The process around us, handed in. */
export interface Shell {
  readonly out: Output
  readonly clock: Clock
  readonly called: string
  readonly cwd: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdin: Stdin
  /** argv[1]: this program's script, to start it again. */
  readonly script: string
}

export interface GlobalOptions {
  readonly home?: string
  readonly json?: boolean
  readonly dev?: boolean
  readonly as?: AgentName
}

export interface Session extends Shell {
  /** Absolute. */
  readonly home: string
  readonly calling: Calling
  readonly json: boolean
  /** The operator to administer as, whatever else is in this home; null: not named. */
  readonly as: AgentName | null
  /** --dev, or `dev: true` in this home's config.yaml. */
  readonly dev: boolean
  readonly config: Config
  /** `--dev` and `--home` as this process got them, for a child of the same kind. */
  readonly globalArgs: readonly string[]
  /** Sets the exit code of a command that ends well but has an answer in it (denied, a child's code). */
  exitWith(code: number): void
}

/** @throws MeshError CONFIG_INVALID */
export function openSession(shell: Shell, options: GlobalOptions, exitWith: (code: number) => void): Session {
  const home = homeOf(shell, options)
  const config = readConfig(home)
  const dev = options.dev === true || config.dev
  return {
    ...shell,
    home,
    calling: callingOf(shell, options),
    json: options.json === true,
    as: options.as ?? null,
    dev,
    config,
    globalArgs: ['--home', home, ...(dev ? ['--dev'] : [])],
    exitWith,
  }
}

export function callingOf(shell: Shell, options: GlobalOptions): Calling {
  return { called: shell.called, homeGiven: options.home ?? null }
}

/** --home, else TROTH_HOME, else ~/.troth. */
function homeOf({ cwd, env }: Shell, { home }: GlobalOptions): string {
  const given = home ?? env['TROTH_HOME']
  return given === undefined || given === ''
    ? path.join(env['HOME'] ?? cwd, '.troth')
    : path.resolve(cwd, given)
}

/** The command with these arguments, as this user would type it. */
export function asTyped(session: Pick<Session, 'calling'>, args: string): string {
  return `${commandOf(session.calling)} ${args}`
}

/** A log on stderr, in the CLI's own stream. */
export function logOf({ clock, out }: Shell, level: Level): Log {
  return openLog({ clock, level, write: (line) => out.say(line) })
}

/** Keeps the process running although its clock's timers do not. @returns what ends that */
export function stayAlive(): () => void {
  const alive = setInterval(() => undefined, 3_600_000)
  return () => clearInterval(alive)
}
