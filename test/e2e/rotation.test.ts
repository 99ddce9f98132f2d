// The CA's own keys replaced by the CLI under a running mesh, with kill -9 of the CA process in every phase.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it } from 'vitest'
import { type CliHome, freePort, jsonLines, openCliHome, type Running, until } from '../support/cli-home.js'

interface Ca {
  readonly running: () => Running
  killNine(): Promise<void>
}

async function serve(home: CliHome): Promise<Ca> {
  const caPort = String(await freePort())
  const start = async (): Promise<Running> => {
    const started = home.start('ca', 'serve', '--ca-port', caPort)
    await started.says(/CA ready/)
    return started
  }
  let running = await start()
  return {
    running: () => running,
    async killNine() {
      running.kill('SIGKILL')
      await running.ended
      running = await start()
    },
  }
}

const rotationOf = async (home: CliHome): Promise<Record<string, unknown> | null> => {
  const [status] = jsonLines(await home.ok('ca', 'status', '--json'))
  return (status?.['rotation'] ?? null) as Record<string, unknown> | null
}

it('a rotation survives kill -9 in every phase, and ends when the last member is back', async () => {
  await using home = openCliHome()
  const scratch = mkdtempSync(path.join(tmpdir(), 'troth-words-'))
  const wrong = path.join(scratch, 'wrong')
  writeFileSync(wrong, 'a guess\n', { mode: 0o600 })
  await home.ok('init', '--trust-domain', 'acme.internal', '--dev')
  const ca = await serve(home)
  await home.ok('agent', 'add', 'planner')
  const sidecar = async (): Promise<Running> => {
    // of its own each time: what one kept from its last run may be another process's by now
    const [egress, ingress, admin] = await Promise.all([freePort(), freePort(), freePort()])
    const ports = ['--egress-port', egress, '--ingress-port', ingress, '--admin-port', admin].map(String)
    const running = home.start('sidecar', '--agent', 'planner', ...ports)
    await running.says(/ready; Ctrl-C stops it/)
    return running
  }
  const first = await sidecar()
  first.kill('SIGTERM')
  await first.ended

  for (const kind of ['issuing', 'root']) {
    // prepare: the command could not open the root's key
    const refused = await home.troth('ca', 'rotate', kind, '--root-passphrase-file', wrong, '--json')
    expect(refused.code).not.toBe(0)
    expect(refused.stderr).toContain('PASSPHRASE_WRONG')
    await ca.killNine()
    expect(await rotationOf(home)).toMatchObject({ kind, phase: 'prepare' })

    // distribute: the one member there is sleeps
    const blocked = await home.troth('ca', 'rotate', kind, '--wait', '1s')
    expect(blocked.stdout).toContain('waits for spiffe://acme.internal/agent/planner')
    expect(blocked.stderr).toContain('CA_ROTATION_BLOCKED')
    await ca.killNine()
    expect(await rotationOf(home)).toMatchObject({ kind, phase: 'distribute' })

    // renew: it came, acknowledged, and was killed before it could renew
    const awake = await sidecar()
    await until('the next phase', async () =>
      (await rotationOf(home))?.['phase'] === 'renew' ? true : undefined,
    )
    awake.kill('SIGKILL')
    await awake.ended
    if ((await rotationOf(home)) !== null) {
      await ca.killNine()
      expect(await rotationOf(home)).toMatchObject({ kind, phase: 'renew' })
    }
    const back = await sidecar()
    expect(await home.ok('ca', 'rotate', kind)).toContain(`the ${kind} CA is replaced`)
    await ca.killNine()
    expect(await rotationOf(home)).toBeNull()
    back.kill('SIGTERM')
    await back.ended
  }
  rmSync(scratch, { recursive: true })
}, 180_000)
