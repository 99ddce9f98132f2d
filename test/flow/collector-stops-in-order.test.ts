import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it } from 'vitest'
import { serveCollector } from '../../collector/main.js'
import { systemClock } from '../../host/clock.js'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import { memoryLog } from '../support/memory-log.js'
import { startTestAuthority } from '../support/test-authority.js'

it('a collector that is stopped takes its endpoint back before its feed ends', async () => {
  await using ca = await startTestAuthority()
  const home = mkdtempSync(path.join(tmpdir(), 'tc-'))
  const collector = await serveCollector({
    home,
    name: parseAgentName('main'),
    listen: '127.0.0.1',
    port: 0,
    adminPort: null,
    enrolBy: { token: ca.token('collector', 'main') },
    dev: true,
    clock: systemClock,
    log: memoryLog(),
    settings: { feedMaxStalenessMs: 600_000 },
  })
  await ca.frame(({ type }) => type === 'advertise')
  await collector.close()
  expect(await ca.frame(({ type }) => type === 'withdraw')).toEqual({ type: 'withdraw' })
  rmSync(home, { recursive: true, force: true })
})
