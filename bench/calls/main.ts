// npm run bench -- calls, npm run bench:peers: what a call costs through both sidecars, beside the same call made directly or through two
// proxies of somebody else. It starts everything itself, on built code, and ends it.
// usage: node dist/bench/calls/main.js [--quick] [--only SCENARIO,...] [--peers PEER,...] [--rounds N] [--profile] [--out FILE]

import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Chain } from './chains/chain.js'
import { type Chains, openChains, PEER_CHAINS } from './chains/chains.js'
import { type Peer, versionOf } from './chains/peers.js'
import { verdictOf } from './figures.js'
import { type Generator, startGenerator } from './generator/generator.js'
import type { Measured } from './generator/job.js'
import { FULL_MEMORY, formatResources, measureResources, QUICK_MEMORY, type Resources } from './memory.js'
import { type Options, parseOptions, roundsFor } from './options.js'
import { comparePaired, type Result } from './paired.js'
import { type Scenario, SMALL_CALLS } from './scenarios.js'
import { formatBlock, HEADINGS } from './table.js'

const ROOT = path.join(import.meta.dirname, '../../..')
const RESULTS = path.join(ROOT, 'bench/results')
const WARM_CALLS = 30_000
const WARM_WITHIN_MS = 4000

async function main(args: readonly string[]): Promise<void> {
  const options = parseOptions(args)
  const versions = peersHere(options.peers ?? [])
  const profileDir = options.profile ? path.join(RESULTS, 'profiles.local') : null
  const interruption = openInterruption()
  await using chains = await openChains({ dist: path.join(ROOT, 'dist'), profileDir })
  await using generator = startGenerator()
  const stage: Stage = { chains, generator, versions, warmed: new Set(), interruption }
  const { blocks, resources } = await Promise.race([measureAll(options, stage), untilAborted(interruption)])
  const machine = `${os.cpus().length} x ${os.cpus()[0]?.model ?? 'unknown CPU'}`
  const about = { at: new Date().toISOString(), node: process.version, machine, span: options.span }
  console.log(`\n${describe(machine, versions, options)}`)
  const name = options.peers === null ? 'calls' : 'peers'
  const file = path.resolve(options.out ?? path.join(RESULTS, `${name}.local.json`))
  write(file, { ...about, peers: Object.fromEntries(versions), resources }, blocks)
  if (profileDir !== null)
    console.log(`CPU profiles of the sidecars: ${path.relative(process.cwd(), profileDir)}/*.cpuprofile`)
}

/** Aborted when the bench is told to end, so that everything it started is ended too. */
function openInterruption(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => controller.abort(new Error(`ended by ${signal}`)))
  return controller.signal
}

async function untilAborted(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, 'abort')
  throw signal.reason
}

async function measureAll(
  options: Options,
  stage: Stage,
): Promise<{ blocks: Block[]; resources: Resources | null }> {
  const blocks: Block[] = []
  if (options.scenarios.length > 0) console.log(HEADINGS)
  for (const scenario of options.scenarios) {
    const results = await compare(scenario, options, stage)
    stage.interruption.throwIfAborted()
    blocks.push({ scenario, results })
    console.log(formatBlock(scenario.name, results, scenario.figures))
  }
  if (!options.memory) return { blocks, resources: null }
  const pair = await stage.chains.get('fresh')
  const plan = options.quick ? QUICK_MEMORY : FULL_MEMORY
  const resources = await measureResources(pair, stage.generator, plan)
  console.log(formatResources(resources))
  return { blocks, resources }
}

function describe(
  machine: string,
  versions: ReadonlyMap<Peer, string>,
  { rounds, quick, span }: Options,
): string {
  const named = [['node', process.version], ...versions].map((each) => each.join(' ')).join(', ')
  const repeated = rounds === null ? (quick ? 'few rounds, a quick run' : 'rounds') : `${rounds} rounds`
  return `medians of interleaved windows of ${span.windowMs} ms (${repeated}); ${named}; ${machine};
ratios hold between neighbours of one run only: load generator, app and all proxies share this machine`
}

interface Stage {
  readonly chains: Chains
  readonly generator: Generator
  readonly versions: ReadonlyMap<Peer, string>
  /** Names of chains that are warm. */
  readonly warmed: Set<string>
  readonly interruption: AbortSignal
}

async function compare(scenario: Scenario, options: Options, stage: Stage): Promise<Result[]> {
  const { generator, versions } = stage
  const isHere = (name: string): boolean => {
    const needs = PEER_CHAINS[name]?.peer
    return needs === undefined || versions.has(needs)
  }
  const rivals = options.peers === null ? scenario.own : scenario.peers.filter(isHere)
  stage.interruption.throwIfAborted()
  const reference = await warm(scenario.ours, scenario, stage)
  const others: Chain[] = []
  for (const name of rivals) others.push(await warm(name, scenario, stage))
  const run = async (chain: Chain): Promise<Measured> =>
    generator.run(await scenario.job(chain, options.span))
  return comparePaired([reference, ...others], run, roundsFor(scenario, options))
}

/** The chain, after as many calls as compilers need to have seen, and a moment of this scenario. */
async function warm(
  name: string,
  scenario: Scenario,
  { chains, generator, warmed, interruption }: Stage,
): Promise<Chain> {
  const chain = await chains.get(name)
  const tryOnce = async (what: Scenario, windowMs: number): Promise<number> => {
    // whether it serves this is for the measurement to say
    const measured = generator.run(await what.job(chain, { warmMs: 0, windowMs }))
    return measured.then(({ units }) => units).catch(() => Number.POSITIVE_INFINITY)
  }
  const until = performance.now() + WARM_WITHIN_MS
  let calls = warmed.has(name) ? Number.POSITIVE_INFINITY : 0
  while (calls < WARM_CALLS && performance.now() < until && !interruption.aborted)
    calls += await tryOnce(SMALL_CALLS, 500)
  warmed.add(name)
  await tryOnce(scenario, 200)
  return chain
}

/** The versions of those that are installed; says which are not. */
function peersHere(peers: readonly Peer[]): Map<Peer, string> {
  const versions = new Map<Peer, string>()
  for (const peer of peers) {
    const version = versionOf(peer)
    if (version === undefined)
      console.log(`${peer} is not installed: on Debian or Ubuntu, apt-get install ${peer}`)
    else versions.set(peer, version)
  }
  return versions
}

interface Block {
  readonly scenario: Scenario
  readonly results: readonly Result[]
}

function write(file: string, about: object, blocks: readonly Block[]): void {
  const scenarios = blocks.map(({ scenario: { name, unit, figures }, results }) => ({
    name,
    unit,
    results,
    figures: figures.flatMap((figure) => {
      const result = results.find((each) => each.name === figure.against)
      if (result === undefined || 'unserved' in result) return []
      const value =
        (figure.relation === 'added' ? result.added : result.ratios)?.[figure.measure] ?? Number.NaN
      return [{ ...figure, value, verdict: verdictOf(figure, value) }]
    }),
  }))
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify({ ...about, scenarios }, null, 2)}\n`)
  console.log(`written to ${path.relative(process.cwd(), file)}`)
}

await main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(`error: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
})
