// The examples that end each --help, run as they stand in a living mesh: each does what it says. Those that stay in the foreground, ask on
// a terminal, or name an address of another host are run by other end-to-end tests in forms that can be run here.

import { mkdirSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { Readable, Writable } from 'node:stream'
import type { Command } from 'commander'
import { expect, it } from 'vitest'
import { openOutput } from '../../cli/output.js'
import { buildProgram } from '../../cli/program.js'
import { systemClock } from '../../host/clock.js'
import { CLI, jsonLines } from '../support/cli-home.js'
import { openCliMesh } from '../support/cli-mesh.js'

const ELSEWHERE =
  /^(up|run|sidecar|demo|init|ca serve|ca backup|ca restore|ca root|ca recovery --confirm|ca rotate|collector serve|audit tail|operator (enrol|show|remove))\b|^agent remove tickets$|^cert revoke \w+$|^cert export\b|^cert issue legacy\b|^cert show \.\//
/** What withdraws runs last, and what registers before what asks for it. */
const order = (example: string): number =>
  example.startsWith('agent add') ? 0 : /^(revoke|cert revoke|agent remove)/.test(example) ? 2 : 1

const everyCommand = (command: Command): Command[] => [command, ...command.commands.flatMap(everyCommand)]

function examples(): string[] {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const shell = {
    out: openOutput(nowhere, nowhere),
    clock: systemClock,
    called: 'troth',
    cwd: '/',
    env: {},
    stdin: Readable.from([]),
    script: CLI,
  }
  const told = everyCommand(buildProgram(shell, '0.1.0', () => undefined)).flatMap((command) => {
    const help: string[] = []
    command.configureOutput({ writeOut: (text) => help.push(text) }).outputHelp()
    return help.join('').split('Examples:\n')[1]?.trim().split('\n') ?? []
  })
  const typed = [...new Set(told.map((line) => line.trim().replace(/^troth /, '')))]
  return typed.filter((line) => !ELSEWHERE.test(line)).sort((a, b) => order(a) - order(b))
}

it('does what each example of --help says', async () => {
  await using mesh = await openCliMesh()
  const { home } = mesh
  await home.ok('agent', 'add', 'planner')
  await home.ok('policy', 'push', 'examples/policy.yaml')
  const planner = await mesh.sidecar('planner')
  const answer = await fetch(`http://127.0.0.1:${planner.ports.egress}/@tickets/tickets`, {
    headers: { 'x-troth-local-credential': planner.credential() },
  })
  const { callId } = (await answer.json()) as { callId: string }
  const [{ serial = '' } = {}] = jsonLines(await home.ok('cert', 'list', 'planner', '--json'))
  const all = examples()
  expect(all.length).toBeGreaterThan(20)
  for (const [index, example] of all.entries()) {
    const cwd = path.join(home.dir, `at-${index}`)
    mkdirSync(cwd)
    symlinkSync(path.resolve('examples'), path.join(cwd, 'examples'))
    const line = example
      .replace(/ #.*$/, '')
      .replace(/\b5f0c2a[0-9a-f]+\b/, String(serial))
      .replace(/\b01980f2e-[0-9a-f-]+/, callId)
    const { code, stderr } = await home.run('sh', ['-c', line.replace(/^/, '"$NODE" "$CLI" ')], {
      cwd,
      env: { NODE: process.execPath, CLI },
    })
    expect(code, `${line}: ${stderr}`).toBe(line.startsWith('can planner tickets DELETE') ? 4 : 0)
    if (line.startsWith('policy push')) await home.ok('policy', 'push', 'examples/policy.yaml')
    const suspended = /^agent suspend (\w+)/.exec(line)?.[1]
    if (suspended !== undefined) await home.ok('agent', 'resume', suspended)
    if (/^revoke|^agent remove planner/.test(line)) await home.ok('agent', 'restore', 'planner')
  }
})
