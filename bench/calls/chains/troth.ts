// Our own chain: a real mesh of CA, collector and two sidecars as separate processes, started through the CLI like a user would, in a
// temporary home on free ports. The same without a ledger is started beside it, from a file of the bench.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { exitOf, freePorts, isOk, LOOPBACK, launch, type Started, stop, until } from '../../processes.js'
import type { Chain } from './chain.js'

export interface BenchMesh extends AsyncDisposable {
  /** Two sidecars with everything on. @throws Error with what the failing process said */
  startSidecars(): Promise<Chain>
}

export interface BenchMeshOptions {
  /** Built code. */
  readonly dist: string
  /** Port of the app. */
  readonly app: number
  /** Where the sidecars leave their CPU profiles; null: none. */
  readonly profileDir: string | null
}

const POLICY = `version: 1
agents:
  - id: agent/caller
    scopes: [app:call]
  - id: agent/foreign
    scopes: [app:call]
services:
  - id: agent/app
    operations:
      - match: { method: '*', path: /** }
        scope: app:call
`

/** @throws Error with what the failing process said */
export async function startBenchMesh({ dist, app, profileDir }: BenchMeshOptions): Promise<BenchMesh> {
  const home = mkdtempSync(path.join(os.tmpdir(), 'tb-'))
  const cli = path.join(dist, 'cli/main.js')
  const common = ['--home', home, '--dev']
  const processes: Started[] = []
  const close = async (): Promise<void> => {
    for (const started of processes.reverse()) await stop(started)
    rmSync(home, { recursive: true, force: true })
  }
  const start = (args: readonly string[], nodeOptions: readonly string[] = []): Started => {
    const started = launch(cli, [...common, ...args], nodeOptions)
    processes.push(started)
    return started
  }
  const finish = async (...args: string[]): Promise<void> => {
    const ran = launch(cli, [...common, ...args])
    if ((await exitOf(ran)) !== 0) throw new Error(`${ran.name} failed:\n${ran.said()}`)
  }
  const sidecar = async (agent: string, ...rest: string[]): Promise<Started> => {
    const [admin = 0] = await freePorts(1)
    const started = start(
      ['sidecar', '--agent', agent, '--admin-port', String(admin), ...rest],
      profileDir === null
        ? []
        : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${agent}.cpuprofile`],
    )
    await until(started, () => isOk(`http://${LOOPBACK}:${admin}/readyz`))
    return started
  }

  try {
    if (profileDir !== null) mkdirSync(profileDir, { recursive: true })
    const [ca = 0, collector = 0] = await freePorts(2)
    await finish('init', '--trust-domain', 'bench.internal')
    const up = start(['up', '--ca-port', String(ca), '--collector-port', String(collector)])
    writeFileSync(path.join(home, 'policy.yaml'), POLICY)
    await until(up, () =>
      finish('policy', 'push', path.join(home, 'policy.yaml')).then(
        () => true,
        () => false,
      ),
    )
    await Promise.all(['app', 'caller'].map((name) => finish('agent', 'add', name)))
    await finish('cert', 'issue', 'foreign', '--out', path.join(home, 'foreign'))
  } catch (error) {
    await close()
    throw error
  }
  const pem = (name: string): string => readFileSync(path.join(home, 'foreign', `${name}.pem`), 'utf8')
  return {
    async startSidecars() {
      const [egress = 0, ingress = 0, unused = 0, other = 0] = await freePorts(4)
      const [callee, caller] = await Promise.all([
        sidecar(
          'app',
          '--ingress-port',
          String(ingress),
          '--egress-port',
          String(unused),
          '--app',
          `${LOOPBACK}:${app}`,
        ),
        sidecar(
          'caller',
          '--ingress-port',
          String(other),
          '--egress-port',
          String(egress),
          '--egress-auth',
          'none',
        ),
      ])
      await until(caller, () => isOk(`http://${LOOPBACK}:${egress}/@app/hello`))
      return {
        name: 'troth',
        host: LOOPBACK,
        port: egress,
        prefix: '/@app',
        pids: [caller.pid, callee.pid],
        door: {
          port: ingress,
          pid: callee.pid,
          serverName: 'app.mesh',
          caPem: pem('bundle'),
          certPem: pem('cert'),
          keyPem: pem('key'),
        },
        [Symbol.asyncDispose]: async () => {
          await Promise.all([caller, callee].map(stop))
        },
      }
    },
    [Symbol.asyncDispose]: close,
  }
}
