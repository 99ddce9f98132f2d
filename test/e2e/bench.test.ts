// The bench as somebody runs it, as short as it goes: it starts a mesh itself, measures, says what is to reach, and leaves nothing.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, it } from 'vitest'

interface Results {
  readonly scenarios: readonly {
    readonly name: string
    readonly results: readonly { readonly name: string; readonly values?: Record<string, number> }[]
    readonly figures: readonly { readonly against: string; readonly verdict: string }[]
  }[]
}

const openBench = () => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'bench-e2e-'))
  // what it makes for itself lies where it is told that temporary files go
  const start = (...args: string[]) =>
    spawn(process.execPath, ['dist/bench/main.js', ...args], {
      env: { ...process.env, TMPDIR: dir },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  const run = async (...args: string[]) => {
    const child = start(...args)
    let text = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8')
      })
    const [code] = (await once(child, 'close')) as [number | null]
    return { code, text }
  }
  return { dir, start, run, [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) }
}

it('measures both sidecars beside a direct call, with a ledger and without, and leaves nothing behind', async () => {
  using bench = openBench()
  const out = path.join(bench.dir, 'results.json')
  const only = 'calls-64-no-ledger,events,websocket,grpc-unary'
  const { code, text } = await bench.run('--quick', '--rounds', '1', '--only', only, '--out', out)
  expect(code, text).toBe(0)
  const { scenarios } = JSON.parse(readFileSync(out, 'utf8')) as Results
  expect(scenarios.map(({ name }) => name)).toEqual(only.split(','))
  for (const { name, results } of scenarios)
    for (const each of results)
      expect(each.values?.['rate'], `${name} ${each.name}\n${text}`).toBeGreaterThan(0)
  expect(scenarios[1]?.figures).toEqual([
    expect.objectContaining({ against: 'direct', verdict: expect.stringMatching(/met|missed/) as string }),
  ])
  expect(readdirSync(bench.dir)).toEqual(['results.json'])
})

it('ends what it started when it is interrupted', async () => {
  using bench = openBench()
  const child = bench.start('--only', 'calls-64')
  // its heading is said when the load generator runs
  await once(child.stdout, 'data')
  child.kill('SIGTERM')
  const [code] = (await once(child, 'exit')) as [number | null]
  expect(code).toBe(1)
  expect(readdirSync(bench.dir)).toEqual([])
})
