// Programs that we did not write, as tests call them.

import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'

export const run = promisify(execFile)

/** Debian's modules belong to Debian's python, not to whichever python3 comes first. */
export const PYTHON = '/usr/bin/python3'

export function has(program: string, ...args: string[]): boolean {
  const { error, status } = spawnSync(program, args)
  return error === undefined && status === 0
}

export interface RunningProgram extends AsyncDisposable {
  /** The first line that it says. */
  readonly said: string
}

/** Starts a server that says a line on stdout when it serves. */
export async function startProgram(program: string, args: readonly string[]): Promise<RunningProgram> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  let said = ''
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    said += chunk.toString()
    if (said.includes('\n')) break
  }
  child.stdout.resume()
  return {
    said: said.split('\n')[0] ?? '',
    async [Symbol.asyncDispose]() {
      child.kill()
      await exited
    },
  }
}
