// `troth demo` as a newcomer runs it: every step is told, the ledger is shown, nothing is left behind.

import { existsSync } from 'node:fs'
import { expect, it } from 'vitest'
import { jsonLines, openCliHome } from '../support/cli-home.js'

it('shows every step, the ledger of it all, and what to type next, and cleans up', async () => {
  await using home = openCliHome()
  const { code, stdout, stderr } = await home.troth('demo')
  expect(code, stderr).toBe(0)
  const steps = stdout.split('\n').map((line) => line.split(/\s/)[0])
  expect(steps.slice(0, 9)).toEqual([
    'mesh',
    'policy',
    'enrolled',
    'enrolled',
    'enrolled',
    'allowed',
    'denied',
    'revoked',
    'refused',
  ])
  expect(stdout).toMatch(/^denied .*POLICY_SCOPE_MISSING/m)
  expect(stdout).toMatch(/^revoked .*cut after \d+ ms; applied by 3\/3/m)
  expect(stdout).toMatch(/^refused .*PEER_NO_CERTIFICATE/m)
  expect(stdout).toMatch(/planner +tickets +GET \/tickets +tickets:read +permit +completed +200 .* both$/m)
  expect(stdout).toMatch(/DELETE \/tickets\/1 .* deny POLICY_SCOPE_MISSING .* both$/m)
  expect(stdout).toMatch(/GET \/tickets\/events .* cut PEER_REVOKED .* both$/m)
  expect(stdout).toMatch(/^ {2}node \/.*\/dist\/cli\/main\.js init --trust-domain/m)
  expect(existsSync(/home (\S+)$/m.exec(stdout)?.[1] ?? '')).toBe(false)
})

it('with --json tells the same as one object a line, and nothing else on stdout', async () => {
  await using home = openCliHome()
  const { code, stdout, stderr } = await home.troth('--json', 'demo')
  expect(code, stderr).toBe(0)
  const told = jsonLines(stdout)
  expect(told.slice(5, 9).map(({ step }) => step)).toEqual(['allowed', 'denied', 'revoked', 'refused'])
  expect(told).toContainEqual(
    expect.objectContaining({
      step: 'ledger',
      operation: 'DELETE /tickets/1',
      decision: 'deny POLICY_SCOPE_MISSING',
      sides: 'both',
    }),
  )
})

it('with --keep leaves it running until it is interrupted, then cleans up', async () => {
  await using home = openCliHome()
  const demo = home.start('demo', '--keep')
  const [, kept = ''] = await demo.says(/it runs until Ctrl-C, in (\S+);/, 60_000)
  const list = await home.ok('--home', kept, 'agent', 'list')
  expect(list).toMatch(/^agent +tickets +enrolled +1\/1/m)
  demo.kill('SIGINT')
  expect((await demo.ended).code).toBe(0)
  expect(existsSync(kept)).toBe(false)
})
