// A clock of its own for real processes, by Debian's libfaketime: it runs as fast as the real one and is set ahead step by step. All
// clocks of a process move together (wall, monotonic, timers), as if that much time had passed.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import path from 'node:path'

export interface SteppedClock extends Disposable {
  /** Of a process that lives by this clock. */
  readonly env: Readonly<Record<string, string>>
  /** What this clock says now, ms since epoch. */
  now(): number
  /** Sets it ahead (or back) by so much, at once. */
  jump(ms: number): void
  /**
   * Sets it ahead in steps shorter than any patience that ends something: feeds beat, nothing in flight times out.
   * @param between done after each step; must give every process something to do, because one that waits for its timers alone has
   *   told the kernel how long, and notices nothing
   */
  pass(ms: number, between: () => Promise<unknown>): Promise<void>
}

/** Below the silence that ends a feed (25 s) and the time for which a lost member keeps its endpoint (15 s). */
const STEP_MS = 8000

/** @throws when libfaketime is not installed, with what to type */
export function openSteppedClock(): SteppedClock {
  const library = libraryPath()
  const dir = mkdtempSync(path.join(os.tmpdir(), 'troth-clock-'))
  const file = path.join(dir, 'offset')
  let offsetMs = 0
  const set = (ms: number): void => {
    offsetMs = ms
    // whole at every moment: a process that reads an empty file would be back in the present
    writeFileSync(`${file}.new`, `${ms < 0 ? '' : '+'}${ms / 1000}\n`)
    renameSync(`${file}.new`, file)
  }
  set(0)
  return {
    env: { LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1' },
    now: () => Date.now() + offsetMs,
    jump: (ms) => set(offsetMs + ms),
    async pass(ms, between) {
      const end = offsetMs + ms
      while (offsetMs < end) {
        set(Math.min(offsetMs + STEP_MS, end))
        await between()
      }
    },
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  }
}

/** Gives a process something to do, so that it looks at its clock. What it answers does not matter, nor that it closes. */
export function wake(door: { readonly port: number } | { readonly socketPath: string }): Promise<void> {
  return new Promise((resolve) => {
    http
      .get({ ...door, path: '/', agent: false }, (answer) => answer.resume().once('close', resolve))
      .once('error', () => resolve())
  })
}

/** Where the loader finds it; `faketime` itself is not used, because it fixes the offset at the start. */
function libraryPath(): string {
  const asked = spawnSync('faketime', ['-m', '-f', '+0', 'printenv', 'LD_PRELOAD'], { encoding: 'utf8' })
  if (asked.error !== undefined || asked.status !== 0)
    throw new Error('this test sets the clock of processes with faketime: apt install faketime')
  return asked.stdout.trim()
}
