// A laptop and a VM: the CA on one host, an agent on another. Two network namespaces where the test may make them, and two
// loopback addresses everywhere.

import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { CLI, type CliHome, freePort, openCliHome, type Running, until } from '../support/cli-home.js'
import { openEchoApp, POLICY } from '../support/cli-mesh.js'

const NAMESPACES = ['troth-laptop', 'troth-vm'] as const
const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' })

function namespacesCanBeMade(): boolean {
  try {
    ip('netns', 'add', 'troth-probe')
    ip('netns', 'delete', 'troth-probe')
    return true
  } catch {
    return false
  }
}

/** Two hosts joined by one wire: 10.213.7.1 and 10.213.7.2. */
function makeHosts(): Disposable {
  const [laptop, vm] = NAMESPACES
  for (const name of NAMESPACES) ip('netns', 'add', name)
  ip('link', 'add', 'trothA', 'netns', laptop, 'type', 'veth', 'peer', 'name', 'trothB', 'netns', vm)
  for (const [name, device, address] of [
    [laptop, 'trothA', '10.213.7.1/24'],
    [vm, 'trothB', '10.213.7.2/24'],
  ] as const) {
    ip('-n', name, 'addr', 'add', address, 'dev', device)
    ip('-n', name, 'link', 'set', device, 'up')
    ip('-n', name, 'link', 'set', 'lo', 'up')
  }
  return {
    [Symbol.dispose]() {
      for (const name of NAMESPACES) ip('netns', 'delete', name)
    },
  }
}

/** The CLI on one of the hosts, with a home of its own. */
const on = (home: CliHome, host: string | null, dir: string) => {
  mkdirSync(dir, { recursive: true })
  const line = (args: string[]): [string, string[]] =>
    host === null
      ? [process.execPath, [CLI, '--home', dir, ...args]]
      : ['ip', ['netns', 'exec', host, process.execPath, CLI, '--home', dir, ...args]]
  return {
    run: async (...args: string[]) => home.run(...line(args)),
    start: (...args: string[]): Running => home.spawn(...line(args)),
  }
}

describe.skipIf(!namespacesCanBeMade())('two network namespaces', () => {
  it('form one mesh with a token carried across, and calls go both ways', async () => {
    await using home = openCliHome()
    using _hosts = makeHosts()
    const laptop = on(home, 'troth-laptop', path.join(home.dir, 'laptop'))
    const vm = on(home, 'troth-vm', path.join(home.dir, 'vm'))
    const app = path.join(home.dir, 'app.mjs')
    writeFileSync(
      app,
      `import{createServer}from'node:http';createServer((q,s)=>s.end(q.headers['x-troth-caller'])).listen(9001,'127.0.0.1')`,
    )

    expect(await laptop.run('init', '--trust-domain', 'acme.internal', '--dev')).toMatchObject({ code: 0 })
    const up = laptop.start('up', '--listen', '0.0.0.0')
    await until('the CA', async () =>
      (await laptop.run('agent', 'add', 'tickets')).code === 0 ? true : undefined,
    )
    await laptop.run('agent', 'add', 'planner')

    // The address is still loopback: the token does not work on the other host, and the error says what to type.
    const token = async (name: string): Promise<string> => {
      const file = path.join(home.dir, `${name}.token`)
      writeFileSync(file, (await laptop.run('token', name)).stdout, { mode: 0o600 })
      return `file:${file}`
    }
    const lost = await vm.run('--dev', 'sidecar', '--agent', 'tickets', '--token', await token('tickets'))
    expect(lost.stderr).toContain('CA_ADDRESS_LOOPBACK')
    expect(lost.stderr).toMatch(/hint: .*ca address/)

    expect(await laptop.run('ca', 'address', '10.213.7.1')).toMatchObject({ code: 0 })
    up.kill('SIGTERM')
    await up.ended
    laptop.start('up', '--listen', '0.0.0.0')
    const file = path.join(home.dir, 'policy.yaml')
    writeFileSync(file, POLICY)
    await until('the CA again', async () =>
      (await laptop.run('policy', 'push', file)).code === 0 ? true : undefined,
    )

    home.spawn('ip', ['netns', 'exec', 'troth-vm', process.execPath, app])
    vm.start(
      '--dev',
      'sidecar',
      '--agent',
      'tickets',
      '--app',
      '127.0.0.1:9001',
      '--listen',
      '10.213.7.2',
      '--token',
      await token('tickets'),
    )
    laptop.start('sidecar', '--agent', 'planner', '--egress-port', '4001', '--egress-auth', 'none')
    const answer = await until('a call across the wire', async () => {
      const got = await home.run('ip', [
        'netns',
        'exec',
        'troth-laptop',
        'curl',
        '-sS',
        '--max-time',
        '5',
        'http://127.0.0.1:4001/@tickets/tickets/1',
      ])
      return got.stdout.startsWith('spiffe://') ? got.stdout : undefined
    })
    expect(answer).toBe('spiffe://acme.internal/agent/planner')
  })
})

it('another loopback address works, and an address that is not the sidecar’s own is refused until the operator names it', async () => {
  await using app = await openEchoApp()
  await using home = openCliHome()
  const laptop = on(home, null, path.join(home.dir, 'laptop'))
  const vm = on(home, null, path.join(home.dir, 'vm'))
  const [caPort, collectorPort, egress] = [await freePort(), await freePort(), await freePort()]
  const ports = ['--ca-port', String(caPort), '--collector-port', String(collectorPort)]
  await laptop.run('init', '--trust-domain', 'acme.internal', '--dev', '--address', '127.0.0.2')
  laptop.start('up', ...ports, '--listen', '0.0.0.0')
  await until('the CA', async () =>
    (await laptop.run('agent', 'add', 'planner')).code === 0 ? true : undefined,
  )
  const policy = path.join(home.dir, 'policy.yaml')
  writeFileSync(policy, POLICY)
  expect(await laptop.run('policy', 'push', policy)).toMatchObject({ code: 0 })
  const token = path.join(home.dir, 'tickets.token')
  writeFileSync(token, (await laptop.run('token', 'tickets')).stdout, { mode: 0o600 })
  const place = ['--app', `127.0.0.1:${app.port}`, '--listen', '127.0.0.3']
  const start = (...args: string[]): Running =>
    vm.start('--dev', 'sidecar', '--agent', 'tickets', ...place, ...args)

  // 192.0.2.9 (RFC 5737) is nobody's: the sidecar says what to type, and goes on without being found.
  const refused = start('--token', `file:${token}`, '--advertise', '192.0.2.9')
  await refused.says(/ENDPOINT_NOT_ALLOWED/)
  refused.kill('SIGTERM')
  await refused.ended
  expect(await laptop.run('agent', 'add', 'tickets', '--address', '192.0.2.9')).toMatchObject({ code: 0 })
  const named = start('--advertise', '192.0.2.9')
  await until('the named address', async () =>
    (await laptop.run('agent', 'show', 'tickets')).stdout.includes('192.0.2.9') ? true : undefined,
  )
  named.kill('SIGTERM')
  await named.ended

  start('--advertise', '127.0.0.3')
  laptop.start('sidecar', '--agent', 'planner', '--egress-port', String(egress), '--egress-auth', 'none')
  const answer = await until('a call', async () => {
    const got = await fetch(`http://127.0.0.1:${egress}/@tickets/tickets/1`).catch(() => undefined)
    return got?.status === 200 ? got.json() : undefined
  })
  expect(answer).toMatchObject({ caller: 'spiffe://acme.internal/agent/planner' })
})
