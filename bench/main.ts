// npm run bench [-- calls|peers|identities|issuance|ledger] [options]: the named bench, each in a process of its own so that none warms or burdens another.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'

const HELP = `usage: npm run bench -- [calls|peers|identities|issuance|ledger] [options]

  calls      what a call costs through both sidecars, beside the same call made directly (without a name: this)
  peers      the same beside nginx, HAProxy and Caddy, of those that are installed (npm run bench:peers)
  identities memory, idle CPU and start of 1, 5 and 20 agents, served by one process and by a process each
  issuance   leaves a second and CPU a leaf beside @peculiar/x509, enrolments a second over TLS, memory after 100,000 leaves
  ledger     CPU of a call in the ledger of one side, by how many calls share a turn of the event loop

  --quick            less than a minute instead of several, and less exact
  --out FILE         results as JSON; without it bench/results/NAME.local.json
of calls and peers:
  --only NAME,...    some scenarios, e.g. calls-64
  --peers NAME,...   of nginx, haproxy and caddy
  --rounds N         of each pair; the median counts
  --profile          CPU profiles of our sidecars, and where they are; they cost time, so ratios of such a run mean nothing

It runs what npm run build has built.

Examples:
  npm run bench -- --quick
  npm run bench:peers -- --only calls-64 --peers nginx,haproxy --rounds 7
  npm run bench -- issuance --out /tmp/issuance.json`

const PEERS = ['--peers', 'nginx,haproxy,caddy']

/** The script and its first arguments; the user's come behind and win. */
const BENCHES: Readonly<Record<string, readonly [script: string, ...string[]]>> = {
  calls: ['calls/main.js'],
  peers: ['calls/main.js', ...PEERS],
  identities: ['identities/main.js'],
  issuance: ['issuance/main.js'],
  ledger: ['ledger/main.js'],
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help')) {
    console.log(HELP)
    return 0
  }
  const [first = ''] = args
  const isNamed = first !== '' && !first.startsWith('-')
  const bench = BENCHES[isNamed ? first : 'calls']
  if (bench === undefined) {
    console.error(HELP)
    return 2
  }
  const [script, ...given] = bench
  const options = [...given, ...(isNamed ? args.slice(1) : args)]
  const child = spawn(process.execPath, ['--expose-gc', path.join(import.meta.dirname, script), ...options], {
    stdio: 'inherit',
  })
  // it has much to end itself
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}

process.exitCode = await main(process.argv.slice(2))
