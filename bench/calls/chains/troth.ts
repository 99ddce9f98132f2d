// Our own chains: a real mesh of CA, collector and pairs of sidecars as separate processes, started through the CLI like a user would, in
// a temporary home on free ports. Only the pair without a ledger is started from a file of the bench.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { exitOf, freePorts, isOk, LOOPBACK, launch, type Started, stop, until } from '../../processes.js'
import type { Chain, Door } from './chain.js'

/** `fresh`: like `troth`, for measuring what a pair holds that has not served yet. */
export const OUR_CHAINS = ['troth', 'troth-no-ledger', 'fresh'] as const
export type OurChain = (typeof OUR_CHAINS)[number]

export interface BenchMesh extends AsyncDisposable {
  /** Two sidecars of two agents of their own. @throws Error with what the failing process said */
  startPair(chain: OurChain): Promise<Chain>
}

export interface BenchMeshOptions {
  /** Built code. */
  readonly dist: string
  /** Port of the app. */
  readonly app: number
  /** Where the sidecars leave their CPU profiles; null: none. */
  readonly profileDir: string | null
}

const FOREIGN = 'foreign'
const callerOf = (chain: OurChain): string => `caller-${chain}`
const calleeOf = (chain: OurChain): string => `app-${chain}`

const POLICY = `version: 1
agents:
${[FOREIGN, ...OUR_CHAINS.map(callerOf)].map((name) => `  - { id: agent/${name}, scopes: [app:call] }`).join('\n')}
services:
${OUR_CHAINS.map(
  (chain) => `  - id: agent/${calleeOf(chain)}
    operations:
      - match: { method: '*', path: /** }
        scope: app:call`,
).join('\n')}
`

/** @throws Error with what the failing process said */
export async function startBenchMesh(options: BenchMeshOptions): Promise<BenchMesh> {
  const home = mkdtempSync(path.join(os.tmpdir(), 'tb-'))
  const mesh = new Mesh(home, options)
  try {
    await mesh.start()
    return mesh
  } catch (error) {
    await mesh[Symbol.asyncDispose]()
    throw error
  }
}

class Mesh implements BenchMesh {
  readonly #home: string
  readonly #options: BenchMeshOptions
  readonly #processes: Started[] = []

  constructor(home: string, options: BenchMeshOptions) {
    this.#home = home
    this.#options = options
  }

  async start(): Promise<void> {
    const { profileDir } = this.#options
    if (profileDir !== null) {
      rmSync(profileDir, { recursive: true, force: true })
      mkdirSync(profileDir, { recursive: true })
    }
    const [ca = 0, collector = 0] = await freePorts(2)
    await this.#finish('init', '--trust-domain', 'bench.internal')
    const up = this.#troth(['up', '--ca-port', String(ca), '--collector-port', String(collector)], [])
    this.#processes.push(up)
    const policy = path.join(this.#home, 'policy.yaml')
    writeFileSync(policy, POLICY)
    await until(up, async () => (await exitOf(this.#troth(['policy', 'push', policy], []))) === 0)
  }

  async startPair(chain: OurChain): Promise<Chain> {
    const [egress = 0, ingress = 0, ...others] = await freePorts(6)
    const [unusedEgress = 0, unusedIngress = 0, ...admin] = others
    const { app } = this.#options
    const ports = [
      { agent: calleeOf(chain), app, egress: unusedEgress, ingress, admin: admin[0] ?? 0 },
      { agent: callerOf(chain), app: null, egress, ingress: unusedIngress, admin: admin[1] ?? 0 },
    ]
    const [callee, caller] = await Promise.all(ports.map((each) => this.#sidecar(chain, each)))
    if (callee === undefined || caller === undefined) throw new Error('no pair was started')
    const prefix = `/@${calleeOf(chain)}`
    let door: Promise<Door> | undefined
    await until(caller, () => isOk(`http://${LOOPBACK}:${egress}${prefix}/hello`))
    return {
      name: chain,
      host: LOOPBACK,
      port: egress,
      prefix,
      pids: [caller.pid, callee.pid],
      door: () => {
        door ??= this.#door(chain, ingress, callee.pid)
        return door
      },
      [Symbol.asyncDispose]: async () => {
        await Promise.all([caller, callee].map(stop))
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const started of this.#processes.reverse()) await stop(started)
    rmSync(this.#home, { recursive: true, force: true })
  }

  async #sidecar(chain: OurChain, { agent, app, egress, ingress, admin }: Place): Promise<Started> {
    await this.#finish('agent', 'add', agent)
    const { dist, profileDir } = this.#options
    const profile =
      profileDir === null
        ? []
        : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${agent}.cpuprofile`]
    const flags = ['--egress-port', egress, '--ingress-port', ingress, '--admin-port', admin].map(String)
    const serving = app === null ? [] : ['--app', `${LOOPBACK}:${app}`]
    const started =
      chain === 'troth-no-ledger'
        ? launch(
            path.join(dist, 'bench/calls/chains/sidecar-without-ledger.js'),
            [this.#home, agent, app ?? '-', egress, ingress, admin].map(String),
            profile,
          )
        : this.#troth(['sidecar', '--agent', agent, '--egress-auth', 'none', ...flags, ...serving], profile)
    this.#processes.push(started)
    await until(started, () => isOk(`http://${LOOPBACK}:${admin}/readyz`))
    return started
  }

  /** What a client of another stack gets to call with. */
  async #door(chain: OurChain, port: number, pid: number): Promise<Door> {
    const dir = path.join(this.#home, `${FOREIGN}-${chain}`)
    await this.#finish('cert', 'issue', FOREIGN, '--out', dir)
    const pem = (name: string): string => readFileSync(path.join(dir, `${name}.pem`), 'utf8')
    const pems = { caPem: pem('bundle'), certPem: pem('cert'), keyPem: pem('key') }
    return { port, pid, serverName: `${calleeOf(chain)}.mesh`, ...pems }
  }

  #troth(args: readonly string[], nodeOptions: readonly string[]): Started {
    return launch(
      path.join(this.#options.dist, 'cli/main.js'),
      ['--home', this.#home, '--dev', ...args],
      nodeOptions,
    )
  }

  async #finish(...args: string[]): Promise<void> {
    const ran = this.#troth(args, [])
    if ((await exitOf(ran)) !== 0) throw new Error(`${ran.name} failed:\n${ran.said()}`)
  }
}

interface Place {
  readonly agent: string
  readonly app: number | null
  readonly egress: number
  readonly ingress: number
  readonly admin: number
}
