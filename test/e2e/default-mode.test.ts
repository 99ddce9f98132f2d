// One whole run without --dev: passphrase files, a token carried by file, the local credential; and what is refused.

import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { until } from '../support/cli-home.js'
import { openCliMesh, openEchoApp, POLICY, pushPolicy } from '../support/cli-mesh.js'

const passphrases = (home: string): { issuing: string; root: string } => {
  const files = { issuing: path.join(home, 'issuing.pass'), root: path.join(home, 'root.pass') }
  writeFileSync(files.issuing, 'a passphrase of the issuing CA\n', { mode: 0o600 })
  writeFileSync(files.root, 'another one of the root\n', { mode: 0o600 })
  return files
}

it('a mesh with passphrases, tokens by file and local credentials', async () => {
  await using app = await openEchoApp()
  await using mesh = await openCliMesh((home) => {
    const { issuing, root } = passphrases(home)
    return {
      init: ['--passphrase-file', issuing, '--root-passphrase-file', root],
      up: ['--passphrase-file', issuing],
    }
  })
  const { home } = mesh
  expect(readFileSync(path.join(home.dir, 'ca/root.pem'), 'utf8')).toContain('BEGIN CERTIFICATE')
  const subject = await home.run('openssl', [
    'x509',
    '-in',
    path.join(home.dir, 'ca/root.pem'),
    '-noout',
    '-subject',
  ])
  expect(subject.stdout).not.toContain('TROTH DEV')

  await home.ok('agent', 'add', 'tickets')
  await home.ok('agent', 'add', 'planner')
  await pushPolicy(home, POLICY)
  const token = path.join(home.dir, 'tickets.token')
  writeFileSync(token, await home.ok('token', 'tickets'), { mode: 0o600 })
  await mesh.sidecar('tickets', ['--app', `127.0.0.1:${app.port}`, '--token', `file:${token}`])
  const planner = await mesh.sidecar('planner')
  const answer = await until('an allowed call', async () => {
    const got = await fetch(`http://127.0.0.1:${planner.ports.egress}/@tickets/tickets/1`, {
      headers: { 'x-troth-local-credential': planner.credential() },
    })
    return got.status === 200 ? got.json() : undefined
  })
  expect(answer).toMatchObject({ caller: 'spiffe://acme.internal/agent/planner' })

  // A spent token does not enrol a second instance; the state of the first is as it was.
  const elsewhere = path.join(home.dir, 'elsewhere')
  mkdirSync(elsewhere)
  const again = await home.troth(
    '--home',
    elsewhere,
    'sidecar',
    '--agent',
    'tickets',
    '--app',
    '127.0.0.1:9',
    '--token',
    `file:${token}`,
  )
  expect(again.code).toBe(4)
  expect(again.stderr).toContain('JOIN_TOKEN_SPENT')
  expect(again.stderr).toMatch(/hint: .*token/)

  // Secrets are readable by their owner only.
  const open = (dir: string): string[] =>
    readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
      const file = path.join(dir, entry.name)
      if (entry.isDirectory()) return open(file)
      return /key|credential|\.db$|secret/.test(entry.name) && (statSync(file).mode & 0o077) !== 0
        ? [file]
        : []
    })
  expect(open(path.join(home.dir, 'ca'))).toEqual([])
  expect(open(path.join(home.dir, 'agents'))).toEqual([])
  expect(readFileSync(path.join(home.dir, 'ca/issuing.key.pem'), 'utf8')).toContain('ENCRYPTED')
})

it('refuses a wrong passphrase, a readable passphrase file and a second init, and changes nothing', async () => {
  await using mesh = await openCliMesh((home) => {
    const { issuing, root } = passphrases(home)
    return {
      init: ['--passphrase-file', issuing, '--root-passphrase-file', root],
      up: ['--passphrase-file', issuing],
    }
  })
  const { home } = mesh
  const wrong = path.join(home.dir, 'wrong.pass')
  writeFileSync(wrong, 'not the passphrase\n', { mode: 0o600 })
  const second = await home.troth(
    'init',
    '--trust-domain',
    'other.internal',
    '--passphrase-file',
    wrong,
    '--root-passphrase-file',
    wrong,
  )
  expect(second).toMatchObject({ code: 3 })
  expect(second.stderr).toContain('CONFIG_EXISTS')

  const busy = await home.troth('ca', 'serve', '--passphrase-file', path.join(home.dir, 'issuing.pass'))
  expect(busy).toMatchObject({ code: 3 })
  expect(busy.stderr).toContain('STATE_IN_USE')

  mesh.up.kill('SIGTERM')
  expect(await mesh.up.ended).toMatchObject({ code: 0 })
  const refused = await home.troth('ca', 'serve', '--passphrase-file', wrong)
  expect(refused).toMatchObject({ code: 3 })
  expect(refused.stderr).toContain('PASSPHRASE_WRONG')
  chmodSync(path.join(home.dir, 'issuing.pass'), 0o644)
  const readable = await home.troth('ca', 'serve', '--passphrase-file', path.join(home.dir, 'issuing.pass'))
  expect(readable).toMatchObject({ code: 3 })
  expect(readable.stderr).toContain('STATE_PERMISSIONS')
})
