// Members for tests: in a home of their own, closed and removed when the test ends.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { systemClock } from '../../host/clock.js'
import { openLifecycle } from '../../host/lifecycle.js'
import { type Member, type MemberOptions, openMember } from '../../member/member.js'
import { isMeshError } from '../../mesh/errors.js'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import { type MemoryLog, memoryLog } from './memory-log.js'

export interface TestMember extends Member {
  readonly log: MemoryLog
  stop(): Promise<void>
}

export interface TestHome extends AsyncDisposable {
  readonly home: string
  /** A file of the agent `planner`. */
  file(name: string): string
  open(options?: Partial<MemberOptions>): Promise<TestMember>
}

/** A home whose member is `planner`, unless told otherwise. */
export function makeTestHome(): TestHome {
  const home = mkdtempSync(path.join(tmpdir(), 'tm-'))
  const running = new Set<() => Promise<void>>()
  return {
    home,
    file: (name) => path.join(home, 'agents', 'planner', name),
    async open(options = {}) {
      const lifecycle = openLifecycle()
      const log = memoryLog()
      const member = await openMember({
        home,
        kind: 'agent',
        name: parseAgentName('planner'),
        instance: null,
        enrolBy: null,
        dev: true,
        clock: systemClock,
        log,
        lifecycle,
        feedMaxStalenessMs: 600_000,
        ...options,
      })
      const stop = async (): Promise<void> => {
        running.delete(stop)
        lifecycle.stop()
        await lifecycle.done()
      }
      running.add(stop)
      return { ...member, log, stop }
    },
    async [Symbol.asyncDispose]() {
      for (const stop of running) await stop()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

/** The code that it fails with. */
export async function codeOf(failing: Promise<unknown>): Promise<string> {
  try {
    await failing
  } catch (error) {
    if (isMeshError(error)) return error.code
    throw error
  }
  throw new Error('it succeeded')
}

/** Waits, without sleeping, until it is so. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`not within 10 s: ${what}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}
