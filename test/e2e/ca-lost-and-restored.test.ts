// From the command line: a CA is backed up while the mesh calls, lost, and restored in another home on another address. What was
// revoked after the backup stays revoked, and the mesh goes on calling and renewing.

import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, it } from 'vitest'
import { type CliHome, freePort, openCliHome, ready, until } from '../support/cli-home.js'
import { openEchoApp, POLICY, pushPolicy } from '../support/cli-mesh.js'

/** Short, so that what is renewed is seen within the test. */
const LIFE = '16s'

it('goes on after the CA was lost and restored elsewhere', async () => {
  await using home = openCliHome()
  await using app = await openEchoApp()
  const away = mkdtempSync(path.join(os.tmpdir(), 'troth-away-'))
  const secret = (name: string, text: string): string => {
    const file = path.join(away, name)
    writeFileSync(file, `${text}\n`, { mode: 0o600 })
    return file
  }
  const under = ['--passphrase-file', secret('backup-passphrase', 'kept elsewhere')]
  try {
    await home.ok('init', '--trust-domain', 'acme.internal', '--dev')
    const caPort = String(await freePort())
    const first = await serve(home, home.dir, caPort)
    for (const name of ['planner', 'tickets', 'evil']) await home.ok('agent', 'add', name, '--ttl', LIFE)
    await pushPolicy(home, POLICY)
    const tickets = await sidecar(home, 'tickets', ['--app', `127.0.0.1:${app.port}`])
    const planner = await sidecar(home, 'planner')
    await sidecar(home, 'evil')
    await until('the first call', async () => ((await call(home, planner)) === 200 ? true : undefined))
    expect(tickets).toBeGreaterThan(0)

    // while calls are made
    const file = path.join(away, 'ca.backup')
    const [made] = await Promise.all([
      home.ok('ca', 'backup', file, '--json', ...under),
      ...Array.from({ length: 20 }, () => call(home, planner)),
    ])
    expect(JSON.parse(made)).toMatchObject({
      file,
      keys: ['issuing.key.pem', 'root.key.pem'],
      onToken: false,
    })
    expect(readFileSync(file).includes('acme.internal')).toBe(false)
    expect(await codeOf(home, 'ca', 'backup', file, ...under)).toBe('BACKUP_EXISTS')
    expect(await codeOf(home, 'ca', 'restore', file, ...under)).toBe('RESTORE_OVER_CA')

    await home.ok('revoke', 'evil', '--yes')
    const lost = await serialOf(home, home.dir, 'planner')
    await until('a renewal that no backup has', async () =>
      (await serialOf(home, home.dir, 'planner')) === lost ? undefined : true,
    )
    first.kill('SIGKILL')
    await first.ended

    const elsewhere = path.join(away, 'home')
    const wrong = secret('wrong', 'guess')
    const at = ['--home', elsewhere, '--dev']
    expect(await codeOf(home, ...at, 'ca', 'restore', file, '--passphrase-file', wrong)).toBe(
      'BACKUP_PASSPHRASE_WRONG',
    )
    expect(readdirSync(away)).not.toContain('home')
    await home.ok(...at, 'ca', 'restore', file, ...under, '--address', '127.0.0.2')
    expect(readFileSync(path.join(elsewhere, 'config.yaml'), 'utf8')).toContain('address: 127.0.0.2')
    expect(await codeOf(home, ...at, 'ca', 'restore', file, ...under)).toBe('RESTORE_OVER_CA')
    await serve(home, elsewhere, caPort)
    expect(await home.ok(...at, 'ca', 'status')).toContain('restored')

    const state = await until('the members to have told', async () => {
      const shown = JSON.parse(await home.ok(...at, 'ca', 'recovery', '--json')) as { endedBy: string | null }
      return shown.endedBy === null ? undefined : shown
    })
    expect(state).toMatchObject({ endedBy: 'members', missing: [] })
    const evil = { id: 'spiffe://acme.internal/agent/evil', serial: null, inForce: true }
    expect(state).toHaveProperty('claims', expect.arrayContaining([expect.objectContaining(evil)]))
    expect(JSON.parse(await home.ok(...at, 'agent', 'show', 'evil', '--json'))).toMatchObject({
      state: 'revoked',
    })
    const renewed = await serialOf(home, elsewhere, 'planner')
    await until('a renewal by the restored CA', async () =>
      (await serialOf(home, elsewhere, 'planner')) === renewed ? undefined : true,
    )
    expect(await call(home, planner)).toBe(200)
    expect((await home.troth(...at, 'ca', 'recovery')).stdout).toContain('evil')
  } finally {
    chmodSync(away, 0o700)
    rmSync(away, { recursive: true, force: true })
  }
})

