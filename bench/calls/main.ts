// npm run bench -- calls, npm run bench:peers: what a call costs through both sidecars, beside the same call made directly or through two
// proxies of somebody else. It starts everything itself, on built code, and ends it.
// usage: node dist/bench/calls/main.js [--quick] [--only SCENARIO,...] [--peers PEER,...] [--rounds N] [--profile] [--out FILE]

import { mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Chain } from './chains/chain.js'
import { type Chains, openChains, PEER_CHAINS } from './chains/chains.js'
import { type Peer, versionOf } from './chains/peers.js'
import { verdictOf } from './figures.js'
import { type Generator, startGenerator } from './generator/generator.js'
import { type Options, parseOptions } from './options.js'
import { comparePaired, type Result } from './paired.js'
import { type Scenario, SMALL_CALLS } from './scenarios.js'
import { formatBlock, HEADINGS } from './table.js'

const ROOT = path.join(import.meta.dirname, '../../..')
const RESULTS = path.join(ROOT, 'bench/results')
const WARM_CALLS = 5000
const WARM_WITHIN_MS = 10_000

async function main(args: readonly string[]): Promise<void> {
  const options = parseOptions(args)
  const versions = peersHere(options.peers ?? [])
  const profileDir = options.profile ? path.join(RESULTS, 'profiles.local') : null
  await using chains = await openChains({ dist: path.join(ROOT, 'dist'), profileDir })
  await using generator = startGenerator()
  const machine = `${os.cpus().length} x ${os.cpus()[0]?.model ?? 'unknown CPU'}`
  const { rounds, span } = options
  console.log(HEADINGS)
  const stage: Stage = { chains, generator, versions, warmed: new Set() }
  const blocks: Block[] = []
  for (const scenario of options.scenarios) {
    const results = await compare(scenario, options, stage)
    blocks.push({ scenario, results })
    console.log(formatBlock(scenario.name, results, scenario.figures))
  }
  const named = [['node', process.version], ...versions].map((each) => each.join(' ')).join(', ')
  console.log(`\nmedians of ${rounds} interleaved rounds of ${span.windowMs} ms; ${named}; ${machine};`)
  console.log(
    'ratios hold between neighbours of one run only: load generator, app and all proxies share this machine',
  )
  const file = path.resolve(
    options.out ?? path.join(RESULTS, `${options.peers === null ? 'calls' : 'peers'}.local.json`),
  )
  const about = { at: new Date().toISOString(), node: process.version, machine, rounds, span }
  write(file, { ...about, peers: Object.fromEntries(versions) }, blocks)
  if (profileDir !== null)
    console.log(`CPU profiles of the sidecars: ${path.relative(process.cwd(), profileDir)}/*.cpuprofile`)
}

interface Stage {
  readonly chains: Chains
  readonly generator: Generator
  readonly versions: ReadonlyMap<Peer, string>
  /** Names of chains that are warm. */
  readonly warmed: Set<string>
}

async function compare(
  scenario: Scenario,
  { peers, rounds, span }: Options,
  stage: Stage,
): Promise<Result[]> {
  const { generator, versions } = stage
  const rivals =
    peers === null
      ? ['direct']
      : scenario.peers.filter((name) => versions.has(PEER_CHAINS[name]?.peer ?? 'nginx'))
  const reference = await warm('troth', stage)
  const others: Chain[] = []
  for (const name of rivals) others.push(await warm(name, stage))
  return comparePaired(
    [reference, ...others],
    (chain: Chain) => generator.run(scenario.job(chain, span)),
    rounds,
  )
}

/** The chain, after as many calls as compilers need to have seen. */
async function warm(name: string, { chains, generator, warmed }: Stage): Promise<Chain> {
  const chain = await chains.get(name)
  if (warmed.has(name)) return chain
  warmed.add(name)
  let calls = 0
  const until = performance.now() + WARM_WITHIN_MS
  while (calls < WARM_CALLS && performance.now() < until) {
    const { units } = await generator
      .run(SMALL_CALLS.job(chain, { warmMs: 0, windowMs: 500 }))
      .catch(() => ({ units: 0 }))
    calls += units
  }
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
      const ratio = result.ratios?.[figure.measure] ?? Number.NaN
      return [{ ...figure, ratio, verdict: verdictOf(figure, ratio) }]
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
