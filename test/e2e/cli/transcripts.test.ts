// Transcripts of the built CLI: each *.txt here is a session in a home of its own, run line by line and compared.
//
//   $ COMMAND          run by sh to its end, `troth` being the built CLI; then what it prints:
//   text               on stdout
//   ! text             on stderr
//   ? 4                its exit code, when it is not 0
//   & COMMAND          started and left running; the lines below it are awaited on its stdout
//   [WORD]             stands for anything that varies: [...] is any text, [HOME] this home, [INSTANT], [HEX], [UUID], [PORT]

import { chmodSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { CLI, freePort, openCliHome, until } from '../../support/cli-home.js'

interface Step {
  readonly mark: '$' | '&'
  readonly command: string
  readonly line: number
  readonly stdout: string[]
  readonly stderr: string[]
  code: number
}

const PATTERNS: Record<string, string> = {
  '...': '.*',
  INSTANT: '\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}Z',
  HEX: '[0-9a-f]{16,64}',
  UUID: '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}',
  PORT: '\\d{2,5}',
}

function parse(text: string): Step[] {
  const steps: Step[] = []
  for (const [index, raw] of text.split('\n').entries()) {
    const last = steps.at(-1)
    if (raw.startsWith('#') || (raw === '' && last?.stdout.length === 0)) continue
    if (raw.startsWith('$ ') || raw.startsWith('& '))
      steps.push({
        mark: raw.startsWith('$') ? '$' : '&',
        command: raw.slice(2),
        line: index + 1,
        stdout: [],
        stderr: [],
        code: 0,
      })
    else if (raw.startsWith('! ')) last?.stderr.push(raw.slice(2))
    else if (raw.startsWith('? ') && last !== undefined) last.code = Number(raw.slice(2))
    else last?.stdout.push(raw)
  }
  for (const { stdout } of steps) while (stdout.at(-1) === '') stdout.pop()
  return steps
}

function patternOf(line: string, home: string): RegExp {
  const source = line
    .replaceAll('[HOME]', home)
    .split(/(\[(?:\.\.\.|[A-Z]+)\])/)
    .map((part) => PATTERNS[part.slice(1, -1)] ?? part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('')
  return new RegExp(`^${source}$`)
}

function compare(
  printed: string,
  wanted: readonly string[],
  { home, where }: { home: string; where: string },
) {
  const lines = printed.replace(/\n$/, '').split('\n')
  const given = printed === '' ? [] : lines
  const same =
    given.length === wanted.length && wanted.every((line, at) => patternOf(line, home).test(given[at] ?? ''))
  // the plain comparison only shows the difference; it cannot hold
  if (!same) expect(given, where).toEqual(wanted)
}

const transcripts = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.txt'))

it.each(transcripts)('%s', async (name) => {
  await using home = openCliHome()
  const bin = path.join(home.dir, 'bin')
  const work = path.join(home.dir, 'desk')
  mkdirSync(bin)
  mkdirSync(work)
  // npm makes the bin of an installed package executable
  chmodSync(CLI, 0o755)
  symlinkSync(CLI, path.join(bin, 'troth'))
  const env = {
    PATH: `${bin}:${process.env['PATH'] ?? ''}`,
    TROTH_HOME: path.join(home.dir, 'h'),
    ROOT: path.resolve(import.meta.dirname, '../../..'),
    CA_PORT: String(await freePort()),
    COLLECTOR_PORT: String(await freePort()),
    APP_PORT: String(await freePort()),
    npm_command: '',
  }
  const options = { env, cwd: work }
  for (const step of parse(readFileSync(path.join(import.meta.dirname, name), 'utf8'))) {
    const where = `${name}:${step.line} ${step.command}`
    if (step.mark === '$') {
      const { code, stdout, stderr } = await home.run('sh', ['-c', step.command], options)
      compare(stderr, step.stderr, { home: env.TROTH_HOME, where: `stderr of ${where}` })
      compare(stdout, step.stdout, { home: env.TROTH_HOME, where: `stdout of ${where}` })
      expect(code, `exit code of ${where}`).toBe(step.code)
    } else {
      const running = home.spawn('sh', ['-c', `exec ${step.command}`], options)
      for (const line of step.stdout)
        await until(`${where}: ${line}`, () =>
          running
            .output()
            .split('\n')
            .some((each) => patternOf(line, env.TROTH_HOME).test(each))
            ? true
            : undefined,
        )
    }
  }
})