it('takes the key of the root away, proves the copy first, and rotates with it alone', async () => {
  await using home = openCliHome()
  const root = path.join(home.dir, 'root-passphrase')
  const issuing = path.join(home.dir, 'issuing-passphrase')
  const wrong = path.join(home.dir, 'wrong')
  for (const file of [root, issuing, wrong]) writeFileSync(file, `${path.basename(file)}\n`, { mode: 0o600 })
  const usb = path.join(home.dir, 'usb')
  mkdirSync(usb)
  await home.ok(
    'init',
    ...['--trust-domain', 'acme.internal', '--passphrase-file', issuing, '--root-passphrase-file', root],
  )
  const key = path.join(home.dir, 'ca', 'root.key.pem')
  const pem = readFileSync(key, 'utf8')
  const exported = (file: string) =>
    codeOf(home, 'ca', 'root', 'export', '--offline', usb, '--root-passphrase-file', file)
  expect(await exported(wrong)).toBe('PASSPHRASE_WRONG')
  expect(readFileSync(key, 'utf8')).toBe(pem)
  expect(readdirSync(usb)).toEqual([])
  expect(await exported(root)).toBeUndefined()
  expect(readFileSync(path.join(usb, 'root.key.pem'), 'utf8')).toBe(pem)
  expect(readdirSync(path.join(home.dir, 'ca'))).not.toContain('root.key.pem')
  expect(await exported(root)).toBe('ROOT_KEY_ABSENT')
  // serving never needed it, a rotation does
  const running = home.start('ca', 'serve', '--ca-port', '0', '--passphrase-file', issuing)
  await running.says(/CA ready/)
  const before = readFileSync(path.join(home.dir, 'ca', 'issuing.pem'), 'utf8')
  const rotate = ['ca', 'rotate', 'issuing', '--yes', '--root-passphrase-file', root]
  expect(await codeOf(home, ...rotate)).toBe('ROOT_KEY_ABSENT')
  await home.ok(...rotate, '--root-key', path.join(usb, 'root.key.pem'))
  expect(readFileSync(path.join(home.dir, 'ca', 'issuing.pem'), 'utf8')).not.toBe(before)
  expect(readdirSync(path.join(home.dir, 'ca'))).not.toContain('root.key.pem')
})

async function serve(home: CliHome, dir: string, caPort: string) {
  const running = home.start(
    '--home',
    dir,
    '--dev',
    'ca',
    'serve',
    '--listen',
    '0.0.0.0',
    '--ca-port',
    caPort,
  )
  await running.says(/CA ready/)
  return running
}

async function sidecar(home: CliHome, name: string, extra: readonly string[] = []): Promise<number> {
  const egress = await freePort()
  const admin = await freePort()
  const ports = ['--egress-port', String(egress), '--admin-port', String(admin)]
  home.start('sidecar', '--agent', name, ...ports, ...extra)
  await ready(`http://127.0.0.1:${admin}/readyz`)
  return egress
}

async function call(home: CliHome, egress: number): Promise<number> {
  const credential = readFileSync(path.join(home.dir, 'agents', 'planner', 'local-credential'), 'utf8').trim()
  const answer = await fetch(`http://127.0.0.1:${egress}/@tickets/tickets/1`, {
    headers: { 'x-troth-local-credential': credential },
  })
  await answer.text()
  return answer.status
}

async function serialOf(home: CliHome, dir: string, name: string): Promise<string> {
  const shown = JSON.parse(await home.ok('--home', dir, '--dev', 'agent', 'show', name, '--json')) as {
    instances: { serial: string }[]
  }
  return shown.instances[0]?.serial ?? ''
}

/** The code that a command fails with; undefined: it does not. */
async function codeOf(home: CliHome, ...args: string[]): Promise<string | undefined> {
  const { code, stderr } = await home.troth('--json', ...args)
  if (code === 0) return undefined
  const line = stderr.split('\n').find((each) => each.startsWith('{'))
  return (JSON.parse(line ?? '{}') as { code?: string }).code ?? stderr
}
