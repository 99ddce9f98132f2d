// The agent's own process under `troth run`: shares our terminal, gets our signals, and its end is told as a shell would tell it.

import { spawn } from 'node:child_process'
import os from 'node:os'
import { MeshError } from '../mesh/errors.js'

export interface AgentProcess {
  /** Resolves with the exit code; 128 + n when signal n ended it. */
  readonly exited: Promise<number>
  stop(): void
}

const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGINT'] as const

/** @throws MeshError COMMAND_FAILED when it cannot be started */
export async function startAgent(
  command: readonly string[],
  options: {
    readonly env: Readonly<Record<string, string | undefined>>
    /** A Ctrl-C reaches the whole foreground group, the agent too: then it is not sent a second time. */
    readonly interruptedByTerminal: boolean
    /** Waited for before a signal that ends the agent is passed on, so that its calls end first; a second signal does not wait. */
    readonly beforeEnd: () => Promise<void>
  },
): Promise<AgentProcess> {
  const [file = '', ...args] = command
  const child = spawn(file, args, { stdio: 'inherit', env: options.env })
  let isEnding = false
  const forward = (signal: NodeJS.Signals): void => {
    if (signal === 'SIGINT' && options.interruptedByTerminal) return
    const pass = (): void => void child.kill(signal)
    // SIGHUP makes many programs read their configuration again
    if (isEnding || signal === 'SIGHUP') {
      pass()
      return
    }
    isEnding = true
    options.beforeEnd().then(pass, pass)
  }
  for (const signal of FORWARDED) process.on(signal, forward)
  const exited = new Promise<number>((resolve) => {
    child.once('exit', (code, signal) => {
      for (const each of FORWARDED) process.removeListener(each, forward)
      resolve(code ?? 128 + (signal === null ? 0 : os.constants.signals[signal]))
    })
  })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (error: NodeJS.ErrnoException) => {
      for (const each of FORWARDED) process.removeListener(each, forward)
      reject(
        new MeshError('COMMAND_FAILED', `${file} cannot be started: ${error.code ?? error.message}`, {
          cause: error,
        }),
      )
    })
  })
  return { exited, stop: () => void child.kill('SIGTERM') }
}
