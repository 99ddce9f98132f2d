import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Readable, Writable } from 'node:stream'
import type { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openOutput } from '../../../cli/output.js'
import { buildProgram, runCommandLine } from '../../../cli/program.js'
import type { Shell } from '../../../cli/session.js'
import { systemClock } from '../../../host/clock.js'

describe('the command line', () => {
  let home: string
  let stdout: string
  let stderr: string
  let shell: Shell

  beforeEach(() => {
    home = mkdtempSync(path.join(os.tmpdir(), 'troth-'))
    stdout = ''
    stderr = ''
    const keep = (to: (text: string) => void): Writable =>
      new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          to(chunk.toString())
          done()
        },
      })
    const out = openOutput(
      keep((text) => {
        stdout += text
      }),
      keep((text) => {
        stderr += text
      }),
    )
    shell = {
      out,
      clock: systemClock,
      called: 'npx troth',
      cwd: home,
      env: { HOME: home },
      stdin: Readable.from([]),
      script: '/nowhere/main.js',
    }
  })
  afterEach(() => rmSync(home, { recursive: true }))

  const run = (...args: string[]): Promise<number> => runCommandLine(shell, '0.1.0', args)

  it('without a command shows the help', async () => {
    expect(await run()).toBe(0)
    expect(stdout).toContain('Usage: troth')
    expect(stderr).toBe('')
  })

  it('tells its version', async () => {
    expect(await run('--version')).toBe(0)
    expect(stdout).toBe('0.1.0\n')
  })

  it('suggests the command that was meant', async () => {
    expect(await run('tokne', 'x')).toBe(2)
    expect(stderr).toBe("error: unknown command 'tokne' (USAGE)\nhint: did you mean token?\n")
  })

  it('refuses a noun without its verb', async () => {
    expect(await run('agent')).toBe(2)
    expect(stderr).toMatch(/^error: a command is missing \(USAGE\)\nhint: /)
  })

  it('refuses a malformed option value, named, and points to the help of that command', async () => {
    expect(await run('up', '--ca-port', '99999')).toBe(2)
    expect(stderr).toContain("'--ca-port <port>'")
    expect(stderr).toContain('hint: see npx troth up --help')
    expect(await run('agent', 'show')).toBe(2)
    expect(stderr).toContain('hint: see npx troth agent show --help')
  })

  it('refuses a name that is none', async () => {
    expect(await run('token', 'Planner')).toBe(1)
    expect(stderr).toContain('"Planner" is not a name')
  })

  it('reads --home, --json and --dev before and after the command', async () => {
    for (const args of [
      ['--home', '/nonexistent/h', '--json', 'agent', 'list'],
      ['agent', 'list', '--json', '--home', '/nonexistent/h'],
    ]) {
      stderr = ''
      expect(await run(...args)).toBe(5)
      expect(JSON.parse(stderr)).toMatchObject({
        code: 'CA_ADMIN_UNREACHABLE',
        detail: 'no CA runs in /nonexistent/h',
        hint: 'start it: npx troth --home /nonexistent/h up, or become an operator here: npx troth --home /nonexistent/h operator enrol NAME',
      })
    }
  })

  it('takes the home from TROTH_HOME, and without it from the home directory', async () => {
    await run('agent', 'list')
    expect(stderr).toContain(`no CA runs in ${path.join(home, '.troth')}`)
    shell = { ...shell, env: { TROTH_HOME: 'elsewhere' } }
    await run('agent', 'list')
    expect(stderr).toContain(`no CA runs in ${path.join(home, 'elsewhere')}`)
  })

  it('stops at a broken config.yaml with its line and column', async () => {
    mkdirSync(path.join(home, 'h'))
    writeFileSync(path.join(home, 'h', 'config.yaml'), 'ca.prot: 1\n')
    expect(await run('--home', 'h', 'agent', 'list')).toBe(3)
    expect(stderr).toContain('config.yaml:1:1: "ca.prot" is no setting')
  })

  it('does not destroy without a yes when nobody can be asked', async () => {
    expect(await run('agent', 'remove', 'planner')).toBe(2)
    expect(stderr).toContain('hint: add --yes')
  })

  it('refuses to init without passphrases, and leaves nothing behind', async () => {
    expect(await run('--home', 'h', 'init', '--trust-domain', 'try.internal')).toBe(3)
    expect(stderr).toContain('passphrase of the root was not given')
  })

  it('ends the help of every command with two examples that parse', () => {
    const program = buildProgram(shell, '0.1.0', () => undefined)
    for (const command of everyCommand(program)) {
      const help: string[] = []
      command.configureOutput({ writeOut: (text) => help.push(text) }).outputHelp()
      const examples = help.join('').split('Examples:\n')[1]?.trim().split('\n') ?? []
      expect(examples, command.name()).toHaveLength(2)
      for (const example of examples) expect(example.trim()).toMatch(/^npx troth [a-z]/)
    }
  })

  it('has no example that it would not understand', async () => {
    const program = buildProgram(shell, '0.1.0', () => undefined)
    // demo starts processes and init makes a CA: the end-to-end tests run them; remove and cert revoke ask, and nobody is here
    const others = /^(demo|init)|^agent remove tickets$|^cert revoke \w+$/
    for (const command of everyCommand(program)) {
      const help: string[] = []
      command.configureOutput({ writeOut: (text) => help.push(text) }).outputHelp()
      for (const line of help.join('').split('Examples:\n')[1]?.trim().split('\n') ?? []) {
        const example = line.trim().replace('npx troth ', '')
        if (others.test(example)) continue
        stderr = ''
        const code = await run('--home', '/nonexistent/h', ...wordsOf(example))
        expect(code, `${example}: ${stderr}`).not.toBe(2)
        expect(stderr).not.toContain('(INTERNAL)')
      }
    }
  })
})

/** As a shell would split it, up to a redirection or comment. */
function wordsOf(example: string): string[] {
  const [command = ''] = example.split(/ [>#] ?/)
  return [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)]
}
