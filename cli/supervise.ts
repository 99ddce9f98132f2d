// Keeps another process of this program running: starts it, waits for its ready line (one JSON object on stdout), passes its log
// on, starts it again with back-off when it dies, stops it with us. The pipe on its stdin tells it when we are gone, even by kill -9.

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { type Readable, Writable } from 'node:stream'
import { type Clock, pause } from '../host/clock.js'
import type { Lifecycle } from '../host/lifecycle.js'
import { MeshError } from '../mesh/errors.js'
import { errorOfProblem } from '../mesh/wire/problem.js'
import { PASSPHRASE_FD } from './passphrase.js'

export interface Program {
  /** Names it in messages. */
  readonly name: string
  /** Arguments of node, script first; `port` is the one of the last ready line, or 0 the first time. */
  readonly args: (port: number) => readonly string[]
  /** Handed over through a pipe; null: none. */
  readonly passphrase: string | null
  readonly onReady: (ready: Ready) => void
  readonly onLog: (line: string) => void
  readonly onRestart: (why: string, waitMs: number) => void
}

/** The ready line of `ca serve --json` and `collector serve --json`. */
export interface Ready {
  readonly address: string
  readonly port: number
}

export interface Supervised {
  /** Restarts until the signal aborts; resolves when the last child is gone. */
  readonly done: Promise<void>
}

const FIRST_WAIT_MS = 250
const LONGEST_WAIT_MS = 30_000
/** A child that lived so long starts the back-off anew. */
const SETTLED_MS = 60_000
const KILL_AFTER_MS = 20_000

/**
 * @returns when the child is ready for the first time
 * @throws MeshError what the child said when its first start failed; COMMAND_FAILED
 */
export async function supervise(program: Program, clock: Clock, signal: AbortSignal): Promise<Supervised> {
  const first = start(program, 0)
  stopWith(first, clock, signal)
  const ready = await first.ready
  program.onReady(ready)
  return { done: keep(program, { first, port: ready.port, clock, signal }) }
}

async function keep(
  program: Program,
  { first, port, clock, signal }: { first: Run; port: number; clock: Clock; signal: AbortSignal },
): Promise<void> {
  let run = first
  let waitMs = FIRST_WAIT_MS
  let startedAt = clock.monotonic()
  for (;;) {
    const why = await run.exited
    if (isOver(signal)) return
    if (clock.monotonic() - startedAt > SETTLED_MS) waitMs = FIRST_WAIT_MS
    program.onRestart(why, waitMs)
    await pause(clock, waitMs, signal)
    if (isOver(signal)) return
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)
    startedAt = clock.monotonic()
    run = start(program, port)
    stopWith(run, clock, signal)
    run.ready.then(program.onReady, () => undefined)
  }
}

/** Read anew each time: it changes while we wait. */
const isOver = (signal: AbortSignal): boolean => signal.aborted

interface Run {
  readonly child: ChildProcess
  readonly ready: Promise<Ready>
  /** Resolves with how it ended. */
  readonly exited: Promise<string>
}

function start(program: Program, port: number): Run {
  // its own process group: a Ctrl-C on the terminal reaches us alone, and we stop the children in order
  const child = spawn(process.execPath, [...program.args(port)], {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    detached: true,
  })
  // a child that died before it read: its exit says why
  for (const stream of [child.stdin, child.stdio[PASSPHRASE_FD]]) stream?.on('error', () => undefined)
  const pipe = child.stdio[PASSPHRASE_FD]
  if (pipe instanceof Writable) pipe.end(program.passphrase ?? '')

  let problem: string | undefined
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.startsWith('{"type":"https://troth.dev/errors#')) problem = line
    else program.onLog(line)
  })
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) => resolve(signal ?? `exit code ${code ?? 'unknown'}`))
  })
  const ready = new Promise<Ready>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line) as Ready))
    void exited.then((why) =>
      reject(
        problem === undefined
          ? new MeshError('COMMAND_FAILED', `${program.name} did not start: ${why}`)
          : errorOfProblem(Buffer.from(problem)),
      ),
    )
  })
  return { child, ready, exited }
}

/** In the child: stops when the parent is gone, which closes the pipe on our stdin. */
export function stopWithParent(stdin: Readable, lifecycle: Lifecycle): void {
  stdin.once('end', () => lifecycle.stop())
  stdin.resume()
  lifecycle.defer('stdin', () => void stdin.destroy())
}

/** Ends the child when the signal aborts: gently, then by force. */
function stopWith({ child, exited }: Run, clock: Clock, signal: AbortSignal): void {
  const stop = (): void => {
    child.kill('SIGTERM')
    const timer = clock.after(KILL_AFTER_MS, () => child.kill('SIGKILL'))
    void exited.then(() => timer.cancel())
  }
  if (signal.aborted) stop()
  else {
    signal.addEventListener('abort', stop, { once: true })
    void exited.then(() => signal.removeEventListener('abort', stop))
  }
}
