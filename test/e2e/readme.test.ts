// The README's own blocks, verbatim: "your own two agents" from a built checkout to the first allowed call.

import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { openCliHome, until } from '../support/cli-home.js'

const ROOT = path.resolve(import.meta.dirname, '../..')

/** The shell blocks of the section, one per terminal, without the lines that clone and install. */
function terminals(): string[][] {
  const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8')
  const section = /^## Your own two agents$([\s\S]*?)^## /m.exec(readme)?.[1] ?? ''
  return [...section.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = '']) =>
    block
      .split('\n')
      .filter((line) => line.trim() !== '' && !line.startsWith('#') && !/git clone|npm ci/.test(line)),
  )
}

it('takes at most six commands in two terminals', () => {
  const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8')
  const section = /^## Your own two agents$([\s\S]*?)^## /m.exec(readme)?.[1] ?? ''
  const blocks = [...section.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = '']) => block)
  const commands = blocks.flatMap((block) =>
    block.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#')),
  )
  expect(blocks).toHaveLength(2)
  expect(commands.length).toBeLessThanOrEqual(6)
})

it('ends in an allowed call', async () => {
  await using home = openCliHome()
  const [first = [], second = []] = terminals()
  const shell = (lines: string[]) => home.spawn('bash', ['-c', `set -e\n${lines.join('\n')}\nwait`])
  await shell(first).says(/collector +ready/)
  const two = shell(second)
  await two.says(/"id"|T-\d+/, 60_000)
  const rows = await until('the call in the ledger', async () => {
    const { stdout } = await home.troth('audit', 'query', '--json')
    return stdout.includes('"permit"') ? stdout : undefined
  })
  expect(rows).toContain('spiffe://')
})
