// npm run bench [-- calls|issuance|identities|ledger] [-- --quick] [--out FILE]: every bench in turn, or the named one, each in a process of its own so that none
// warms or burdens another.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'

const HELP = `usage: npm run bench -- [calls|issuance|identities|ledger] [--quick] [--out FILE]

  calls      calls a second, latency and CPU a call through both sidecars, beside the same call made directly
  identities memory, idle CPU and start of 1, 5 and 20 agents, served by one process and by a process each
  issuance   leaves a second and CPU a leaf beside @peculiar/x509, enrolments a second over TLS, memory after 100,000 leaves
  ledger     CPU of a call in the ledger of one side, by how many calls share a turn of the event loop

Without a name all run. --quick takes about a minute, the full run several. Results go to bench/results/*.local.json; --out names another
file and needs the name of a bench.

Examples:
  npm run bench -- --quick
  npm run bench -- issuance --out /tmp/issuance.json`

const BENCHES = ['calls', 'identities', 'issuance', 'ledger']

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help')) {
    console.log(HELP)
    return 0
  }
  const [first = '', ...rest] = args
  const named = !first.startsWith('-') && first !== ''
  if ((named && !BENCHES.includes(first)) || (!named && args.includes('--out'))) {
    console.error(HELP)
    return 2
  }
  for (const name of named ? [first] : BENCHES) {
    const script = path.join(import.meta.dirname, name, 'main.js')
    const options = named ? rest : args
    const child = spawn(process.execPath, ['--expose-gc', script, ...options], { stdio: 'inherit' })
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code !== 0) return code ?? 1
  }
  return 0
}

process.exitCode = await main(process.argv.slice(2))
