// The real processes of a demo: started, listened to line by line, and all ended with it.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Clock } from '../../host/clock.js'
import { MeshError } from '../../mesh/errors.js'

export interface DemoProcess {
  readonly name: string
  /** The first line that matches, whenever it came. @throws MeshError DEMO_FAILED when it ends first, or at the deadline */
  line(pattern: RegExp): Promise<string>
  /** Exit code, or null after a signal. */
  readonly ended: Promise<number | null>
  /** What it printed, the newest lines only. */
  readonly output: () => readonly string[]
  stop(): Promise<void>
}

export interface Processes {
  /** Node with these arguments, script first. */
  start(name: string, args: readonly string[], env?: Readonly<Record<string, string>>): DemoProcess
  readonly all: readonly DemoProcess[]
  /** In reverse order of their start. */
  stopAll(): Promise<void>
}

const DEADLINE_MS = 20_000
const KILL_AFTER_MS = 8000
const KEPT_LINES = 200

export function openProcesses(
  clock: Clock,
  home: string,
  inherited: Readonly<Record<string, string | undefined>>,
): Processes {
  const all: DemoProcess[] = []
  return {
    all,
    start(name, args, env = {}) {
      const started = start({ name, args, home, env: { ...inherited, ...env }, clock })
      all.push(started)
      return started
    },
    async stopAll() {
      for (const each of [...all].reverse()) await each.stop()
    },
  }
}

interface Start {
  readonly name: string
  readonly args: readonly string[]
  readonly home: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
}

function start({ name, args, home, env, clock }: Start): DemoProcess {
  // its own process group: a Ctrl-C reaches the demo alone, which then ends them in order
  const child = spawn(process.execPath, [...args], {
    cwd: home,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const lines: string[] = []
  const watchers = new Set<(line: string) => void>()
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line)
      if (lines.length > KEPT_LINES) lines.shift()
      for (const watch of [...watchers]) watch(line)
    })
  const ended = new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null))
    child.once('close', resolve)
  })
  return {
    name,
    ended,
    output: () => lines,
    line: (pattern) =>
      new Promise((resolve, reject) => {
        const finish = (act: () => void): void => {
          watchers.delete(look)
          timer.cancel()
          act()
        }
        const look = (line: string): void => {
          if (pattern.test(line)) finish(() => resolve(line))
        }
        const fail = (why: string): void =>
          finish(() => reject(new MeshError('DEMO_FAILED', `${name} ${why} ${pattern.source}`)))
        const timer = clock.after(DEADLINE_MS, () => fail('did not say in time'))
        watchers.add(look)
        lines.forEach(look)
        void ended.then(() => fail('ended before it said'))
      }),
    async stop() {
      child.kill('SIGTERM')
      const timer = clock.after(KILL_AFTER_MS, () => child.kill('SIGKILL'))
      await ended
      timer.cancel()
    },
  }
}
