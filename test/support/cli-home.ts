// A home of its own for one end-to-end test, and the built CLI as a user would type it. Processes started here die with it.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'

export const CLI = path.resolve(import.meta.dirname, '../../dist/cli/main.js')
const ROOT = path.resolve(import.meta.dirname, '../..')

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: ChildProcess
  /** Everything printed so far, both streams. */
  output(): string
  /** Resolves when the output holds the text. @throws when the process ends first or after `deadlineMs` */
  says(pattern: RegExp, deadlineMs?: number): Promise<RegExpMatchArray>
  ended: Promise<Finished>
  kill(signal: NodeJS.Signals): void
}

export interface CliHome extends AsyncDisposable {
  readonly dir: string
  /** Runs one command of the CLI to its end. */
  troth(...args: string[]): Promise<Finished>
  /** As `troth`, and throws when the exit code is not 0. @returns stdout */
  ok(...args: string[]): Promise<string>
  /** Starts a command that stays. */
  start(...args: string[]): Running
  /** Any other program. */
  run(command: string, args: readonly string[], options?: RunOptions): Promise<Finished>
  spawn(command: string, args: readonly string[], options?: RunOptions): Running
}

export interface RunOptions {
  readonly env?: Record<string, string>
  readonly input?: string
  /** Leaves stdin open after the input: the program ends when its peer does. */
  readonly holdInput?: boolean
  readonly cwd?: string
}

/** `extra` is added to the environment of every process started here. */
export function openCliHome(extra: Readonly<Record<string, string>> = {}): CliHome {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'troth-e2e-'))
  const children = new Set<Running>()
  const env = { ...process.env, TROTH_HOME: dir, NODE_OPTIONS: '', ...extra }

  const begin = (command: string, args: readonly string[], options: RunOptions = {}): Running => {
    const running = launch(command, args, {
      cwd: ROOT,
      ...options,
      env: { ...env, ...options.env },
    })
    children.add(running)
    void running.ended.then(() => children.delete(running))
    return running
  }
  const troth = (...args: string[]): Promise<Finished> => begin(process.execPath, [CLI, ...args]).ended

  return {
    dir,
    troth,
    async ok(...args) {
      const { code, stdout, stderr } = await troth(...args)
      if (code !== 0) throw new Error(`troth ${args.join(' ')} ended with ${code}:\n${stderr}\n${stdout}`)
      return stdout
    },
    start: (...args) => begin(process.execPath, [CLI, ...args]),
    run: (command, args, options) => begin(command, args, options).ended,
    spawn: begin,
    async [Symbol.asyncDispose]() {
      const left = [...children]
      for (const running of left) running.kill('SIGTERM')
      const giveUp = setTimeout(() => {
        for (const running of left) running.kill('SIGKILL')
      }, 8000)
      await Promise.all(left.map((running) => running.ended))
      clearTimeout(giveUp)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function launch(command: string, args: readonly string[], options: RunOptions): Running {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env,
    // a group of its own, so that what a shell started ends with the shell
    detached: true,
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  const watchers = new Set<() => void>()
  const told = (): void => {
    for (const watch of watchers) watch()
  }
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk
    told()
  })
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk
    told()
  })
  if (options.holdInput === true) child.stdin?.write(options.input ?? '')
  else child.stdin?.end(options.input)
  const ended = new Promise<Finished>((resolve) => {
    child.on('error', (error) => resolve({ code: 127, stdout, stderr: `${stderr}${error.message}` }))
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
  return {
    child,
    ended,
    output: () => stdout + stderr,
    kill(signal) {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
        process.kill(-child.pid, signal)
    },
    says: (pattern, deadlineMs = 30_000) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = pattern.exec(stdout) ?? pattern.exec(stderr)
          if (found !== null) finish(() => resolve(found))
        }
        const finish = (act: () => void): void => {
          clearTimeout(timer)
          watchers.delete(look)
          act()
        }
        const timer = setTimeout(
          () => finish(() => reject(new Error(`no ${String(pattern)} in time:\n${stdout}${stderr}`))),
          deadlineMs,
        )
        watchers.add(look)
        void ended.then(() =>
          finish(() => reject(new Error(`ended before ${String(pattern)}:\n${stdout}${stderr}`))),
        )
        look()
      }),
  }
}

/** A free TCP port of this host. */
export function freePort(host = '127.0.0.1'): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, host, () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

/** Looks again every 50 ms until `look` gives something else than undefined. @throws with `what` after `deadlineMs` */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  deadlineMs = 30_000,
): Promise<T> {
  const end = performance.now() + deadlineMs
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (performance.now() > end) throw new Error(`${what}: not in ${deadlineMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Resolves when `GET url` answers 200. */
export const ready = (url: string): Promise<true> =>
  until(url, () =>
    fetch(url).then(
      (answer) => (answer.ok ? (true as const) : undefined),
      () => undefined,
    ),
  )

/** JSON lines as objects. */
export const jsonLines = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
