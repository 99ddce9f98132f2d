// What wrong clocks and late hands do, as a user meets it: a token that lay for too long, a host whose clock is an hour off, a sidecar
// whose clock ran away before its renewal. CA and sidecars are built programs; each side lives by a clock of its own.

import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CLI, freePort, jsonLines, type Running, until } from '../support/cli-home.js'
import { type CliMesh, openCliMesh } from '../support/cli-mesh.js'
import { openSteppedClock, type SteppedClock, wake } from '../support/stepped-clock.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

let caClock: SteppedClock
let mesh: CliMesh

beforeAll(async () => {
  caClock = openSteppedClock()
  mesh = await openCliMesh(() => ({ init: ['--dev'], up: [] }), caClock.env)
})

afterAll(async () => {
  await mesh[Symbol.asyncDispose]()
  caClock[Symbol.dispose]()
})

/** An agent on another host: a home of its own, a token in a file, a clock of its own. */
interface Host {
  readonly home: string
  readonly adminPort: number
  /** `troth sidecar --agent NAME --token file:...` by that clock. */
  start(clock: SteppedClock): Running
}

async function hostOf(name: string, ...add: string[]): Promise<Host> {
  const home = path.join(mesh.home.dir, `host-of-${name}`)
  const token = path.join(mesh.home.dir, `${name}.token`)
  const adminPort = await freePort()
  await mesh.home.ok('agent', 'add', name, ...add)
  writeFileSync(token, await mesh.home.ok('token', name), { mode: 0o600 })
  mkdirSync(home, { mode: 0o700 })
  return {
    home,
    adminPort,
    start: (clock) =>
      mesh.home.spawn(
        process.execPath,
        [
          ...[CLI, '--home', home, '--dev', 'sidecar', '--agent', name, '--token', `file:${token}`],
          ...['--admin-port', String(adminPort)],
        ],
        { env: { ...clock.env } },
      ),
  }
}

const leafAt = (home: string, name: string): X509Certificate =>
  new X509Certificate(readFileSync(path.join(home, 'agents', name, 'svid.pem')))

/** Nothing but, perhaps, the empty directory of all agents. */
const filesIn = (home: string): string[] =>
  readdirSync(home, { recursive: true })
    .map(String)
    .filter((each) => each !== 'agents')

describe('a host whose clock is wrong at enrolment', () => {
  it('an hour ahead: CLOCK_SKEW; what was issued is found again when the clock is set, and is renewed in time', async () => {
    const host = await hostOf('ahead', '--ttl', '15m')
    using wrong = openSteppedClock()
    wrong.jump(HOUR)
    const { code, stderr } = await host.start(wrong).ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: this host's clock is 3[56]\d\d s ahead of the CA's \(CLOCK_SKEW\)$/m)
    expect(stderr).toMatch(/^hint: set the clock \(timedatectl\), then try again$/m)
    const first = leafAt(host.home, 'ahead')

    using right = openSteppedClock()
    const again = host.start(right)
    await again.says(/ready;/)
    expect(leafAt(host.home, 'ahead').serialNumber).toBe(first.serialNumber)
    // the wrong clock wrote down that it renews in more than an hour
    await right.pass(Date.parse(first.validTo) - right.now() - 4 * MINUTE, () =>
      wake({ port: host.adminPort }),
    )
    await until('the renewal', () =>
      leafAt(host.home, 'ahead').serialNumber === first.serialNumber ? undefined : (true as const),
    )
    again.kill('SIGTERM')
    await again.ended
  })

  it('an hour behind: CLOCK_SKEW before the token leaves, nothing on disk, and the token is still good', async () => {
    const host = await hostOf('behind')
    using wrong = openSteppedClock()
    wrong.jump(-HOUR)
    const { code, stderr } = await host.start(wrong).ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: .* \(CLOCK_SKEW\)$/m)
    expect(stderr).toMatch(/^hint: set the clock \(timedatectl\), then try again$/m)
    expect(filesIn(host.home)).toEqual([])

    const again = host.start(caClock)
    await again.says(/ready;/)
    again.kill('SIGTERM')
    await again.ended
  })

  it('four minutes off, either way: enrolled', async () => {
    for (const [name, offset] of [
      ['bit-ahead', 4 * MINUTE],
      ['bit-behind', -4 * MINUTE],
    ] as const) {
      const host = await hostOf(name)
      using wrong = openSteppedClock()
      wrong.jump(offset)
      const running = host.start(wrong)
      await running.says(/ready;/)
      running.kill('SIGTERM')
      await running.ended
    }
  })
})

it('a clock that ran ahead before a renewal: renewed all the same, and the log names the skew', async () => {
  const host = await hostOf('runaway', '--ttl', '15m')
  using own = openSteppedClock()
  const running = host.start(own)
  await running.says(/ready;/)
  const first = leafAt(host.home, 'runaway').serialNumber
  const kept = readFileSync(path.join(host.home, 'agents/runaway/instance.json'), 'utf8')
  const { renewAt } = JSON.parse(kept) as { renewAt: number }

  await own.pass(renewAt - own.now(), () => wake({ port: host.adminPort }))
  await until('the renewal', () =>
    leafAt(host.home, 'runaway').serialNumber === first ? undefined : (true as const),
  )
  await running.says(/"clock\.skewed"/)
  const said = jsonLines(running.output().replace(/^[^{].*$/gm, ''))
  const skewMs = Number(said.find((line) => line['event'] === 'clock.skewed')?.['skewMs'])
  expect(skewMs).toBeLessThan(-6 * MINUTE)
  expect(skewMs).toBeGreaterThan(-9 * MINUTE)
  expect(said.some((line) => line['event'] === 'identity.renewal-failed')).toBe(false)
})

it('a join token that lay for longer than ten minutes: JOIN_TOKEN_EXPIRED, and nothing is left on disk', async () => {
  const host = await hostOf('late')
  caClock.jump(10 * MINUTE + 5000)
  const { code, stdout, stderr } = await host.start(caClock).ended
  expect(code).toBe(4)
  expect(stderr).toMatch(/^error: the join token for agent late has expired \(JOIN_TOKEN_EXPIRED\)$/m)
  expect(stderr).toMatch(/^hint: mint a new one: .* token NAME$/m)
  expect(stdout).toBe('')
  expect(filesIn(host.home)).toEqual([])
  expect(existsSync(path.join(host.home, 'agents/late'))).toBe(false)
})
