import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { readPassphrase } from '../../../cli/passphrase.js'
import type { Session } from '../../../cli/session.js'
import { scratchDir } from '../../support/audit-records.js'

it.each([0o640, 0o604, 0o644])(
  'a passphrase file of mode %o is refused, and one of the owner alone is read',
  async (mode) => {
    using scratch = scratchDir()
    mkdirSync(path.join(scratch.dir, 'ca'))
    const file = path.join(scratch.dir, 'pass')
    writeFileSync(file, 'open sesame\n')
    const session = { home: scratch.dir, cwd: scratch.dir, env: {}, dev: false } as unknown as Session
    chmodSync(file, mode)
    await expect(readPassphrase(session, 'pass')).rejects.toMatchObject({ code: 'STATE_PERMISSIONS' })
    chmodSync(file, 0o600)
    expect(await readPassphrase(session, 'pass')).toBe('open sesame')
  },
)
