// The processes that a bench starts: how they are launched, waited for and ended, and free ports for them. It ends only what it started.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

export const LOOPBACK = '127.0.0.1'

const READY_WITHIN_MS = 30_000
const STOPPED_WITHIN_MS = 15_000

export interface Started {
  readonly child: ChildProcess
  readonly pid: number
  readonly name: string
  /** The last of what it said. */
  said(): string
}

/** Starts built code. @param nodeOptions what node gets before the script, e.g. `--cpu-prof` */
export function launch(
  script: string,
  args: readonly string[],
  nodeOptions: readonly string[] = [],
): Started {
  const name = [path.basename(script), ...args].join(' ')
  return launchProgram(process.execPath, [...nodeOptions, script, ...args], { name, env: {} })
}

/** Starts any program of this machine. @param env added to the environment */
export function launchProgram(
  program: string,
  args: readonly string[],
  { name, env, stdout = 'pipe' }: { name: string; env: Record<string, string>; stdout?: 'pipe' | number },
): Started {
  const child = spawn(program, args, { stdio: ['ignore', stdout, 'pipe'], env: { ...process.env, ...env } })
  let said = ''
  const listen = (chunk: Buffer): void => {
    said = (said + chunk.toString('utf8')).slice(-4000)
  }
  child.stdout?.on('data', listen)
  child.stderr?.on('data', listen)
  child.on('error', ({ message }) => {
    said += message
  })
  return { child, pid: child.pid ?? 0, name, said: () => said }
}

const hasEnded = ({ child, pid }: Started): boolean =>
  pid === 0 || child.exitCode !== null || child.signalCode !== null

export async function exitOf(started: Started): Promise<number | null> {
  if (!hasEnded(started)) await once(started.child, 'exit')
  return started.child.exitCode
}

export async function stop(started: Started): Promise<void> {
  if (hasEnded(started)) return
  const gone = once(started.child, 'exit')
  started.child.kill('SIGTERM')
  const late = setTimeout(() => started.child.kill('SIGKILL'), STOPPED_WITHIN_MS)
  await gone
  clearTimeout(late)
}

/** Asks until it holds. @throws Error when the process it depends on ends, or time is up */
export async function until(started: Started, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS
  while (!(await holds())) {
    if (hasEnded(started)) throw new Error(`${started.name} ended:\n${started.said()}`)
    if (performance.now() > deadline) throw new Error(`${started.name} is not ready:\n${started.said()}`)
    await pause(50)
  }
}

export async function isOk(url: string): Promise<boolean> {
  try {
    const answer = await fetch(url, { headers: { connection: 'close' } })
    await answer.arrayBuffer()
    return answer.ok
  } catch {
    return false
  }
}

/** Ports that were free a moment ago: all are held at once, so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => net.createServer().listen(0, LOOPBACK))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
