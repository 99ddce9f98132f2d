// An operator on another host, as a user would type it: enrols with a token, administers, is named in the CA's audit, and is out at once
// when it is revoked. And a collector that enrols with a token.

import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { freePort, jsonLines, openCliHome } from '../support/cli-home.js'

it('administers the mesh from a home without a CA', async () => {
  await using host = openCliHome()
  await using laptop = openCliHome()
  await host.ok('init', '--trust-domain', 'acme.internal', '--dev')
  const ca = host.start('ca', 'serve', '--dev', '--ca-port', String(await freePort()))
  await ca.says(/CA ready/)

  expect((await laptop.troth('agent', 'list')).stderr).toContain('CA_ADMIN_UNREACHABLE')
  for (const name of ['ann', 'bob']) {
    const token = path.join(laptop.dir, `${name}.token`)
    writeFileSync(token, await host.ok('token', name, '--kind', 'operator'))
    await laptop.ok('operator', 'enrol', name, '--token', `file:${token}`, '--dev')
  }
  const ambiguous = await laptop.troth('agent', 'list', '--dev')
  expect(ambiguous.stderr).toContain('OPERATOR_AMBIGUOUS')
  expect(ambiguous.code).toBe(3)

  const as = (name: string, ...args: string[]) => laptop.troth('--as', name, '--dev', ...args)
  expect(await as('ann', 'agent', 'add', 'planner')).toMatchObject({ code: 0 })
  const policy = path.join(laptop.dir, 'policy.yaml')
  writeFileSync(policy, 'version: 1\nagents: []\nservices: []\n')
  expect(await as('ann', 'policy', 'push', policy)).toMatchObject({ code: 0 })
  const listed = await as('ann', 'operator', 'list', '--json')
  expect(jsonLines(listed.stdout).map(({ name }) => name)).toEqual(['ann', 'bob'])
  expect(await as('ann', 'operator', 'show', 'bob')).toMatchObject({ code: 0 })
  expect((await as('ann', 'ca', 'address', '10.0.0.9')).stderr).toContain('ADMIN_LOCAL_ONLY')

  expect(await as('ann', 'operator', 'remove', 'bob', '--yes')).toMatchObject({ code: 0 })
  expect(await as('bob', 'agent', 'list')).toMatchObject({ code: 4 })
  expect(await as('eve', 'agent', 'list')).toMatchObject({ code: 3 })

  const audit = jsonLines(await host.ok('audit', 'query', '--ca', '--json', '--dev'))
  const ann = 'spiffe://acme.internal/operator/ann'
  expect(audit.filter(({ who }) => who === ann).map(({ operation, reason }) => [operation, reason])).toEqual([
    ['agent.add', 'OK'],
    ['policy.push', 'OK'],
    ['PUT /v1/address', 'ADMIN_LOCAL_ONLY'],
    ['agent.remove', 'OK'],
  ])
  expect(await host.ok('audit', 'query', '--ca', '--dev')).toMatch(
    /operator\/ann +127\.0\.0\.1 +agent\.add +agent\/planner +OK/,
  )
})

it('lets a collector enrol on another host with a token', async () => {
  await using host = openCliHome()
  await using other = openCliHome()
  await host.ok('init', '--trust-domain', 'acme.internal', '--dev')
  const ca = host.start('ca', 'serve', '--dev', '--ca-port', String(await freePort()))
  await ca.says(/CA ready/)
  mkdirSync(other.dir, { recursive: true })
  const token = path.join(other.dir, 'main.token')
  writeFileSync(token, await host.ok('token', 'main', '--kind', 'collector'))
  const port = String(await freePort())
  const args = ['collector', 'serve', '--dev', '--collector-port', port, '--listen', '127.0.0.1']
  const collector = other.start(...args, '--token', `file:${token}`)
  await collector.says(/ready/)
  const [main] = jsonLines(await host.ok('agent', 'list', '--json', '--dev'))
  expect(main).toMatchObject({ kind: 'collector', name: 'main', state: 'enrolled' })
})
