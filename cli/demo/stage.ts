// What the steps of the demo share: a temporary home, its CA's admin wire, the processes, and the voice that tells one line a step.

import { createServer } from 'node:net'
import path from 'node:path'
import { pause } from '../../host/clock.js'
import { MeshError } from '../../mesh/errors.js'
import { type AdminClient, localAdminClient } from '../admin-client.js'
import type { Session } from '../session.js'
import { type DemoProcess, openProcesses, type Processes } from './processes.js'

export interface Stage {
  readonly session: Session
  readonly home: string
  readonly admin: AdminClient
  readonly processes: Processes
  /** Starts this same program in the demo's home. */
  readonly troth: (name: string, ...args: string[]) => DemoProcess
  /** One line of the story, as it happens. */
  readonly tell: (verb: string, what: string) => void
}

/** This package's directory: the script lies at dist/cli/main.js. */
export const packageDir = (): string => path.resolve(import.meta.dirname, '../../..')
/** The compiled example of that name. */
export const example = (name: string): string =>
  path.resolve(import.meta.dirname, '../../examples', `${name}.js`)

export function openStage(session: Session, home: string): Stage {
  const { clock, out, json, script, env } = session
  const processes = openProcesses(clock, home, env)
  return {
    session,
    home,
    admin: localAdminClient(home),
    processes,
    troth: (name, ...args) => processes.start(name, [script, '--home', home, '--dev', ...args]),
    tell: (verb, what) => (json ? out.json({ step: verb, what }) : out.line(`${verb.padEnd(9)}${what}`)),
  }
}

const LOOK_EVERY_MS = 20
const DEADLINE_MS = 10_000

/** Looks until there is something. @throws MeshError DEMO_FAILED naming `what` at the deadline */
export async function eventually<T>(
  { session: { clock } }: Stage,
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const end = clock.monotonic() + DEADLINE_MS
  const never = new AbortController().signal
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (clock.monotonic() > end) throw new MeshError('DEMO_FAILED', `${what} did not come in time`)
    await pause(clock, LOOK_EVERY_MS, never)
  }
}

/** @throws MeshError DEMO_FAILED with what was wrong, when it does not hold */
export function expect(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new MeshError('DEMO_FAILED', otherwise)
}

/** Free loopback ports, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject)
          server.listen(0, '127.0.0.1', () => {
            const address = server.address()
            resolve(typeof address === 'object' && address !== null ? address.port : 0)
          })
        }),
    ),
  )
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
