// A real mesh for measuring: CA, collector, an app and two sidecars as separate processes, started through the CLI like a user
// would, in a temporary home on free ports. Ends every process it started, and removes the home.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

export interface BenchMesh extends AsyncDisposable {
  readonly direct: { readonly host: string; readonly port: number; readonly target: string }
  readonly through: { readonly host: string; readonly port: number; readonly target: string }
  /** User and system time that both sidecars have used so far, in ms; null where /proc does not tell. */
  sidecarsCpuMs(): number | null
}

const HOST = '127.0.0.1'
const READY_WITHIN_MS = 30_000
const POLICY = `version: 1
agents:
  - id: agent/caller
    scopes: [app:read]
services:
  - id: agent/app
    operations:
      - match: { method: GET, path: /** }
        scope: app:read
`

/** @throws Error with what the failing process said */
export async function startBenchMesh(dist: string): Promise<BenchMesh> {
  const home = mkdtempSync(path.join(os.tmpdir(), 'tb-'))
  const processes: Started[] = []
  const close = async (): Promise<void> => {
    for (const started of processes.reverse()) await stop(started)
    rmSync(home, { recursive: true, force: true })
  }
  const start = (script: string, ...args: string[]): Started => {
    const started = launch(path.join(dist, script), args)
    processes.push(started)
    return started
  }
  const troth = (...args: string[]): Started => start('cli/main.js', '--home', home, '--dev', ...args)
  const finish = async (...args: string[]): Promise<boolean> =>
    (await exitOf(launch(path.join(dist, 'cli/main.js'), ['--home', home, '--dev', ...args]))) === 0

  try {
    const [ca = 0, collector = 0, app = 0, egress = 0, ...rest] = await freePorts(9)
    start('bench/calls/app.js', String(app))
    if (!(await finish('init', '--trust-domain', 'bench.internal'))) throw new Error('troth init failed')
    const up = troth('up', '--ca-port', String(ca), '--collector-port', String(collector))
    writeFileSync(path.join(home, 'policy.yaml'), POLICY)
    await until(up, () => finish('policy', 'push', path.join(home, 'policy.yaml')))
    for (const name of ['app', 'caller'])
      if (!(await finish('agent', 'add', name))) throw new Error(`troth agent add ${name} failed`)

    const sidecar = async (agent: string, egressPort: number, ...more: string[]): Promise<Started> => {
      const admin = rest.shift() ?? 0
      const ports = ['--egress-port', egressPort, '--ingress-port', rest.shift() ?? 0, '--admin-port', admin]
      const started = troth('sidecar', '--agent', agent, ...ports.map(String), ...more)
      await until(started, () => isOk(`http://${HOST}:${admin}/readyz`))
      return started
    }
    const callee = await sidecar('app', rest.shift() ?? 0, '--app', `${HOST}:${app}`)
    const caller = await sidecar('caller', egress, '--egress-auth', 'none')
    const through = { host: HOST, port: egress, target: '/@app/hello' }
    await until(caller, () => isOk(`http://${HOST}:${egress}${through.target}`))
    return {
      direct: { host: HOST, port: app, target: '/hello' },
      through,
      sidecarsCpuMs: () => cpuMsOf([callee, caller]),
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

export interface Started {
  readonly child: ChildProcess
  readonly name: string
  /** The last of what it said. */
  said(): string
}

export function launch(script: string, args: readonly string[]): Started {
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  const listen = (chunk: Buffer): void => {
    said = (said + chunk.toString('utf8')).slice(-4000)
  }
  child.stdout.on('data', listen)
  child.stderr.on('data', listen)
  return { child, name: [path.basename(script), ...args].join(' '), said: () => said }
}

const hasEnded = ({ child }: Started): boolean => child.exitCode !== null || child.signalCode !== null

export async function exitOf(started: Started): Promise<number | null> {
  if (!hasEnded(started)) await once(started.child, 'exit')
  return started.child.exitCode
}

export async function stop(started: Started): Promise<void> {
  if (hasEnded(started)) return
  const gone = once(started.child, 'exit')
  started.child.kill('SIGTERM')
  const late = setTimeout(() => started.child.kill('SIGKILL'), 15_000)
  await gone
  clearTimeout(late)
}

/** Asks until it holds. @throws Error when the process it depends on ends, or time is up */
export async function until(started: Started, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS
  while (!(await holds())) {
    if (hasEnded(started)) throw new Error(`${started.name} ended:\n${started.said()}`)
    if (performance.now() > deadline) throw new Error(`${started.name} is not ready:\n${started.said()}`)
    await pause(100)
  }
}

async function isOk(url: string): Promise<boolean> {
  try {
    const answer = await fetch(url)
    await answer.arrayBuffer()
    return answer.ok
  } catch {
    return false
  }
}

/** Ports that were free a moment ago: all are held at once, so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => net.createServer().listen(0, HOST))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** /proc counts in ticks of 10 ms (USER_HZ is 100 on every Linux that Node runs on). */
const TICK_MS = 10

export function cpuMsOf(started: readonly Started[]): number | null {
  if (!existsSync('/proc/self/stat')) return null
  return started.reduce((sum, { child }) => {
    const afterName = readFileSync(`/proc/${child.pid ?? 0}/stat`, 'utf8').split(') ')[1] ?? ''
    const fields = afterName.split(' ')
    return sum + (Number(fields[11]) + Number(fields[12])) * TICK_MS
  }, 0)
}
